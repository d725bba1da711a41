/**
 * Measures the CPU time per part of a long streamed response with a guarded model, which decodes each part a second
 * time. The goal is at most 5 µs more than the bare model, and 5 µs more for each run around it.
 */
import * as Effect from "effect/Effect"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const module = new URL("./internal/parts.ts", import.meta.url)

const bare = "bare model"

const bareTools = "bare model, with a toolkit"

const candidates = [
  { name: bare, row: "bare" },
  { name: "`CyclesModel`", row: "guarded", over: bare, most: 5 },
  { name: "`CyclesModel` in a run", row: "guarded-run", over: bare, most: 10 },
  { name: "`CyclesModel` in a run in a run", row: "guarded-runs", over: bare, most: 15 },
  { name: bareTools, row: "bare-tools" },
  { name: "`CyclesModel`, with a toolkit", row: "guarded-tools", over: bareTools, most: 5 },
  { name: "`CyclesModel` in a run, with a toolkit", row: "guarded-run-tools", over: bareTools, most: 10 }
]

/** Runs the benchmark. */
export const run = ({ count, rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const ready = yield* Effect.forEach(candidates, (row) => Rounds.start({ ...row, module }, count))
      const rows = Report.rows(yield* Rounds.run(ready, rounds))
      return [
        {
          benchmark: "streamPart",
          title: "A part of a streamed response",
          measure: "CPU µs a part",
          unit: "part",
          against: "more",
          rows
        }
      ]
    })
  )
