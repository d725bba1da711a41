/**
 * Access to the journal of a client, which may fail, die or hang: opens it, limits the time of every operation, and
 * reports failures.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Journal, JournalError, JournalOwner, SettlementJournal } from "../../SettlementJournal.ts"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"
import { exitWithin } from "./bounded.ts"
import * as Log from "./log.ts"
import * as Metrics from "./metrics.ts"

/** The time limit of a write to the journal, in milliseconds. */
export const journalWriteMs = 2_000

/** The journal of a client. */
export interface JournalAccess {
  /** Opens the journal, or returns the open one. */
  readonly opened: Effect.Effect<Journal, JournalError>
  /** Runs a journal operation. Returns nothing if it failed, died or exceeded its time limit. */
  readonly attempt: <A>(
    name: string,
    limitMs: number,
    use: (journal: Journal) => Effect.Effect<A, JournalError>
  ) => Effect.Effect<Exit.Success<A, JournalError> | undefined>
  /** Logs and counts a failure. Without a cause, the time limit was exceeded. */
  readonly failed: (name: string, cause: Cause.Cause<JournalError> | undefined, limitMs: number) => Effect.Effect<void>
}

/** Makes the access in a scope. If the journal can't be opened, each operation tries to open it again. */
export const make = (
  options: {
    readonly store: SettlementJournal
    readonly owner: JournalOwner
    readonly timers: TimerQueue<Timer>
  },
  scope: Scope.Scope
): JournalAccess => {
  const { owner, store, timers } = options
  let journal: Journal | undefined

  const opened: Effect.Effect<Journal, JournalError> = Effect.suspend(() =>
    journal !== undefined
      ? Effect.succeed(journal)
      : // Two operations may open the journal at the same time. Both use the first handle, because a handle removes only its
        // own open records.
        Effect.map(Scope.provide(store.open(owner), scope), (made) => (journal ??= made))
  )

  const attempt = <A>(
    name: string,
    limitMs: number,
    use: (journal: Journal) => Effect.Effect<A, JournalError>
  ): Effect.Effect<Exit.Success<A, JournalError> | undefined> => {
    const operation = Effect.flatMap(opened, use)
    return Effect.flatMap(
      // A bounded journal keeps the usual limit by itself; only a shorter one needs a timer and a fiber.
      store.isBounded === true && limitMs >= journalWriteMs
        ? Effect.exit(operation)
        : exitWithin(timers, limitMs, operation),
      (exit) =>
        exit !== undefined && Exit.isSuccess(exit)
          ? Effect.succeed(exit)
          : Effect.as(failed(name, exit === undefined ? undefined : exit.cause, limitMs), undefined)
    )
  }

  const failed = (name: string, cause: Cause.Cause<JournalError> | undefined, limitMs: number): Effect.Effect<void> =>
    Effect.withFiber((fiber) => {
      Metrics.journalError(fiber.context)
      return cause === undefined
        ? Log.error(`The settlement journal didn't finish "${name}" within ${limitMs} ms`)
        : Log.error(`The settlement journal failed at "${name}"`, cause)
    })

  return { opened, attempt, failed }
}
