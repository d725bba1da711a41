/**
 * Log messages of the client. A defect in a logger is ignored, so that it can't change a settlement or the outcome of a
 * body.
 */
import * as Effect from "effect/Effect"

const safely = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.ignoreCause(log)

/** Logs at level debug. */
export const debug = (message: string, ...details: ReadonlyArray<unknown>): Effect.Effect<void> =>
  safely(Effect.logDebug(message, ...details))

/** Logs a warning. */
export const warning = (message: string, ...details: ReadonlyArray<unknown>): Effect.Effect<void> =>
  safely(Effect.logWarning(message, ...details))

/** Logs an error. */
export const error = (message: string, ...details: ReadonlyArray<unknown>): Effect.Effect<void> =>
  safely(Effect.logError(message, ...details))
