/**
 * Measures the CPU time per element of a long guarded stream, each element in a separate chunk. The goal is at most 5 µs more
 * than the bare stream.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

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
      const ready = yield* Effect.forEach(candidates, ({ most, name, row }) =>
        Effect.gen(function* () {
          const child = yield* Child.start(new URL("./internal/elements.ts", import.meta.url), row)
          const measure = Effect.map(child.ask(Child.Usage, { count }), (used) => Report.sampleOf(count, used))
          yield* Rounds.warmUp(measure)
          const goal = most === undefined ? undefined : ({ of: "more", most } as const)
          return { name, goal, measure }
        })
      )
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
