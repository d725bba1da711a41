/**
 * Runs all candidates in rounds, in an order that is shuffled for each round, so that other load on the machine affects all
 * rows equally.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Goal, Measured, Sample } from "../Report.ts"

/** A measurement that can be repeated. */
export interface Candidate {
  readonly name: string
  readonly over?: string | undefined
  readonly goal?: Goal | undefined
  readonly measure: Effect.Effect<Sample>
}

/** Runs a measurement four times and discards the samples, so that its code is compiled before it is measured. */
export const warmUp = (measure: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.repeat(Effect.asVoid(measure), { times: 3 })

/** Measures every candidate in every round. */
export const run = (candidates: ReadonlyArray<Candidate>, rounds: number): Effect.Effect<ReadonlyArray<Measured>> =>
  Effect.gen(function* () {
    const measured = candidates.map(({ goal, measure, name, over }) => ({
      name,
      over,
      goal,
      measure,
      samples: new Array<Sample>()
    }))
    for (let round = 0; round < rounds; round += 1) {
      for (const one of yield* Random.shuffle(measured)) one.samples.push(yield* one.measure)
    }
    return measured
  })
