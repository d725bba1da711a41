/** Runs a server as a program of this package. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Starts a server, and closes it at SIGINT or SIGTERM. An error is printed, and the exit code is 1. */
export const runUntilSignal = <E>(start: Effect.Effect<void, E, Scope.Scope>): void => {
  const signal = Effect.callback<void>((resume) => {
    process.once("SIGINT", () => resume(Effect.void))
    process.once("SIGTERM", () => resume(Effect.void))
  })
  Effect.runPromise(Effect.scoped(Effect.andThen(start, signal))).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  })
}
