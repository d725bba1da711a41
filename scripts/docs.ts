/** Compiles the code blocks of the guides and READMEs that are marked `ts`. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"

/** Returns the code blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, code = ""]) => code)

/** Returns whether every code block compiles. */
export const checkDocs = (): boolean => {
  const folder = "docs/build"
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const pages = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
    encoding: "utf8"
  })
    .split("\n")
    .filter((path) => path !== "" && !path.startsWith(".changeset/"))
  let count = 0
  for (const page of pages) {
    blocksOf(readFileSync(page, "utf8")).forEach((code, i) => {
      count += 1
      writeFileSync(`${folder}/${page.replaceAll("/", "-").replace(/\.md$/, "")}-${i + 1}.ts`, `${code}\nexport {}\n`)
    })
  }
  writeFileSync(
    `${folder}/tsconfig.json`,
    JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions: { noEmit: true }, include: ["*.ts"] })
  )
  if (count === 0) {
    console.error("the guides contain no code blocks")
    return false
  }
  return spawnSync("node_modules/.bin/tsc", ["-p", folder], { stdio: "inherit" }).status === 0
}
