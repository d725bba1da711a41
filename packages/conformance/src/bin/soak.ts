/**
 * `pnpm soak [--minutes N] [--seed N] [--fault-rate F]`: all forms of calls in one process for N minutes, 30 by
 * default, with a random seed.
 *
 * SIGINT ends it early, with the report. The exit code is 1 if the charges aren't exact or a resource grows.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { integer, parsed, positive, refuse } from "../internal/arguments.ts"
import * as Report from "../internal/soak/report.ts"
import * as Soak from "../Soak.ts"

const usage = `Usage: pnpm soak [--minutes N] [--seed N] [--fault-rate F]

  --minutes N     the duration. Default: 30
  --seed N        an integer from 0. Default: random
  --fault-rate F  the share of requests with a fault, from 0 to below 1. Default: 0.01

Ctrl+C ends it early, with the report. The exit code is 1 if the charges aren't exact or a resource grows.`

const { values } = parsed(usage, (args) =>
  parseArgs({
    args,
    options: {
      minutes: { type: "string", default: "30" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
      "fault-rate": { type: "string", default: "0.01" }
    }
  })
)

const seconds = positive(usage, "minutes", values.minutes) * 60
const seed = integer(usage, "seed", values.seed, 0)
const faultRate = Number(values["fault-rate"])
if (!(faultRate >= 0 && faultRate < 1))
  refuse(usage, `--fault-rate must be a number from 0 to below 1, got ${values["fault-rate"]}`)

/** Samples between two lines of output. */
const sparse = 12

console.log(`seed ${seed}`)
let samples = 0
const report = await Effect.runPromise(
  Soak.run({
    seconds,
    seed,
    faultRate,
    stop: Effect.callback<void>((resume) => {
      process.once("SIGINT", () => {
        console.log("ending the soak")
        resume(Effect.void)
      })
    }),
    onSample: (sample) => {
      if (samples % sparse === 0) console.log(Report.formatSample(sample))
      samples += 1
    }
  })
)
console.log(Report.format(report))
process.exit(report.problems.length === 0 ? 0 : 1)
