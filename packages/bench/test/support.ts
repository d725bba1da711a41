/** A short benchmark, and a check for its results. */
import type * as Report from "../src/Report.ts"

/** The smallest extent of a benchmark. */
export const extent = { count: 4, rounds: 2, concurrency: 2 }

/** Whether all rows have a sample for each round. */
export const measured = (rows: ReadonlyArray<Report.Row>) =>
  rows.every((row) => row.rounds.length === extent.rounds && row.cpuMicros.minimum > 0 && row.rssMegabytes > 0)
