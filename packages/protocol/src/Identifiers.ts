/**
 * Identifiers of the protocol, branded so that the compiler refuses to mix them.
 *
 * @see schemas `IdempotencyKey`, `ReservationId` and `EvidenceId` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

/**
 * Schema of the server's id of a reservation, 1 to 128 characters.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ReservationId = Wire.text(1, Limits.maxReservationId).pipe(Schema.brand("ReservationId"))

/**
 * The server's id of a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationId = typeof ReservationId.Type

/**
 * Schema of an idempotency key, 1 to 256 characters. Requests with the same key and the same body have one effect.
 *
 * @category schemas
 * @since 0.1.0
 */
export const IdempotencyKey = Wire.text(1, Limits.maxIdempotencyKey).pipe(Schema.brand("IdempotencyKey"))

/**
 * The key under which a request can be repeated.
 *
 * @category models
 * @since 0.1.0
 */
export type IdempotencyKey = typeof IdempotencyKey.Type

/**
 * Schema of the content hash of an evidence envelope, 64 lower-case hexadecimal digits.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EvidenceId = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{64}$/, { expected: "64 hexadecimal digits" })
).pipe(Schema.brand("EvidenceId"))

/**
 * The content hash of an evidence envelope.
 *
 * @category models
 * @since 0.1.0
 */
export type EvidenceId = typeof EvidenceId.Type

/**
 * Schema of the server's id of an event.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EventId = Schema.String.pipe(Schema.brand("EventId"))

/**
 * The server's id of an event.
 *
 * @category models
 * @since 0.1.0
 */
export type EventId = typeof EventId.Type
