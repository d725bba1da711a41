/**
 * Waiting where the server asks for it (429 and 503 with a Retry-After), as long as the user allows in all.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"

/** Asks again after each wait that the server asks for, until the waits would take longer than this, in milliseconds. */
export const patiently = <A, R>(
  call: Effect.Effect<A, CyclesError, R>,
  maxMs: number
): Effect.Effect<A, CyclesError, R> => {
  if (maxMs === 0) return call
  const within = (leftMs: number): Effect.Effect<A, CyclesError, R> =>
    Effect.catch(call, (error) => {
      const waitMs = askedFor(error)
      return waitMs === undefined || waitMs > leftMs
        ? Effect.fail(error)
        : Effect.andThen(Effect.sleep(waitMs), within(leftMs - waitMs))
    })
  return within(maxMs)
}

const askedFor = (error: CyclesError): number | undefined => {
  if (error._tag !== "ApiError" || error.retryAfter === undefined) return undefined
  if (error.status !== 429 && error.status !== 503) return undefined
  return Math.max(shortestWaitMs, Duration.toMillis(error.retryAfter))
}

/** A server that asks for no time at all gets some all the same, in milliseconds. */
export const shortestWaitMs = 100
