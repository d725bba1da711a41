/**
 * The names of things on the wire, branded so that they can't be mixed up.
 *
 * Source: IdempotencyKey, ReservationId and EvidenceId of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

/** The server's name of a reservation, 1 to 128 characters. */
export const ReservationId = Wire.text(1, Limits.maxReservationId).pipe(Schema.brand("ReservationId"))

/** The server's name of a reservation. */
export type ReservationId = typeof ReservationId.Type

/** The key under which a request may be repeated, 1 to 256 characters. */
export const IdempotencyKey = Wire.text(1, Limits.maxIdempotencyKey).pipe(Schema.brand("IdempotencyKey"))

/** The key under which a request may be repeated. */
export type IdempotencyKey = typeof IdempotencyKey.Type

/** The content hash of an evidence envelope, 64 hexadecimal digits. */
export const EvidenceId = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{64}$/, { expected: "64 hexadecimal digits" })
).pipe(Schema.brand("EvidenceId"))

/** The content hash of an evidence envelope. */
export type EvidenceId = typeof EvidenceId.Type

/** The server's name of a direct debit. */
export const EventId = Schema.String.pipe(Schema.brand("EventId"))

/** The server's name of a direct debit. */
export type EventId = typeof EventId.Type
