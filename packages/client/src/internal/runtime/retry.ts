/**
 * Retries: the one loop of the client, and the wait for a caller who accepts a `Retry-After`. The schedule says how long to
 * wait, the server may ask for more, a flush for less, and a closing layer for nothing.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type { CyclesError } from "../../CyclesError.ts"
import { classify } from "../protocol/classify.ts"
import type { Background } from "./background.ts"

// ---------------------------------------------------------------------------------------------------------------------
// attempts
// ---------------------------------------------------------------------------------------------------------------------

/** What an attempt led to: the end, or a reason to try again. */
export type Attempt<A> = Ended<A> | Again

/** The end. */
export interface Ended<A> {
  readonly _tag: "Ended"
  readonly value: A
}

/** A reason to try again. */
export interface Again {
  readonly _tag: "Again"
  readonly because: string
  /** The server asked not to be called again before this time has passed; 0 if it didn't. */
  readonly minimumDelayMs: number
  /** Whether another attempt in this run is useless. */
  readonly isLast: boolean
}

/** The end. */
export const ended = <A>(value: A): Ended<A> => ({ _tag: "Ended", value })

/** A reason to try again. */
export const again = (because: string, minimumDelayMs: number, isLast = false): Again => ({
  _tag: "Again",
  because,
  minimumDelayMs,
  isLast
})

/** An attempt that always returns: whatever it dies of leaves its outcome unknown. */
export const attemptOf = <A, R>(attempt: Effect.Effect<Attempt<A>, never, R>): Effect.Effect<Attempt<A>, never, R> =>
  Effect.catchCause(attempt, (cause) => Effect.succeed(again(`the attempt broke off: ${firstLine(cause)}`, 0)))

/** Continues after a first attempt, until one ends it or the attempts of this run are used up. */
export const goOn = <A>(
  options: { readonly retry: Schedule.Schedule<unknown>; readonly background: Background },
  first: Attempt<A>,
  attempt: Effect.Effect<Attempt<A>>,
  giveUp: (last: Again) => Effect.Effect<A>
): Effect.Effect<A> =>
  first._tag === "Ended"
    ? Effect.succeed(first.value)
    : Effect.gen(function* () {
        const step = yield* Schedule.toStep(options.retry)
        let last = first
        while (!last.isLast) {
          const now = yield* Clock.currentTimeMillis
          const next = yield* Effect.exit(step(now, last))
          // The schedule has ended, or a schedule of the caller's threw.
          if (Exit.isFailure(next)) break
          const [, delay] = next.value
          const isOver = yield* options.background.pause(Duration.toMillis(delay), last.minimumDelayMs)
          if (isOver) break
          const attempted = yield* attempt
          if (attempted._tag === "Ended") return attempted.value
          last = attempted
        }
        return yield* giveUp(last)
      })

// ---------------------------------------------------------------------------------------------------------------------
// Retry-After
// ---------------------------------------------------------------------------------------------------------------------

/** The shortest wait before the next request to a server that throttles, in milliseconds. */
export const shortestWaitMs = 100

/**
 * Repeats a call after each wait that the server asks for (429 and 503 with `Retry-After`), until the waits would exceed
 * a total in milliseconds. `onWait` sees the error before each wait.
 */
export const waitingAtMost = <A, R>(
  call: Effect.Effect<A, CyclesError, R>,
  maxMs: number,
  onWait: (error: CyclesError) => void = () => {}
): Effect.Effect<A, CyclesError, R> => {
  if (maxMs === 0) return call
  const within = (leftMs: number): Effect.Effect<A, CyclesError, R> =>
    Effect.catch(call, (error) => {
      const waitMs = requestedWait(error)
      if (waitMs === undefined || waitMs > leftMs) return Effect.fail(error)
      onWait(error)
      return Effect.andThen(Effect.sleep(waitMs), within(leftMs - waitMs))
    })
  return within(maxMs)
}

const requestedWait = (error: CyclesError): number | undefined => {
  if (error._tag !== "ApiError" || error.retryAfter === undefined) return undefined
  if (error.status !== 429 && error.status !== 503 && classify(error).class !== "throttled") return undefined
  return Math.max(shortestWaitMs, Duration.toMillis(error.retryAfter))
}

const firstLine = (cause: Cause.Cause<unknown>): string => {
  try {
    return Cause.pretty(cause).split("\n")[0] ?? "unknown"
  } catch {
    return "unknown"
  }
}
