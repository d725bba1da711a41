/**
 * `pnpm fuzz [--minutes N] [--seed N] [--area NAME] [--case JSON]`: hostile input for N minutes, 2 by default, with a
 * random seed.
 *
 * With `--area` only one area is run, and with `--case` one case of it. The exit code is 1 if a case fails.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as Fuzz from "../Fuzz.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    area: { type: "string" },
    case: { type: "string" }
  }
})

const seed = Number(values.seed)
const minutes = Number(values.minutes)
const chosen = Fuzz.areas.filter(({ name }) => values.area === undefined || name === values.area)
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

if (
  !Number.isSafeInteger(seed) ||
  !(minutes > 0) ||
  chosen.length === 0 ||
  (values.case !== undefined && chosen.length > 1)
) {
  console.error(
    `--seed is an integer, --minutes a positive number, --case needs --area, and --area is one of ${Fuzz.areas.map(({ name }) => name).join(", ")}`
  )
  process.exitCode = 2
} else {
  console.log(`seed ${seed}`)
  const failures = await Effect.runPromise(program)
  for (const failure of failures) console.log(`FAILED ${failure}`)
  console.log(failures.length === 0 ? "passed" : `${failures.length} failed`)
  process.exit(failures.length === 0 ? 0 : 1)
}
