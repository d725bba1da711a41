/**
 * Measures the journals: the CPU time of a record that is written durably and removed again, the time until it is
 * durable, and the replay of the records that a dead process left, over a transport without HTTP.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Folder from "./internal/folder.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Sample, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/** The extent, the numbers of concurrent writes, and the number of records of a replay. */
export interface Options extends Extent {
  readonly concurrency: ReadonlyArray<number>
  readonly records: number
}

const candidates = [
  { name: "`JournalSqlite`", row: "sqlite" },
  { name: "`JournalFiles`", row: "files" }
] as const

const start = (row: string) =>
  Effect.flatMap(Folder.make, (folder) => Child.start(new URL("./internal/records.ts", import.meta.url), row, folder))

/** Runs the benchmark. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.gen(function* () {
    const writes = yield* Effect.scoped(written(options))
    return [...writes, yield* replayed(options)]
  })

const written = ({ concurrency, count, rounds }: Options) =>
  Effect.gen(function* () {
    const children = yield* Effect.forEach(candidates, ({ name, row }) =>
      Effect.map(start(row), (child) => ({ name, child }))
    )
    return yield* Effect.forEach(concurrency, (atOnce) =>
      Effect.gen(function* () {
        // A single write waits for the disk.
        const records = Math.max(1, atOnce < 8 ? Math.ceil(count / 4) : count)
        const asked = { _tag: "write", count: records, concurrency: atOnce }
        const ready = children.map(({ child, name }) => ({
          name,
          measure: Effect.map(child.ask(Child.Usage, asked), (used) => Report.sampleOf(records, used))
        }))
        for (const { measure } of ready) yield* Rounds.warmUp(measure)
        return {
          benchmark: "journal",
          title: `A record of a journal, ${atOnce} at a time`,
          measure: "CPU µs a record",
          unit: "record",
          against: "nothing",
          rows: Report.rows(yield* Rounds.run(ready, rounds))
        } satisfies Section
      })
    )
  })

/** A replay takes long, and needs a new process. */
const maxReplays = 3

const replayed = ({ records, rounds }: Options) =>
  Effect.gen(function* () {
    const rows = candidates.map((candidate) => ({ ...candidate, samples: new Array<Sample>() }))
    for (let round = 0; round < Math.min(rounds, maxReplays); round += 1) {
      for (const { row, samples } of rows) {
        const used = yield* Effect.scoped(
          Effect.flatMap(start(row), (child) => child.ask(Child.Usage, { _tag: "replay", count: records }))
        )
        samples.push(Report.sampleOf(records, used))
      }
    }
    return {
      benchmark: "journal",
      title: `Replay of ${records.toLocaleString("en")} records`,
      measure: "CPU µs a record",
      unit: "record",
      against: "nothing",
      rows: Report.rows(rows)
    } satisfies Section
  })
