/**
 * Measures the CPU time per element of a long guarded stream, each element in a separate chunk. The goal is at most 5
 * µs more than the bare stream.
 */
import * as Effect from "effect/Effect"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const module = new URL("./internal/elements.ts", import.meta.url)

const candidates = [
  { name: "bare stream", row: "bare" },
  { name: "`Cycles.withCyclesStream`", row: "guarded", most: 5 },
  { name: "with an amount for each element", row: "metered", most: 5 },
  { name: "with an amount, in a run", row: "run", most: 10 },
  { name: 'with the heartbeat policy "cancel"', row: "cancel" }
]

/** Runs the benchmark. */
export const run = ({ count, rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const ready = yield* Effect.forEach(candidates, (row) => Rounds.start({ ...row, module }, count))
      const rows = Report.rows(yield* Rounds.run(ready, rounds))
      return [
        {
          benchmark: "streamElement",
          title: "An element of a guarded stream",
          measure: "CPU µs an element",
          unit: "element",
          against: "more",
          rows
        }
      ]
    })
  )
