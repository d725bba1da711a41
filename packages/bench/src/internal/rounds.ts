/**
 * Rounds: everything once, in an order that is shuffled anew each time, so that what else the machine does falls on all rows
 * alike.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Measured, Sample } from "../Report.ts"

/** Something to measure. */
export interface Candidate {
  readonly name: string
  readonly goal?: number | undefined
  readonly measure: Effect.Effect<Sample>
}

/** Four rounds that don't count: what is slow in them is the compiler. */
export const warmUp = (measure: Candidate["measure"]): Effect.Effect<void> =>
  Effect.repeat(Effect.asVoid(measure), { times: 3 })

/** Measures all candidates in every round. */
export const run = (candidates: ReadonlyArray<Candidate>, rounds: number): Effect.Effect<ReadonlyArray<Measured>> =>
  Effect.gen(function* () {
    const measured = candidates.map(({ goal, measure, name }) => ({
      name,
      goal,
      measure,
      samples: new Array<Sample>()
    }))
    for (let round = 0; round < rounds; round += 1) {
      for (const one of yield* Random.shuffle(measured)) one.samples.push(yield* one.measure)
    }
    return measured
  })
