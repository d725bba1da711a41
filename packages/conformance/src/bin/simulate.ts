/**
 * `pnpm simulate [--seed N] [--lifecycles M] [--all] [--verbose]`: runs worlds of the simulation and prints a summary.
 * A failing world is shrunk and printed as a story. The exit code is 1 if a world fails.
 */
import { parseArgs } from "node:util"
import * as Simulation from "../Simulation.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    lifecycles: { type: "string", default: "20000" },
    all: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false }
  }
})

const whole = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  console.error(`--${name} must be a whole number from 1, got ${text}`)
  process.exit(2)
}

const seed = whole("seed", values.seed)
const lifecycles = whole("lifecycles", values.lifecycles)
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
    `${Math.round(report.virtualMs / 3_600_000)} h of virtual time in ${tookS.toFixed(1)} s (CPU ${cpuS.toFixed(1)} s), ` +
    `trace ${report.hash}`
)
const [failure] = report.failures
if (failure === undefined) {
  console.log("Every invariant holds.")
} else {
  console.log(`\n${await Simulation.explain(failure)}`)
  process.exitCode = 1
}
