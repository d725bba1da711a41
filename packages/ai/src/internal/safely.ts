/**
 * Runs code whose failure must not change the outcome of a call.
 */
import * as Effect from "effect/Effect"
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
