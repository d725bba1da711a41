/**
 * Links to a heading of a page lead to a heading that exists. `scripts/house.ts` checks that the pages exist.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { describe, expect, it } from "vitest"

const root = join(import.meta.dirname, "../..")

const pages = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8"
})
  .split("\n")
  .filter((path) => path !== "" && !path.startsWith(".changeset/"))

const textOf = (page: string): string => readFileSync(join(root, page), "utf8").replaceAll(/^```[\s\S]*?^```$/gm, "")

/** The fragment of a heading, as GitHub makes it. */
const fragmentOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\-_ ]/gu, "")
    .trim()
    .replaceAll(" ", "-")

const fragments: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  pages.map((page) => [
    page,
    new Set(Array.from(textOf(page).matchAll(/^#+ (.*)$/gm), ([, text = ""]) => fragmentOf(text)))
  ])
)

/** The page and the heading of each link to a heading in this repository. */
const targetsOf = (page: string): ReadonlyArray<readonly [page: string, fragment: string]> =>
  Array.from(textOf(page).matchAll(/\]\(([^)#]*)#([^)]*)\)/g), ([, path = "", fragment = ""]) => {
    const inRepository = /^https:\/\/github\.com\/effect-cycles\/effect-cycles\/blob\/main\/(.*)$/.exec(path)?.[1]
    return [inRepository ?? (path === "" ? page : normalize(join(dirname(page), path))), fragment] as const
  }).filter(([target]) => !target.startsWith("https:/"))

describe("links to headings", () => {
  it("are there", () => {
    expect(pages.flatMap(targetsOf).length).toBeGreaterThan(20)
  })

  it.each(pages.filter((page) => targetsOf(page).length > 0))("of %s lead to a heading", (page) => {
    const broken = targetsOf(page).filter(([target, fragment]) => !fragments.get(target)?.has(fragment))
    expect(broken).toEqual([])
  })
})
