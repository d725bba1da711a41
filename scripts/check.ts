/**
 * `pnpm check`: format, lint, types and house rules. It continues after a failure, so that one run reports all of them.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { checkDocs } from "./docs.ts"
import { checkHouse } from "./house.ts"

const steps: ReadonlyArray<readonly [string, () => boolean]> = [
  ["format", () => run("oxfmt", "--check", ".")],
  ["lint", () => run("oxlint", "--deny-warnings")],
  ...readdirSync("packages").map((name) => [`types of ${name}`, () => run("tsc", "-p", `packages/${name}`)] as const),
  ["types of docs", () => run("tsc", "-p", "docs")],
  ["types of scratchpad", () => run("tsc", "-p", "scratchpad")],
  ["types of scripts", () => run("tsc", "-p", "scripts")],
  ["code in guides and doc comments", checkDocs],
  ["house rules", checkHouse]
]

const run = (command: string, ...args: ReadonlyArray<string>): boolean =>
  spawnSync(existsSync(`node_modules/.bin/${command}`) ? `node_modules/.bin/${command}` : command, args, {
    stdio: "inherit"
  }).status === 0

const failed = steps.filter(([name, step]) => {
  const startedAt = Date.now()
  const isFine = step()
  console.log(`${isFine ? "ok  " : "FAIL"} ${name} (${Date.now() - startedAt} ms)`)
  return !isFine
})

console.log(
  failed.length === 0 ? "\nall checks passed" : `\n${failed.length} failed: ${failed.map(([name]) => name).join(", ")}`
)
process.exitCode = failed.length === 0 ? 0 : 1
