/**
 * Runs the call of a provider in its own fiber, so that an interruption or a lost lease can't discard a response that was paid
 * for.
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** Restores the interruptibility of the caller. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs a body and returns its exit. The caller makes it uninterruptible; `restore` makes the wait interruptible. If the wait is
 * interrupted, or `untilLost` fails, the body is interrupted. If it still ends with a result, that result is returned.
 */
export const run = <A, R>(
  restore: Restore,
  body: Effect.Effect<A, AiError.AiError, R>,
  untilLost: Effect.Effect<never, AiError.AiError> | undefined
): Effect.Effect<Exit.Exit<A, AiError.AiError>, never, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(body, { startImmediately: true })
    const done = Fiber.await(fiber)
    const waited = yield* Effect.exit(restore(untilLost === undefined ? done : Effect.raceFirst(done, untilLost)))
    if (Exit.isSuccess(waited)) return waited.value
    yield* Fiber.interrupt(fiber)
    const exit = yield* Fiber.await(fiber)
    return Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.failCause(waited.cause) : exit
  })
