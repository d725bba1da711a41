/**
 * `pnpm guides [--write] [NAME]`: runs the programs of the README, the guides and the READMEs of packages, and compares
 * their output with the page.
 *
 * A program is a `ts` block that is followed by a `text` block with its output; one paragraph may stand between them. Each
 * program runs in a separate process, with the environment variables of a server that has the tenant `acme`, its key, and a
 * budget of 1,000 tokens. `--write` puts the real output into the page.
 */
import { NodeCyclesServer } from "@effect-cycles/server"
import { Effect } from "effect"
import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeTenant } from "./examples/support/administrator.ts"

const root = join(import.meta.dirname, "..")

/** The folder of the programs that run: below `docs`, so that imports resolve as in a guide. */
export const folder = join(import.meta.dirname, "test/build/programs")

/** A program of a page. */
export interface Program {
  /** The path of the page, from the root of the repository. */
  readonly page: string
  /** The number of the program on its page, from 1. */
  readonly number: number
  readonly code: string
  /** The output on the page. */
  readonly output: string
}

const pattern = /^```ts\n((?:(?!```)[^\n]*\n)*)```\n\n((?:(?!```)[^\n]+\n)*\n?)```text\n((?:(?!```)[^\n]*\n)*)```$/gm

/** The pages that may contain programs. */
export const pages: ReadonlyArray<string> = execFileSync(
  "git",
  ["ls-files", "--cached", "--others", "--exclude-standard", "README.md", "docs/guide/*.md", "packages/*/README.md"],
  { cwd: root, encoding: "utf8" }
)
  .split("\n")
  .filter((path) => path !== "")

/** The programs of a page, in order. */
export const programsOf = (page: string): ReadonlyArray<Program> =>
  Array.from(readFileSync(join(root, page), "utf8").matchAll(pattern), ([, code = "", , output = ""], i) => ({
    page,
    number: i + 1,
    code,
    output
  }))

const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CYCLES|NODE)_/.test(name)))

/** Runs a program in a separate process, with an empty home folder, and returns its output. */
export const run = ({ code, number, page }: Program): Promise<string> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const adminKey = crypto.randomUUID()
        const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminKey })
        const apiKey = yield* Effect.promise(() =>
          makeTenant({ adminUrl, adminKey }, "acme", { unit: "TOKENS", amount: 1000 })
        )
        const home = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-cycles-guide-"))),
          (home) => Effect.sync(() => rmSync(home, { recursive: true, force: true }))
        )
        mkdirSync(folder, { recursive: true })
        const file = join(folder, `${page.replaceAll(/[/.]/g, "-")}-${number}.ts`)
        writeFileSync(file, code)
        const cycles = { CYCLES_BASE_URL: url, CYCLES_API_KEY: apiKey, CYCLES_TENANT: "acme" }
        return yield* Effect.promise(
          () =>
            new Promise<string>((resolve, reject) => {
              const env = { ...environment, ...cycles, HOME: home, USERPROFILE: home, NO_COLOR: "1" }
              execFile(process.execPath, ["--no-warnings", file], { env, timeout: 60_000 }, (error, stdout, stderr) =>
                error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stdout}\n${stderr}`))
              )
            })
        )
      })
    )
  )

if (import.meta.main) {
  const names = process.argv.slice(2).filter((name) => name !== "--write")
  const isWritten = process.argv.includes("--write")
  for (const page of pages.filter((path) => names.length === 0 || names.some((name) => path.includes(name)))) {
    const path = join(root, page)
    for (const program of programsOf(page)) {
      const output = await run(program)
      const isSame = output.trimEnd() === program.output.trimEnd()
      console.log(`${isSame ? "ok  " : isWritten ? "new " : "FAIL"} ${page} ${program.number}`)
      if (isSame) continue
      console.log(output)
      if (!isWritten) process.exitCode = 1
      else {
        const number = program.number
        let seen = 0
        const text = readFileSync(path, "utf8").replaceAll(pattern, (match: string, code: string, between: string) => {
          seen += 1
          return seen === number
            ? `\`\`\`ts\n${code}\`\`\`\n\n${between}\`\`\`text\n${output.trimEnd()}\n\`\`\``
            : match
        })
        writeFileSync(path, text)
      }
    }
  }
}
