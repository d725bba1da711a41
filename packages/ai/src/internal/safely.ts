/**
 * Runs code whose failure must not change the outcome of a call.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { BudgetError } from "../CyclesAiError.ts"

/**
 * Runs a settlement that must not change the outcome of the call. The scope of the reservation settles what it couldn't.
 */
export const quietly = (settling: Effect.Effect<void, BudgetError>): Effect.Effect<void> =>
  Effect.catchCause(settling, (cause) => Effect.logWarning("A model call could not be settled as decided", cause))

/** Runs code of the user or of a library that must not change the outcome of the call. */
export const safely = <A>(run: () => A): A | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}

/**
 * Waits for code of the user within a settlement, which isn't interruptible. The wait ends after a time limit, or when the
 * caller is interrupted. A caller that is interrupted already, such as a finalizer, waits for the time limit.
 */
export const atMost = <A, E>(
  effect: Effect.Effect<A, E>,
  limit: Duration.Input
): Effect.Effect<A, E | Cause.TimeoutError> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.interruptible(Effect.timeout(effect, limit)), {
      startImmediately: true
    })
    const isInterrupted = Exit.isFailure(yield* Effect.exit(Effect.interruptible(Effect.void)))
    const done = Fiber.await(fiber)
    yield* Effect.exit(isInterrupted ? done : Effect.interruptible(done))
    yield* Fiber.interrupt(fiber)
    return yield* Fiber.join(fiber)
  })
