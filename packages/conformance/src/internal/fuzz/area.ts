/** One part of the fuzz suite: a generator of cases, which are plain data, and the check of one case. */
import type * as Arbitrary from "effect/Arbitrary"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SecretScan } from "./secretScan.ts"

/** One part of the suite. */
export interface Area<A> {
  readonly name: string
  /** The share of the suite's time, relative to those of the other areas. */
  readonly weight: number
  /** How many cases run at a time. Those of areas with sockets wait most of the time. */
  readonly concurrency: number
  /** Generates cases. A case is JSON, so that a printed one can be run again. */
  readonly cases: Arbitrary.Arbitrary<A>
  /** Cases that run before the random ones, whatever the seed and the time: each limit that a random case may miss. */
  readonly always?: ReadonlyArray<A>
  /** Starts what all cases share, and returns the check of one case. */
  readonly start: (scan: SecretScan) => Effect.Effect<Check<A>, never, Scope.Scope>
}

/** Runs a case, and returns the violated invariants. It repeats exactly enough for a failing case to shrink. */
export type Check<A> = (value: A) => Effect.Effect<ReadonlyArray<string>>

/** An area whose cases are read from JSON. */
export interface AnyArea {
  readonly name: string
  readonly weight: number
  readonly use: <B>(user: <A>(area: Area<A>) => B) => B
}

/** Hides the type of an area's cases. */
export const any = <A>(area: Area<A>): AnyArea => ({ name: area.name, weight: area.weight, use: (user) => user(area) })
