/**
 * Compiles the code blocks marked `ts` of the guides, the READMEs and the doc comments. The examples of doc comments are also
 * run, and a line `console.log(value) // text` fails if the value isn't printed as that text. The
 * text of a string may be in double quotes.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"

/** The packages whose doc comments contain complete examples only. */
const packages = ["client", "protocol", "testing"]

const folder = "docs/build"

/** The code blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, code = ""]) => code)

/** The text of all doc comments of a source file, without the asterisks. */
const commentsOf = (source: string): string =>
  Array.from(source.matchAll(/^ *\/\*\*\n([\s\S]*?)^ *\*\/$/gm), ([, text = ""]) =>
    text.replaceAll(/^ *\* ?/gm, "")
  ).join("")

/** Turns each expected output into an assertion. */
const withAssertions = (code: string): string =>
  `${preamble}\n${code.replaceAll(
    /^( *)console\.log\((.*)\) \/\/ (.*)$/gm,
    (_, indent: string, value: string, text: string) => `${indent}expectOutput(${value}, ${JSON.stringify(text)})`
  )}`

const preamble = `import assert from "node:assert"
import { inspect } from "node:util"
const expectOutput = (value: unknown, text: string): void => {
  const printed = [String(value), inspect(value, { breakLength: Infinity }).replaceAll("'", '"')]
  if (!printed.includes(text)) assert.equal(printed[1], text)
}`

const filesOf = (...patterns: ReadonlyArray<string>): ReadonlyArray<string> =>
  execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", ...patterns], { encoding: "utf8" })
    .split("\n")
    .filter((path) => path !== "" && !path.startsWith(".changeset/"))

/** Writes each block to a separate file, and returns the names of the files. */
const write = (path: string, blocks: ReadonlyArray<string>): ReadonlyArray<string> =>
  blocks.map((code, i) => {
    const name = `${path.replaceAll("/", "-").replace(/\.(md|ts)$/, "")}-${i + 1}.ts`
    writeFileSync(`${folder}/${name}`, `${code}\nexport {}\n`)
    return name
  })

/** Returns whether every code block compiles and every example in a doc comment runs. */
export const checkDocs = (): boolean => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const guides = filesOf("*.md").flatMap((path) => write(path, blocksOf(readFileSync(path, "utf8"))))
  const examples = filesOf(...packages.map((name) => `packages/${name}/src/*.ts`)).flatMap((path) =>
    write(path, blocksOf(commentsOf(readFileSync(path, "utf8"))).map(withAssertions))
  )
  if (guides.length === 0 || examples.length === 0) {
    console.error(`found ${guides.length} code blocks in guides and ${examples.length} in doc comments`)
    return false
  }
  writeFileSync(`${folder}/run.ts`, examples.map((name) => `import "./${name}"\n`).join(""))
  writeFileSync(
    `${folder}/tsconfig.json`,
    JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions: { noEmit: true }, include: ["*.ts"] })
  )
  const run = (command: string, ...args: ReadonlyArray<string>) =>
    spawnSync(command, args, { stdio: "inherit" }).status === 0
  return run("node_modules/.bin/tsc", "-p", folder) && run(process.execPath, `${folder}/run.ts`)
}
