/**
 * Measures the CPU time that runs add to a guarded call, on a transport without HTTP. The goal is at most 5 µs for each
 * level of runs around the call.
 */
import * as Effect from "effect/Effect"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const module = new URL("./internal/runLevels.ts", import.meta.url)

const candidates = [
  { name: "without a run", row: "0" },
  { name: "in a run", row: "1", most: 5 },
  { name: "in a run within a run", row: "2", most: 10 },
  { name: "in eight runs", row: "8", most: 40 }
]

/** Runs the benchmark. */
export const run = ({ count, rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const ready = yield* Effect.forEach(candidates, (row) => Rounds.start({ ...row, module }, count))
      const rows = Report.rows(yield* Rounds.run(ready, rounds))
      return [
        {
          benchmark: "runLevels",
          title: "A guarded call in runs",
          measure: "CPU µs a call",
          unit: "call",
          against: "more",
          rows
        }
      ]
    })
  )
