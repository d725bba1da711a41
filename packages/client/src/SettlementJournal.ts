/**
 * The journal: a durable store for spend that isn't settled yet.
 *
 * The client writes a record before it sends the first settlement request, and removes it after the server has
 * confirmed the settlement. A crash, a lost response or a long outage therefore loses no known spend. Spend that the
 * server will never charge becomes a dead letter, which stays in the journal until it is removed by hand.
 *
 * This module contains the contract and two stores for every platform, `layerMemory` and `layerNone`. The durable
 * stores are in `effect-cycles/node`: `JournalSqlite` and `JournalFiles`. The `Cycles` layer replays the records; a
 * store only keeps them.
 *
 * **Example** (Reading and removing dead letters)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Cycles, SettlementJournal } from "effect-cycles"
 *
 * export const logDeadLetters = Stream.runForEach(Cycles.deadLetters, ({ reason, record }) =>
 *   Effect.logError("Spend was never charged", { reason, reservationId: record.reservationId })
 * )
 *
 * export const removeDeadLetter = Effect.fn("removeDeadLetter")(function* (
 *   owner: SettlementJournal.JournalOwner,
 *   letter: SettlementJournal.DeadLetter
 * ) {
 *   const store = yield* SettlementJournal.SettlementJournal
 *   const journal = yield* store.open(owner)
 *   yield* journal.forget(letter)
 * }, Effect.scoped)
 * ```
 *
 * @see client recovery profile, CR-DURABLE-001 to 007; dead letters and open records are an extension
 * @since 0.1.0
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Spend that has to be committed. `reservationId` and `commitBody` identify a record.
 *
 * **Details**
 *
 * The two bodies are the exact JSON texts of the requests, including the idempotency key. A replay sends the same bytes
 * as the first attempt, even if another version of the client wrote the record.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalRecord {
  /** The reservation that the spend belongs to. */
  readonly reservationId: ReservationId
  /** The server that the reservation belongs to, without a trailing slash. */
  readonly baseUrl: string
  /** `commit` settles the reservation. `event` charges the spend directly, after the reservation has expired. */
  readonly mode: "commit" | "event"
  /** The JSON text of the commit request. */
  readonly commitBody: string
  /** The JSON text of the event request that is sent if the reservation has expired. */
  readonly eventBody: string | undefined
  /** When the record was first written, in epoch milliseconds. Rewrites don't change it. */
  readonly recordedAtMs: number
  /** When the next attempt may start, in epoch milliseconds. 0 if the server requested no delay. */
  readonly notBeforeMs: number
}

/**
 * Spend that can't be committed, for correction by hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter {
  /** The record that can't be committed. */
  readonly record: JournalRecord
  /** Why it can't be committed: the server's error code, or the reason of the client. */
  readonly reason: string
  /** When the client gave up, in epoch milliseconds. */
  readonly diedAtMs: number
}

/**
 * The owner of records: a server, and a tenant or a key on it. Each client reads the records of exactly one owner.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalOwner {
  /** The base URL of the server, without a trailing slash. */
  readonly baseUrl: string
  /**
   * A digest of the server and the tenant, or of the server and the key if no tenant is configured. It contains no
   * secret.
   */
  readonly fingerprint: string
}

/**
 * A handle on the records of one owner. Each `open` returns a new handle. Handles of one owner share their records.
 *
 * @category models
 * @since 0.1.0
 */
