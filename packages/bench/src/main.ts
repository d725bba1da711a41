/**
 * Runs the benchmarks, prints a report, and writes it as JSON if a file is given:
 *
 * `pnpm bench [--only lifecycle|server|streamPart] [--json FILE] [--count N] [--rounds N] [--concurrency N] [--past N,N]`
 */
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Lifecycle from "./Lifecycle.ts"
import * as Report from "./Report.ts"
import * as Server from "./Server.ts"
import * as StreamPart from "./StreamPart.ts"

const fail = (problem: string): never => {
  console.error(problem)
  process.exit(2)
}

const read = () => {
  try {
    return parseArgs({
      options: {
        only: { type: "string" },
        json: { type: "string" },
        count: { type: "string", default: "4000" },
        rounds: { type: "string", default: "7" },
        concurrency: { type: "string", default: "32" },
        past: { type: "string", default: "1000,100000" }
      }
    }).values
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const natural = (name: string, text: string): number =>
  /^[1-9]\d{0,7}$/.test(text) ? Number(text) : fail(`--${name} must be an integer from 1 to 99999999, got ${text}`)

const options = read()
const { json, only } = options
const benchmarks: ReadonlyArray<Report.Section["benchmark"]> = ["lifecycle", "server", "streamPart"]
const selected = benchmarks.filter((name) => only === undefined || only === name)
if (selected.length === 0) fail(`--only must be one of ${benchmarks.join(", ")}, got ${only}`)
const extent: Report.Extent = {
  count: natural("count", options.count),
  rounds: natural("rounds", options.rounds),
  concurrency: natural("concurrency", options.concurrency)
}
const past = options.past.split(",").map((text) => natural("past", text))

const runs = {
  lifecycle: Lifecycle.run(extent),
  server: Server.run({ ...extent, past }),
  streamPart: StreamPart.run({ ...extent, count: extent.count * 5 })
}
const sections = await Effect.runPromise(
  Effect.map(
    Effect.forEach(selected, (name) => runs[name]),
    (all) => all.flat()
  )
)
const report = Report.make(extent, sections)
console.log(Report.format(report))
if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
