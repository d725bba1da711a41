/**
 * Compiles the code blocks marked `ts` of the guides, the READMEs and the doc comments, and runs those of doc comments.
 *
 * Each `console.log(value)` of a doc comment has its output in a comment on the same line or on the next one. The check
 * fails if the comment is missing, if the output differs, or if the line doesn't run. A string may be in quotes, also
 * in double quotes.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"

/** The packages whose doc comments contain complete examples only. */
const packages = ["ai", "client", "protocol", "server", "testing"]

const folder = "docs/build"

/** The code blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, code = ""]) => code)

/** The text of all doc comments of a source file, without the asterisks. */
const commentsOf = (source: string): string =>
  Array.from(source.matchAll(/^ *\/\*\*\n([\s\S]*?)^ *\*\/$/gm), ([, text = ""]) =>
    text.replaceAll(/^ *\* ?/gm, "")
  ).join("")

interface Block {
  /** The name of the file to write. */
  readonly name: string
  readonly code: string
}

/** The code blocks of a text, named after its path. */
const namedBlocks = (path: string, text: string): ReadonlyArray<Block> =>
  blocksOf(text).map((code, i) => ({
    name: `${path.replaceAll("/", "-").replace(/\.(md|ts)$/, "")}-${i + 1}.ts`,
    code
  }))

/** A printed value and its expected output. */
const printPattern = /^( *)console\.log\((.*)\)(?: |\n *)\/\/ (.*)$/gm

const outputsOf = ({ code, name }: Block): ReadonlyArray<string> =>
  Array.from(code.matchAll(printPattern), ([, , , text = ""]) => `${name}: ${text}`)

/** Turns each printed value into an assertion. */
const withAssertions = ({ code, name }: Block): Block => ({
  name,
  code: `import { expectOutput } from "./expect.ts"\n${code.replaceAll(
    printPattern,
    (_, indent: string, value: string, text: string) =>
      `${indent}expectOutput(${JSON.stringify(name)}, ${value}, ${JSON.stringify(text)})`
  )}`
})

const expectCode = `import assert from "node:assert"
import { inspect } from "node:util"
export const seen = new Set<string>()
export const expectOutput = (name: string, value: unknown, text: string): void => {
  const quoted = inspect(value, { breakLength: Infinity })
  const inDoubleQuotes = quoted.replaceAll("'", '"')
  if (![String(value), quoted, inDoubleQuotes].includes(text)) assert.equal(inDoubleQuotes, text, name)
  seen.add(name + ": " + text)
}`

/** Imports all examples, and fails if an expected output was not printed until the end. */
const runCode = (examples: ReadonlyArray<Block>): string => `import { seen } from "./expect.ts"
${examples.map(({ name }) => `import "./${name}"`).join("\n")}
process.once("exit", () => {
  const missing = ${JSON.stringify(examples.flatMap(outputsOf))}.filter((output) => !seen.has(output))
  for (const output of missing) console.error("not printed: " + output)
  if (missing.length > 0) process.exitCode = 1
})`

const filesOf = (...patterns: ReadonlyArray<string>): ReadonlyArray<string> =>
  execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", ...patterns], { encoding: "utf8" })
    .split("\n")
    .filter((path) => path !== "" && !path.startsWith(".changeset/"))

const write = ({ code, name }: Block): void => writeFileSync(`${folder}/${name}`, `${code}\nexport {}\n`)

/** Returns whether every code block compiles and every example in a doc comment runs. */
export const checkDocs = (): boolean => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const guides = filesOf("*.md").flatMap((path) => namedBlocks(path, readFileSync(path, "utf8")))
  const examples = filesOf(...packages.map((name) => `packages/${name}/src/**/*.ts`)).flatMap((path) =>
    namedBlocks(path, commentsOf(readFileSync(path, "utf8")))
  )
  if (guides.length === 0 || examples.length === 0) {
    console.error(`found ${guides.length} code blocks in guides and ${examples.length} in doc comments`)
    return false
  }
  const unchecked = examples.filter((block) => block.code.split("console.log").length - 1 !== outputsOf(block).length)
  for (const { name } of unchecked) {
    console.error(`${name}: a console.log must be on a separate line, followed by a comment with its output`)
  }
  guides.forEach(write)
  examples.map(withAssertions).forEach(write)
  write({ name: "expect.ts", code: expectCode })
  write({ name: "run.ts", code: runCode(examples) })
  writeFileSync(
    `${folder}/tsconfig.json`,
    JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions: { noEmit: true }, include: ["*.ts"] })
  )
  const run = (command: string, ...args: ReadonlyArray<string>) =>
    spawnSync(command, args, { stdio: "inherit" }).status === 0
  return (
    run("node_modules/.bin/tsc", "-p", folder) && run(process.execPath, `${folder}/run.ts`) && unchecked.length === 0
  )
}
