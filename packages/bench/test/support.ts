/** A short benchmark, and a check for its results. */
import type * as Report from "../src/Report.ts"

/** The smallest extent of a benchmark. */
export const extent = { count: 4, rounds: 2 }

/** Whether all rows have a positive value for each round. */
export const measured = (rows: ReadonlyArray<Report.Row>) =>
  rows.every((row) => row.rounds.length === extent.rounds && row.value.minimum > 0)

/** The number of rows of each section, and whether all are measured. */
export const shapes = (sections: ReadonlyArray<Report.Section>) =>
  sections.map(({ rows }) => [rows.length, measured(rows)])
