/**
 * Runs the benchmarks, prints a report, and writes it as JSON if a file is given. The README lists the options:
 *
 * `pnpm bench [--only NAME] [--json FILE] [--count N] [--rounds N] [--concurrency N,N] [--past N,N] [--leases N] ...`
 */
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Imports from "./Imports.ts"
import * as Journal from "./Journal.ts"
import * as Leases from "./Leases.ts"
import * as Lifecycle from "./Lifecycle.ts"
import * as Report from "./Report.ts"
import * as RunLevels from "./RunLevels.ts"
import * as Server from "./Server.ts"
import * as StreamElement from "./StreamElement.ts"
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
        concurrency: { type: "string" },
        past: { type: "string", default: "1000,100000" },
        leases: { type: "string", default: "100000" },
        seconds: { type: "string", default: "30" },
        records: { type: "string", default: "100000" }
      }
    }).values
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const natural = (name: string, text: string): number =>
  /^[1-9]\d{0,7}$/.test(text) ? Number(text) : fail(`--${name} must be an integer from 1 to 99999999, got ${text}`)

const naturals = (name: string, text: string): ReadonlyArray<number> =>
  text.split(",").map((part) => natural(name, part))

const options = read()
const { json, only } = options
const selected = Report.benchmarks.filter((name) => only === undefined || only === name)
if (selected.length === 0) fail(`--only must be one of ${Report.benchmarks.join(", ")}, got ${only}`)
const extent: Report.Extent = {
  count: natural("count", options.count),
  rounds: natural("rounds", options.rounds)
}
const long = { ...extent, count: extent.count * 5 }
const concurrency = naturals("concurrency", options.concurrency ?? "1,32,256")
const past = naturals("past", options.past)
const records = natural("records", options.records)
const leases = {
  // A round takes half a minute.
  rounds: Math.min(3, extent.rounds),
  leases: natural("leases", options.leases),
  seconds: natural("seconds", options.seconds)
}

const runs: Record<Report.Benchmark, Effect.Effect<ReadonlyArray<Report.Section>>> = {
  lifecycle: Lifecycle.run({ ...extent, concurrency }),
  server: Server.run({ ...extent, concurrency: 32, past }),
  streamElement: StreamElement.run(long),
  streamPart: StreamPart.run(long),
  runLevels: RunLevels.run(long),
  leases: Leases.run(leases),
  journal: Journal.run({ ...extent, concurrency: concurrency.slice(0, 2), records }),
  imports: Imports.run(extent)
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
