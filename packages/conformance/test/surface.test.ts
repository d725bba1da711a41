/**
 * The names that users can import. After an intended change, `pnpm test --project conformance -u` updates the record;
 * review its diff.
 */
import { describe, expect, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const packages = join(import.meta.dirname, "../..")

/** The folders of a package that users can import from; the root of each is its `index.ts`. */
const folders: ReadonlyArray<readonly [name: string, prefix: string, path: string]> = [
  ["@effect-cycles/ai", "", join(packages, "ai/src")],
  ["@effect-cycles/protocol", "", join(packages, "protocol/src")],
  ["@effect-cycles/server", "", join(packages, "server/src")],
  ["@effect-cycles/testing", "", join(packages, "testing/src")],
  ["effect-cycles", "", join(packages, "client/src")],
  ["effect-cycles", "/node", join(packages, "client/src/node")],
  ["effect-cycles", "/workflow", join(packages, "client/src/workflow")]
]

/** Entry points that need an optional peer, so no root exports them. */
const needPeers = ["@effect-cycles/ai/GenaiPrices", "@effect-cycles/ai/GptTokenizer"]

/** Every entry point, its name, its file: the roots, and each public module. */
const entries = folders.flatMap(([name, prefix, path]) =>
  readdirSync(path)
    .filter((file) => /^([A-Z].*|index)\.ts$/.test(file))
    .toSorted()
    .map((file) => ({
      entry: file === "index.ts" ? `${name}${prefix}` : `${name}${prefix}/${file.slice(0, -3)}`,
      path: join(path, file)
    }))
)

/** The types that a module declares, and those that it exports from another one. */
const typesOf = (text: string): ReadonlyArray<string> => {
  const withoutComments = text.replace(/\/\*[^]*?\*\//g, "")
  const declared = Array.from(
    withoutComments.matchAll(/^export (?:declare )?(?:interface|type) (\w+)/gm),
    ([, name = ""]) => name
  )
  const listed = Array.from(withoutComments.matchAll(/^export type \{([^}]*)\}/gm), ([, names = ""]) =>
    names.split(",").map((name) => name.trim().replace(/^.* as /, ""))
  ).flat()
  return [...declared, ...listed].filter((name) => name !== "")
}

/** The exported values at run time, and the types in the source. */
const surfaceOf = async ({ entry, path }: (typeof entries)[number]): Promise<string> => {
  const module: object = await import(entry)
  const values = Object.keys(module)
  const types = typesOf(readFileSync(path, "utf8")).filter((name) => !values.includes(name))
  return [
    entry,
    ...values.toSorted().map((name) => `  ${name}`),
    ...types.toSorted().map((name) => `  type ${name}`)
  ].join("\n")
}

describe("public API", () => {
  it.each([
    "@effect-cycles/ai",
    "@effect-cycles/protocol",
    "@effect-cycles/server",
    "@effect-cycles/testing",
    "effect-cycles"
  ])("of %s matches the recorded one", async (name) => {
    const ofPackage = entries.filter(({ entry }) => entry === name || entry.startsWith(`${name}/`))
    const surface = await Promise.all(ofPackage.map(surfaceOf))
    expect(surface.length).toBeGreaterThan(0)
    await expect(`${surface.join("\n\n")}\n`).toMatchFileSnapshot(`surface/${name.split("/").at(-1)}.txt`)
  })

  it("of each root entry point exports all modules", async () => {
    for (const { entry, path } of entries.filter(({ path }) => path.endsWith("index.ts"))) {
      const modules = entries.filter(
        (other) =>
          other.entry.startsWith(`${entry}/`) &&
          join(other.path, "..") === join(path, "..") &&
          !needPeers.includes(other.entry)
      )
      const root: object = await import(entry)
      expect(Object.keys(root)).toEqual(expect.arrayContaining(modules.map((other) => other.entry.split("/").at(-1))))
    }
  })
})
