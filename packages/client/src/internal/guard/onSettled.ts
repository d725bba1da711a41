/**
 * Runs `onSettled`: once for each reservation, in the caller's fiber, with the settlement that the caller waited for.
 * It is interruptible, limited to one `timeout`, and changes no outcome.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Settlement } from "../../Settlement.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { OnSettled } from "../reservation/options.ts"
import { exitWithin } from "../runtime/bounded.ts"
import * as Log from "../runtime/log.ts"
import type { Restore } from "../run/waiting.ts"

/** Runs `onSettled`, if it is given and hasn't run yet. */
export const announce = <R>(
  engine: Engine,
  restore: Restore,
  handle: Handle,
  onSettled: OnSettled<R> | undefined,
  settlement: Settlement
): Effect.Effect<void, never, R> => {
  if (onSettled === undefined) return Effect.void
  return Effect.suspend(() => {
    if (!handle.takeAnnouncement()) return Effect.void
    const run = exitWithin(
      engine.timers,
      engine.config.timeoutMs,
      Effect.suspend(() => onSettled(settlement))
    )
    // If the caller is already interrupted, run `onSettled` without interruption, so that it still gets its settlement.
    const waiting = Effect.flatMap(Effect.exit(restore(Effect.void)), (interruption) =>
      Effect.exit(Exit.isFailure(interruption) ? run : restore(run))
    )
    return Effect.flatMap(waiting, (waited) => {
      // The caller was interrupted. Its interruption takes effect when the guard ends.
      if (Exit.isFailure(waited)) return Effect.void
      const exit = waited.value
      if (exit === undefined) return Log.warning(`onSettled didn't end within ${engine.config.timeoutMs} ms`)
      return Exit.isFailure(exit) ? Log.error("onSettled died; the settlement isn't affected", exit.cause) : Effect.void
    })
  })
}
