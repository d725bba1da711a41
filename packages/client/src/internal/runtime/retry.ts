/**
 * Retries: the retry loop of the client, and the wait for a `Retry-After`. The schedule determines the delay. The
 * server may request a longer one, a flush shortens it, and closing the layer ends it.
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

/** The outcome of an attempt: a result, or a reason to retry. */
export type Attempt<A> = Ended<A> | Again

/** The final result. */
export interface Ended<A> {
  readonly _tag: "Ended"
  readonly value: A
}

/** A reason to retry. */
export interface Again {
  readonly _tag: "Again"
  readonly because: string
  /** The minimum delay that the server requested, or 0. */
  readonly minimumDelayMs: number
  /** Whether another attempt in this run can't help. */
  readonly isLast: boolean
}

/** Ends the retries with a result. */
export const ended = <A>(value: A): Ended<A> => ({ _tag: "Ended", value })

/** Requests another attempt. */
export const again = (because: string, minimumDelayMs: number, isLast = false): Again => ({
  _tag: "Again",
  because,
  minimumDelayMs,
  isLast
})

/** An attempt that always returns. A defect leaves its outcome unknown, so that it is retried. */
export const attemptOf = <A, R>(attempt: Effect.Effect<Attempt<A>, never, R>): Effect.Effect<Attempt<A>, never, R> =>
  Effect.catchCause(attempt, (cause) => Effect.succeed(again(`the attempt broke off: ${firstLine(cause)}`, 0)))

/** Retries after a first attempt, until an attempt ends with a result or the schedule ends. */
export const continueAfter = <A>(
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
          // The schedule has ended, or a custom schedule died.
          if (Exit.isFailure(next)) break
          const [, delay] = next.value
          const isOver = yield* options.background.delay(Duration.toMillis(delay), last.minimumDelayMs)
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

/** The shortest delay before the next request to a throttling server, in milliseconds. */
export const shortestWaitMs = 100

/**
 * Repeats a call after each `Retry-After` of a 429 or 503, until the delays would exceed a total in milliseconds.
 * `onWait` receives the error before each delay.
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
