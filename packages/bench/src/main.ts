/**
 * `pnpm bench [--only lifecycle|server] [--json FILE] [--count N] [--rounds N] [--concurrency N] [--past N,N]`
 */
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Lifecycle from "./Lifecycle.ts"
import * as Report from "./Report.ts"
import * as Server from "./Server.ts"

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
if (only !== undefined && only !== "lifecycle" && only !== "server") {
  fail(`--only must be lifecycle or server, got ${only}`)
}
const extent: Report.Extent = {
  count: natural("count", options.count),
  rounds: natural("rounds", options.rounds),
  concurrency: natural("concurrency", options.concurrency)
}
const past = options.past.split(",").map((text) => natural("past", text))

const sections = [
  ...(only === "server" ? [] : await Effect.runPromise(Lifecycle.run(extent))),
  ...(only === "lifecycle" ? [] : await Effect.runPromise(Server.run({ ...extent, past })))
]
const report = Report.make(extent, sections)
console.log(Report.format(report))
if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
