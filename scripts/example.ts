/**
 * `pnpm example NN`: runs the example of that number.
 */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"

const number = process.argv[2] ?? ""
const names = readdirSync("docs/examples").filter((name) => /^\d\d_.*\.ts$/.test(name))
const name = names.find((candidate) => candidate.startsWith(`${number}_`))
if (name === undefined) {
  console.error(`There is no example ${number}; there are ${names.join(", ")}`)
  process.exitCode = 2
} else {
  process.exitCode = spawnSync(process.execPath, [`docs/examples/${name}`], { stdio: "inherit" }).status ?? 1
}
