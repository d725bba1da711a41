/**
 * `pnpm fuzz [--minutes N] [--seed N] [--area NAME] [--case JSON]`: hostile input for N minutes, 2 by default, with a
 * random seed.
 *
 * With `--area` only one area is run, and with `--case` one case of it. The exit code is 1 if a case fails.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as Fuzz from "../Fuzz.ts"
import { integer, parsed, positive, refuse } from "../internal/arguments.ts"

const names = Fuzz.areas.map(({ name }) => name).join(", ")

const usage = `Usage: pnpm fuzz [--minutes N] [--seed N] [--area NAME [--case JSON]]

  --minutes N  the duration, shared by the areas. Default: 2
  --seed N     an integer from 0; the same seed repeats the same cases. Default: random
  --area NAME  only one area: ${names}
  --case JSON  only one case of the area, as a failure prints it

The exit code is 1 if a case fails.`

const { values } = parsed(usage, (args) =>
  parseArgs({
    args,
    options: {
      minutes: { type: "string", default: "2" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
      area: { type: "string" },
      case: { type: "string" }
    }
  })
)

const seed = integer(usage, "seed", values.seed, 0)
const minutes = positive(usage, "minutes", values.minutes)
const chosen = Fuzz.areas.filter(({ name }) => values.area === undefined || name === values.area)
if (chosen.length === 0) refuse(usage, `--area must be one of ${names}, got ${values.area}`)
if (values.case !== undefined && values.area === undefined) refuse(usage, "--case needs --area")
const total = chosen.reduce((sum, { weight }) => sum + weight, 0)

const program = Effect.gen(function* () {
  const failures: Array<string> = []
  for (const area of chosen) {
    if (values.case !== undefined) {
      failures.push(...(yield* Fuzz.runCase(area, values.case)))
      continue
    }
    const seconds = (minutes * 60 * area.weight) / total
    const report = yield* Fuzz.run(area, { seconds, seed })
    const seen = Array.from(report.seen, ([where, count]) => `${count} ${where}`).join(", ")
    console.log(
      `${area.name}: ${report.cases} cases in ${Math.round(seconds)} s; searched for secrets: ${seen || "nothing"}`
    )
    failures.push(...report.failures.map((failure) => `${area.name}: ${failure}`))
  }
  return failures
})

console.log(`seed ${seed}`)
const failures = await Effect.runPromise(program)
for (const failure of failures) console.log(`FAILED ${failure}`)
console.log(failures.length === 0 ? "passed" : `${failures.length} failed`)
process.exit(failures.length === 0 ? 0 : 1)
