/** Builds and packs the public packages. */
import { execFileSync, spawnSync } from "node:child_process"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { resolve } from "node:path"

export interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

export const manifestOf = (name: string): Manifest => JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8"))

/** The folders of the public packages. */
export const packages = readdirSync("packages").filter((name) => manifestOf(name).private !== true)

/** Runs a command, and ends this process if it fails. */
export const run = (command: string, args: ReadonlyArray<string>, cwd?: string): void => {
  const { status } = spawnSync(command, args, { stdio: "inherit", cwd })
  if (status !== 0) {
    console.error(`FAIL ${command} ${args.join(" ")}`)
    process.exit(1)
  }
}

export const bin = (name: string): string => resolve("node_modules/.bin", name)

/** The entry points of a package: its root and every public module. */
export const entriesOf = (name: string): ReadonlyArray<string> => {
  const modules = (folder: string, prefix: string): ReadonlyArray<string> =>
    readdirSync(folder, { withFileTypes: true })
      .filter((file) => file.isFile() && /^[A-Z].*\.ts$/.test(file.name))
      .map((file) => `${prefix}${file.name.slice(0, -3)}`)
  const src = `packages/${name}/src`
  const hasNode = readdirSync(src).includes("node")
  return [".", ...modules(src, "./"), ...(hasNode ? ["./node", ...modules(`${src}/node`, "./node/")] : [])]
}

/** Builds every package. */
export const build = (): void => {
  for (const name of packages) {
    rmSync(`packages/${name}/dist`, { recursive: true, force: true })
    run(bin("tsc"), ["-p", `packages/${name}/tsconfig.build.json`])
  }
}

/** Packs a built package into a folder. Returns the path of the tarball. */
export const pack = (name: string, folder: string): string => {
  const output = execFileSync("pnpm", ["pack", "--json", "--pack-destination", folder], {
    cwd: `packages/${name}`,
    encoding: "utf8"
  })
  const packed: { readonly filename: string } = JSON.parse(output.slice(output.indexOf("{")))
  return resolve(folder, packed.filename)
}

const root: { readonly devDependencies: Readonly<Record<string, string>> } = JSON.parse(
  readFileSync("package.json", "utf8")
)

/** The version of a package in the workspace. */
export const versionOf = (name: string): string => root.devDependencies[name] ?? "*"
