/**
 * The journal of spend that has to be committed.
 *
 * A record is durable before the first settlement request is sent, and stays until the server has confirmed it: a crash,
 * a lost response or a long outage loses no known spend. Spend that can never be committed becomes a dead letter, which is
 * kept until someone removes it.
 *
 * This module holds the contract and the two stores that need no platform, `layerMemory` and `layerNone`. The durable
 * stores, SQLite and files, are in `effect-cycles/node`. Replay belongs to the `Cycles` layer, not to a store.
 *
 * @see client recovery profile, CR-DURABLE-001 to 007; dead letters and open records are an extension
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
 * Spend that has to be committed, as written to the journal. A record is identified by `reservationId` and `commitBody`.
 *
 * The two bodies are the exact JSON texts of the requests: a replay sends the same bytes as the first attempt, idempotency
 * key included, whichever version of the client wrote them.
 */
export interface JournalRecord {
  readonly reservationId: ReservationId
  /** The server that the record belongs to, without a trailing slash. */
  readonly baseUrl: string
  /** `commit` settles the reservation; `event` charges the spend directly, after the reservation has expired. */
  readonly mode: "commit" | "event"
  /** JSON text of the commit request. */
  readonly commitBody: string
  /** JSON text of the event request that is sent if the reservation has expired. */
  readonly eventBody: string | undefined
  /** When the record was first written, epoch milliseconds. Rewrites keep it. */
  readonly recordedAtMs: number
  /** Nothing is sent before this time, epoch milliseconds; 0 if the server asked for no delay. */
  readonly notBeforeMs: number
}

/** Spend that can't be committed, and the reason, for someone to correct by hand. */
export interface DeadLetter {
  readonly record: JournalRecord
  /** Why it can't be committed: the server's error code, or the client's conclusion. */
  readonly reason: string
  /** When the client gave up, epoch milliseconds. */
  readonly diedAtMs: number
}

/** The client that records belong to. A client never sees the records of another owner. */
export interface JournalOwner {
  /** The server, without a trailing slash. */
  readonly baseUrl: string
  /** The fingerprint of tenant (or key, if no tenant is configured) and server; it contains no secret. */
  readonly fingerprint: string
}

/** A handle on the journal of one owner. Each `open` returns a new handle; handles of one owner share their records. */
export interface Journal {
  /**
   * Writes a decided settlement; durable when it succeeds, as far as the store promises durability. Replaces a record of
   * the same reservation only if it has the same `commitBody`; a record with another body stays beside it. In the same
   * transaction forgets the record that this handle wrote by `putOpen` for the reservation.
   */
  readonly put: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /**
   * Forgets the record with the same reservation and `commitBody`, if there is one. Need not be durable when it returns: a
   * replay of a settled record charges nothing.
   */
  readonly remove: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /** Moves a record to the dead letters, durably. Dead letters with different bodies are kept apart. */
  readonly bury: (letter: DeadLetter) => Effect.Effect<void, JournalError>
  /** All decided records, oldest first. Records that can't be read are set aside and logged, not emitted. */
  readonly pending: Stream.Stream<JournalRecord, JournalError>
  /** All dead letters, oldest first. */
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
  /** Forgets the dead letter of the same reservation and `commitBody`. */
  readonly forget: (letter: DeadLetter) => Effect.Effect<void, JournalError>
  /** Whether a decided settlement of the reservation is in the journal: a pending record or a dead letter. */
  readonly isDecided: (reservationId: ReservationId) => Effect.Effect<boolean, JournalError>
  /**
   * Writes or replaces the record to be committed if this process dies while the reservation is open (`onCrash`). Durable
   * when it succeeds. Not part of `pending`. A handle has at most one for each reservation.
   */
  readonly putOpen: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /** Forgets the record that this handle wrote by `putOpen`, if there is one. Need not be durable when it returns. */
  readonly removeOpen: (reservationId: ReservationId) => Effect.Effect<void, JournalError>
  /**
   * Turns the open records of handles that are proven dead into pending records, atomically and each exactly once, even if
   * several processes do so at the same time. Returns the number of records that became pending. Never touches the open
   * records of a living handle, in this process or another.
   */
  readonly adoptOpen: Effect.Effect<number, JournalError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** Identifies a `SettlementJournal`. */
export const TypeId: TypeId = "~effect-cycles/SettlementJournal"

/** Type of the type id. */
export type TypeId = "~effect-cycles/SettlementJournal"

/** The store of pending spend. `Cycles` opens it for its own server and tenant. */
export interface SettlementJournal {
  readonly [TypeId]: TypeId
  /**
   * Opens the records of one owner; other owners and other processes may use the store at the same time.
   *
   * An operation that finds the store unusable fails with `JournalError`, and the next operation tries again: a store that
   * can't be opened at start recovers later. Bodies may outlive the scope of the layer, so operations work after the scope
   * has closed, and the handle counts as alive while it has open records.
   */
  readonly open: (owner: JournalOwner) => Effect.Effect<Journal, JournalError, Scope.Scope>
  /** Whether the store keeps records at all; false for `layerNone`. */
  readonly isDurable: boolean
  /**
   * Whether every operation ends by itself within 2 s and never dies. The client then doesn't watch over each operation in a
   * fiber of its own, which is cheaper. Default false.
   */
  readonly isBounded?: boolean | undefined
}

/** The store of pending spend. */
export const SettlementJournal: Context.Service<SettlementJournal, SettlementJournal> =
  Context.Service<SettlementJournal>(TypeId)

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Keeps records in memory: spend survives outages of the server, but not the end of the process.
 *
 * Each use of the layer has records of its own, and so has each owner in it.
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
 * Keeps nothing. Spend is lost if its settlement is in doubt when the process ends, or when its retries are used up: the
 * settlement is `Pending` and is never taken up again.
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
 * It never stops a settlement: the request is sent nevertheless, and the failure is logged and counted.
 */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  /** What was tried. */
  operation: Schema.Literals(["open", "put", "remove", "bury", "read", "forget", "putOpen", "removeOpen", "adoptOpen"]),
  /** What went wrong, in words; contains no record. */
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

/** Needs no open records: they are lost with the process, and while it lives each of its handles is alive. */
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
