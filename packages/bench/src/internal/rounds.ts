/**
 * Runs all candidates in rounds, in an order that is shuffled for each round, so that other load on the machine affects
 * all rows equally.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { Goal, Measured, Sample } from "../Report.ts"
import * as Report from "../Report.ts"
import * as Child from "./child.ts"

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

/**
 * A row whose units a process measures: the module of the process, its argument, and the goal in µs more than the
 * baseline.
 */
export interface Row {
  readonly name: string
  readonly over?: string | undefined
  readonly module: URL
  readonly row: string
  readonly most?: number | undefined
}

/** Starts the process of a row and compiles its code. Each measurement is of `count` units. */
export const start = (
  { module, most, name, over, row }: Row,
  count: number
): Effect.Effect<Candidate, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Child.start(module, row)
    const measure = Effect.map(child.ask(Child.Usage, { count }), (used) => Report.sampleOf(count, used))
    yield* warmUp(measure)
    return { name, over, goal: most === undefined ? undefined : { of: "more", most }, measure }
  })

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
