/**
 * How many calls are under way at once.
 *
 * Callers, settlements and leases have a lane each, so that bodies that wait for a place can't starve the calls that would
 * free one, and neither can hold up an extension, which has to be in time. Bodies themselves never hold a place. After
 * idleness one call goes alone: a server that checks a key by a slow hash then does it once, not once for each of a burst.
 *
 * Source: ours; the reference server's key check costs 0.27 s of CPU and is remembered for 60 s.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"

/** Who is calling: the user's fiber, the client that settles, or the client that keeps leases alive. */
export type Lane = "caller" | "settlement" | "lease"

/** The places for calls under way. */
export interface Lanes {
  /** Runs a call when its lane has a place. It is asked for at the moment of the call. */
  readonly run: <A, E, R>(lane: Lane, nowMs: number, call: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** To be told when a call has ended: there is no idleness now. */
  readonly answered: (nowMs: number) => void
}

/** Makes the lanes: an eighth of the places for leases, half of the rest for settlements. With two, leases share theirs. */
export const make = (options: {
  readonly maxInFlight: number
  /** After this long without an answer a call goes alone. */
  readonly aloneAfterMs: number
}): Lanes => {
  const forLeases = options.maxInFlight < 3 ? 0 : Math.ceil(options.maxInFlight / 8)
  const forSettlement = Math.floor((options.maxInFlight - forLeases) / 2)
  const settlement = Semaphore.makeUnsafe(forSettlement)
  const lanes = {
    caller: Semaphore.makeUnsafe(options.maxInFlight - forLeases - forSettlement),
    settlement,
    lease: forLeases === 0 ? settlement : Semaphore.makeUnsafe(forLeases)
  }
  let lastAnswerMs = Number.NEGATIVE_INFINITY
  let opener: Latch.Latch | undefined

  return {
    run: (lane, nowMs, call) => {
      const placed = Semaphore.withPermit(lanes[lane], call)
      if (opener === undefined && nowMs - lastAnswerMs < options.aloneAfterMs) return placed
      // It goes alone from here on: nothing can come between that and the end of it.
      return Effect.uninterruptibleMask((restore) => {
        if (opener !== undefined) {
          return restore(Effect.andThen(Effect.timeoutOption(opener.await, openerLimitMs), placed))
        }
        const latch = Latch.makeUnsafe()
        opener = latch
        return Effect.ensuring(
          restore(placed),
          Effect.sync(() => {
            opener = undefined
            latch.openUnsafe()
          })
        )
      })
    },
    answered: (nowMs) => {
      lastAnswerMs = nowMs
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// constants
// ---------------------------------------------------------------------------------------------------------------------

/** How long the others wait for the one that goes alone. */
const openerLimitMs = 1_000
