/**
 * The journal of spend that has to be charged.
 *
 * A record is durable before the first settlement request leaves, and stays until the charge is confirmed, so that a
 * crash, a lost answer or a long outage can't lose known spend. What can never be charged any more becomes a dead
 * letter, which is kept until somebody reads it.
 *
 * This module is the contract and the two stores that need no platform: `layerMemory` and `layerNone`. The durable
 * stores, SQLite and files, are in `effect-cycles/node`. Replaying records is the business of the `Cycles` layer, not of
 * a store.
 *
 * Source: the client recovery profile (CR-DURABLE-001 to 007), and ours for dead letters.
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Spend that has to be charged, as it is written down.
 *
 * The two bodies are the exact JSON texts of the requests: what is replayed is byte for byte what was sent first, with
 * its idempotency key in it, whatever version of the client wrote it.
 */
export interface JournalRecord {
  readonly reservationId: ReservationId
  /** The server that the record belongs to, without a trailing slash. */
  readonly baseUrl: string
  /** `commit` settles the reservation; `event` charges the spend directly, after the reservation has expired. */
  readonly mode: "commit" | "event"
  /** JSON text of the commit request. */
  readonly commitBody: string
  /** JSON text of the event request that takes over when the reservation has expired. */
  readonly eventBody: string | undefined
  /** When the record was first written, epoch milliseconds. Kept over rewrites. */
  readonly recordedAtMs: number
  /** Nothing is sent before this instant, epoch milliseconds; 0 when the server asked for no delay. */
  readonly notBeforeMs: number
}

/** Spend that can't be charged any more, with the reason, so that somebody can put it right by hand. */
export interface DeadLetter {
  readonly record: JournalRecord
  /** Why it can't be charged: the server's error code, or what the client concluded. */
  readonly reason: string
  /** When it was given up, epoch milliseconds. */
  readonly diedAtMs: number
}

/** Whose records these are. Records of one owner are never seen by another one. */
export interface JournalOwner {
  /** The server, without a trailing slash. */
  readonly baseUrl: string
  /** The fingerprint of tenant (or key, where no tenant is configured) and server; it holds no secret. */
  readonly fingerprint: string
}

/** The journal of one owner. */
export interface Journal {
  /**
   * Writes a record, or replaces the record of the same reservation. When it succeeds the record is durable, as far as
   * the store promises durability.
   */
  readonly put: (record: JournalRecord) => Effect.Effect<void, JournalError>
  /**
   * Forgets the record of a reservation; nothing happens where there is none. It need not be durable when this
   * returns: replaying a settled record charges nothing.
   */
  readonly remove: (reservationId: ReservationId) => Effect.Effect<void, JournalError>
  /** Moves a record to the dead letters, durably. The pending record is gone afterwards. */
  readonly bury: (letter: DeadLetter) => Effect.Effect<void, JournalError>
  /** All pending records, oldest first. Records that can't be read are put aside and reported, not emitted. */
  readonly pending: Stream.Stream<JournalRecord, JournalError>
  /** All dead letters, oldest first. */
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
  /** Forgets a dead letter, after somebody has put it right. */
  readonly forget: (reservationId: ReservationId) => Effect.Effect<void, JournalError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The place where pending spend is written down. `Cycles` opens it for its own server and tenant.
 */
export class SettlementJournal extends Context.Service<
  SettlementJournal,
  {
    /** Opens the records of one owner; the store may be used by other owners and by other processes at the same time. */
    readonly open: (owner: JournalOwner) => Effect.Effect<Journal, JournalError, Scope.Scope>
    /** Whether records are kept at all; false for `layerNone`. */
    readonly isDurable: boolean
  }
>()("effect-cycles/SettlementJournal") {}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Keeps records in memory: spend survives outages of the server, but not the end of the process.
 *
 * Each use of the layer, and each owner in it, has records of its own.
 */
export const layerMemory: Layer.Layer<SettlementJournal> = Layer.sync(SettlementJournal, () => {
  const journals = new Map<string, Journal>()
  return {
    isDurable: true,
    open: (owner) =>
      Effect.sync(() => {
        const key = `${owner.fingerprint} ${owner.baseUrl}`
        const known = journals.get(key)
        if (known !== undefined) return known
        const journal = makeMemory()
        journals.set(key, journal)
        return journal
      })
  }
})

/**
 * Keeps nothing. Spend whose charge is unknown when the process ends, or when the retries of one run are used up, is
 * lost: the settlement says `Pending` and nobody comes back to it.
 */
export const layerNone: Layer.Layer<SettlementJournal> = Layer.sync(SettlementJournal, () => ({
  isDurable: false,
  open: () => Effect.succeed(none)
}))

/** A journal that keeps nothing. */
export const none: Journal = {
  put: () => Effect.void,
  remove: () => Effect.void,
  bury: () => Effect.void,
  pending: Stream.empty,
  deadLetters: Stream.empty,
  forget: () => Effect.void
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The journal could not be read or written.
 *
 * It never stops a settlement: the request is sent all the same, and the failure is logged and counted.
 */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  /** What was tried. */
  operation: Schema.Literals(["open", "put", "remove", "bury", "read", "forget"]),
  /** What went wrong, in words; holds no record. */
  problem: Schema.String
}) {
  override get message(): string {
    return `The settlement journal failed (${this.operation}): ${this.problem}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const makeMemory = (): Journal => {
  const records = new Map<ReservationId, JournalRecord>()
  const letters = new Map<ReservationId, DeadLetter>()
  return {
    put: (record) => Effect.sync(() => void records.set(record.reservationId, record)),
    remove: (reservationId) => Effect.sync(() => void records.delete(reservationId)),
    bury: (letter) =>
      Effect.sync(() => {
        records.delete(letter.record.reservationId)
        letters.set(letter.record.reservationId, letter)
      }),
    pending: Stream.suspend(() => Stream.fromIterable(Array.from(records.values()))),
    deadLetters: Stream.suspend(() => Stream.fromIterable(Array.from(letters.values()))),
    forget: (reservationId) => Effect.sync(() => void letters.delete(reservationId))
  }
}
