/**
 * Measures the CPU time per part of a long streamed response with a guarded model, which decodes each part a second time.
 * The goal is at most 5 µs more than the bare model.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const candidates = [
  { name: "bare model", row: "bare" },
  { name: "`CyclesModel`", row: "guarded" },
  { name: "bare model, with a toolkit", row: "bare-tools" },
  { name: "`CyclesModel`, with a toolkit", row: "guarded-tools" }
] as const

/** Runs the benchmark. */
export const run = ({ count, rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const ready = yield* Effect.forEach(candidates, ({ name, row }) =>
        Effect.gen(function* () {
          const child = yield* Child.start(new URL("./internal/parts.ts", import.meta.url), row)
          const measure = Effect.map(child.ask(Child.Usage, { count }), (used) => ({ count, used }))
          yield* Rounds.warmUp(measure)
          return { name, measure }
        })
      )
      const rows = Report.rows(yield* Rounds.run(ready, rounds))
      return [{ benchmark: "streamPart", title: "A part of a streamed response", unit: "part", rows }]
    })
  )
