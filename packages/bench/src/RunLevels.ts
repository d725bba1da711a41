/**
 * Measures the CPU time that runs add to a guarded call, on a transport without HTTP. The goal is at most 5 µs for each level of
 * runs around the call.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const candidates = [
  { name: "without a run", levels: 0 },
  { name: "in a run", levels: 1 },
  { name: "in a run within a run", levels: 2 },
  { name: "in eight runs", levels: 8 }
]

/** Runs the benchmark. */
export const run = ({ count, rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const ready = yield* Effect.forEach(candidates, ({ levels, name }) =>
        Effect.gen(function* () {
          const child = yield* Child.start(new URL("./internal/runLevels.ts", import.meta.url), String(levels))
          const measure = Effect.map(child.ask(Child.Usage, { count }), (used) => Report.sampleOf(count, used))
          yield* Rounds.warmUp(measure)
          const goal = levels === 0 ? undefined : ({ of: "more", most: 5 * levels } as const)
          return { name, goal, measure }
        })
      )
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
