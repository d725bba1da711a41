/**
 * What a registry shows of the public packages.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"

const root = join(import.meta.dirname, "../..")

const read = (path: string): string => readFileSync(join(root, path), "utf8")

const packages = readdirSync(join(root, "packages")).filter(
  (name) => JSON.parse(read(`packages/${name}/package.json`)).private !== true
)

describe.each(packages)("packages/%s", (name) => {
  const manifest = JSON.parse(read(`packages/${name}/package.json`))
  const repository = String(manifest.repository?.url).replace(/^git\+(.*)\.git$/, "$1")

  it("names its repository, homepage, issues and keywords", () => {
    expect(manifest).toMatchObject({
      description: expect.stringMatching(/./),
      homepage: `${repository}/tree/main/packages/${name}#readme`,
      bugs: { url: `${repository}/issues` },
      repository: { type: "git", directory: `packages/${name}` },
      keywords: expect.arrayContaining(["cycles", "effect"])
    })
    expect(repository).toMatch(/^https:\/\/github\.com\/[^/]+\/[^/]+$/)
  })

  it("has links in its README that work outside the repository", () => {
    const links = Array.from(read(`packages/${name}/README.md`).matchAll(/\]\(([^)]+)\)/g), ([, link = ""]) => link)
    expect(links).not.toEqual([])
    for (const link of links) {
      expect(link).toMatch(/^(https:\/\/|#)/)
      const path = /\/(?:blob|tree)\/main\/([^#]*)/.exec(link.startsWith(repository) ? link : "")?.[1]
      if (path !== undefined) expect([link, existsSync(join(root, path))]).toEqual([link, true])
    }
  })
})
