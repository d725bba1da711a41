/**
 * Outcomes that the fault tests compare.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TestClock from "effect/testing/TestClock"

/** `success`, the tag of a failure, `defect`, `interrupt`, or `never` if the effect hasn't ended. */
export type Outcome = string

/** The outcome of an exit; `undefined` if there is no exit yet. */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown> | undefined): Outcome => {
  if (exit === undefined) return "never"
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasDies(exit.cause)) return "defect"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupt"
  const error = Cause.squash(exit.cause)
  return typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "failure"
}

/** Runs an effect while virtual time passes, and returns its outcome. An effect that hasn't ended continues. */
export const outcomeWithin = <A, E, R>(
  duration: Duration.Input,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Outcome, never, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDetach(effect, { startImmediately: true })
    yield* TestClock.adjust(duration)
    return outcomeOf(fiber.pollUnsafe())
  })
