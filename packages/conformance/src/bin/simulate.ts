/**
 * `pnpm simulate [--seed N] [--lifecycles M] [--all] [--verbose]`: runs worlds of the simulation and prints a summary.
 * A failing world is shrunk and printed as a story. The exit code is 1 if a world fails.
 */
import { integer, parsed } from "../internal/arguments.ts"
import { parseArgs } from "node:util"
import * as Simulation from "../Simulation.ts"

const usage = `Usage: pnpm simulate [--seed N] [--lifecycles M] [--all] [--verbose]

  --seed N        the seed of the first world, from 1; the others follow. Default: 1
  --lifecycles M  the number of guarded calls, 1,000 in each world. Default: 20000
  --all           continue after a failing world
  --verbose       print each world with the hash of its trace

The same seed repeats the same worlds. The first failing world is shrunk and printed as a story; the exit code is 1 then.`

const { values } = parsed(usage, (args) =>
  parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      lifecycles: { type: "string", default: "20000" },
      all: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false }
    }
  })
)

const seed = integer(usage, "seed", values.seed, 1)
const lifecycles = integer(usage, "lifecycles", values.lifecycles, 1)
const startedAt = performance.now()
const report = await Simulation.simulate({
  seed,
  lifecycles,
  isComplete: values.all,
  onWorld: (seed, { hash, lifecycles, met, violations }) => {
    if (values.verbose || violations.length > 0) {
      console.log(`seed ${seed}: ${lifecycles} calls, ${met.size} faults, trace ${hash}`)
      for (const violation of violations) console.log(`  - ${violation}`)
    }
  }
})
const tookS = (performance.now() - startedAt) / 1_000
const cpuS = process.cpuUsage().user / 1_000_000
console.log(
  `${report.lifecycles} lifecycles in ${report.worlds} worlds, ${report.faults} faults, ` +
    `${Math.round(report.virtualMs / 3_600_000)} h of virtual time, trace ${report.hash}`
)
// The standard output is the same each time.
console.error(`It took ${tookS.toFixed(1)} s (CPU ${cpuS.toFixed(1)} s).`)
const [failure] = report.failures
if (failure === undefined) {
  console.log("Every invariant holds.")
} else {
  console.log(`\n${await Simulation.explain(failure)}`)
  process.exitCode = 1
}