export interface Journal {
  /**
   * Writes the record of a decided settlement. It is durable when the effect succeeds, to the extent that the store is
   * durable.
   *
   * Replaces a record with the same reservation and `commitBody`; records with other bodies stay. In the same
   * transaction it removes the record that this handle wrote by `putOpen` for the reservation.
   */
  readonly put: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /**
   * Removes the record with the same reservation and `commitBody`, if there is one. The removal may become durable
   * later, because replaying a settled record charges nothing.
   */
  readonly remove: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /** Moves a record to the dead letters, durably. Dead letters with different bodies are kept apart. */
  readonly bury: (letter: DeadLetter) => Effect.Effect<void, JournalError>
  /**
   * Emits the decided records, oldest first; `JournalFiles` sorts 1,000 records at a time. The first record must be
   * emitted within 10 s. Unreadable records are set aside and logged.
   */
  readonly pending: Stream.Stream<JournalRecord, JournalError>
  /** Emits the dead letters, oldest first. */
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
  /** Removes the dead letter with the same reservation and `commitBody`. */
  readonly forget: (letter: DeadLetter) => Effect.Effect<void, JournalError>
  /** Whether the journal has a decided settlement of the reservation: a pending record or a dead letter. */
  readonly isDecided: (reservationId: ReservationId) => Effect.Effect<boolean, JournalError>
  /**
   * Writes or replaces the open record of a reservation: the record to commit if this process crashes (`onCrash`). It
   * is durable when the effect succeeds, and isn't part of `pending`. A handle has at most one open record per
   * reservation.
   */
  readonly putOpen: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /**
   * Removes the open record of this handle for a reservation, if there is one. The removal may become durable later.
   */
  readonly removeOpen: (reservationId: ReservationId) => Effect.Effect<void, JournalError>
  /**
   * Turns the open records of dead handles into pending records and returns their number.
   *
   * It is atomic and adopts each record once, even if several processes call it at the same time. It never changes the
   * open records of a live handle, in this process or another.
   */
  readonly adoptOpen: Effect.Effect<number, JournalError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The type id of `SettlementJournal`.
 *
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId: TypeId = "~effect-cycles/SettlementJournal"

/**
 * The type of the type id.
 *
 * @category type IDs
 * @since 0.1.0
 */
export type TypeId = "~effect-cycles/SettlementJournal"

/**
 * A store of unsettled spend. The `Cycles` layer opens it for its server and tenant.
 *
 * @category models
 * @since 0.1.0
 */
export interface SettlementJournal {
  /** Identifies the service. */
  readonly [TypeId]: TypeId
  /**
   * Opens the records of one owner. Other owners and other processes may use the store at the same time.
   *
   * An operation fails with `JournalError` if the store isn't usable, and the next operation tries again. A store that
   * can't be opened at the start can therefore recover later. Bodies may outlive the scope of the layer, so operations
   * also work after the scope has closed, and a handle stays alive while it has open records.
   */
  readonly open: (owner: JournalOwner) => Effect.Effect<Journal, JournalError, Scope.Scope>
  /** Whether the store keeps records; false for `layerNone`. */
  readonly isDurable: boolean
  /**
   * Whether every operation ends within 2 s and never dies. The client then runs it without a watchdog fiber, which is
   * cheaper. Default false.
   */
  readonly isBounded?: boolean | undefined
}

/**
 * The service tag of `SettlementJournal`.
 *
 * @category services
 * @since 0.1.0
 */
export const SettlementJournal: Context.Service<SettlementJournal, SettlementJournal> =
  Context.Service<SettlementJournal>(TypeId)

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides a journal in memory. Spend survives an outage of the server, but not the end of the process.
 *
 * Each build of the layer has its own records.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SettlementJournal> = Layer.sync(SettlementJournal, () => {
  const stores = new Map<string, Store>()
  return SettlementJournal.of({
    [TypeId]: TypeId,
    isDurable: true,
    open: ({ baseUrl, fingerprint }) =>
      Effect.sync(() => {
        const key = `${fingerprint} ${baseUrl}`
        const store = stores.get(key) ?? { records: new Map(), letters: new Map() }
        stores.set(key, store)
        return memoryJournal(store)
      })
  })
})

/**
 * Provides a journal that keeps nothing.
 *
 * **Gotchas**
 *
 * Spend is lost if its settlement is uncertain when the process ends, or when its retries are used up. Such a
 * settlement is `Pending`, and no later scan retries it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNone: Layer.Layer<SettlementJournal> = Layer.succeed(SettlementJournal, {
  [TypeId]: TypeId,
  isDurable: false,
  open: () =>
    Effect.succeed({
      put: () => Effect.void,
      remove: () => Effect.void,
      bury: () => Effect.void,
      pending: Stream.empty,
      deadLetters: Stream.empty,
      forget: () => Effect.void,
      isDecided: () => Effect.succeed(false),
      putOpen: () => Effect.void,
      removeOpen: () => Effect.void,
      adoptOpen: Effect.succeed(0)
    })
})

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The journal could not be read or written.
 *
 * It doesn't stop a settlement: the client sends the request anyway, and logs and counts the failure.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  /** The operation that failed. */
  operation: Schema.Literals(["open", "put", "remove", "bury", "read", "forget", "putOpen", "removeOpen", "adoptOpen"]),
  /** The message of the store. It contains no record. */
  problem: Schema.String
}) {
  override get message(): string {
    return `The settlement journal failed (${this.operation}): ${this.problem}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The records of one owner, by identity. */
interface Store {
  readonly records: Map<string, JournalRecord>
  readonly letters: Map<string, DeadLetter>
}

/** Open records aren't stored: they would be lost with the process, and no handle dies earlier. */
const memoryJournal = ({ letters, records }: Store): Journal => ({
  put: (record) => Effect.sync(() => void records.set(identityOf(record), record)),
  remove: (record) => Effect.sync(() => void records.delete(identityOf(record))),
  bury: (letter) =>
    Effect.sync(() => {
      records.delete(identityOf(letter.record))
      letters.set(identityOf(letter.record), letter)
    }),
  pending: Stream.suspend(() =>
    Stream.fromIterable(Array.from(records.values()).toSorted((a, b) => a.recordedAtMs - b.recordedAtMs))
  ),
  deadLetters: Stream.suspend(() =>
    Stream.fromIterable(Array.from(letters.values()).toSorted((a, b) => a.diedAtMs - b.diedAtMs))
  ),
  forget: (letter) => Effect.sync(() => void letters.delete(identityOf(letter.record))),
  isDecided: (reservationId) =>
    Effect.sync(
      () =>
        Iterable.some(records.values(), (record) => record.reservationId === reservationId) ||
        Iterable.some(letters.values(), (letter) => letter.record.reservationId === reservationId)
    ),
  putOpen: () => Effect.void,
  removeOpen: () => Effect.void,
  adoptOpen: Effect.succeed(0)
})

const identityOf = ({ commitBody, reservationId }: JournalRecord): string => JSON.stringify([reservationId, commitBody])
