/** `pnpm example NN`: runs the example with that number. */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"

const number = process.argv[2] ?? ""
const names = readdirSync("docs/examples").filter((name) => /^\d\d_.*\.ts$/.test(name))
const name = names.find((candidate) => candidate.startsWith(`${number}_`))
if (name === undefined) {
  console.error(`There is no example ${number}; the examples are ${names.join(", ")}`)
  process.exitCode = 2
} else {
  process.exitCode = spawnSync(process.execPath, [`docs/examples/${name}`], { stdio: "inherit" }).status ?? 1
}
