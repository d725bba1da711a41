/**
 * The JSON encoding of rows in a data file. It restores every value exactly, including bigints.
 */
import type { Reservation } from "./model.ts"

// ---------------------------------------------------------------------------------------------------------------------
// any value
// ---------------------------------------------------------------------------------------------------------------------

/** The only key of an object that represents a bigint. */
const int64Key = "\u0000int64"

/** The only key of an object that represents an object of the user with a reserved key. Its value lists keys and values. */
const escapeKey = "\u0000object"

/** Encodes a JSON value that may contain bigints. */
export const encode = (value: unknown): string =>
  JSON.stringify(value, function (this: object, key, inner: unknown) {
    // The program may define `BigInt.prototype.toJSON`, which runs before this function. Read the original value.
    const original: unknown = Reflect.get(this, key)
    if (typeof original === "bigint") return { [int64Key]: original.toString() }
    return hasReservedKey(inner) ? { [escapeKey]: Object.entries(inner).flat() } : inner
  })

/** Decodes a result of `encode`. */
export const decode = <A>(body: unknown): A =>
  JSON.parse(String(body), (_key, inner: unknown) => {
    if (!hasReservedKey(inner)) return inner
    const fields = inner[escapeKey]
    if (!Array.isArray(fields)) return BigInt(String(inner[int64Key]))
    return Object.fromEntries(fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : [])))
  })

const hasReservedKey = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && (Object.hasOwn(value, int64Key) || Object.hasOwn(value, escapeKey))

// ---------------------------------------------------------------------------------------------------------------------
// reservations
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation as plain JSON: fields that are or may contain bigints are strings. */
interface EncodedReservation extends Omit<Reservation, "amount" | "committed" | "metadata" | "committedMetadata"> {
  readonly amount: string
  readonly committed: string | undefined
  readonly metadata: string | undefined
  readonly committedMetadata: string | undefined
}

/** Encodes a reservation without a replacer, which would dominate the cost of writing a row. */
export const encodeReservation = (reservation: Reservation): string =>
  JSON.stringify({
    ...reservation,
    amount: reservation.amount.toString(),
    committed: reservation.committed?.toString(),
    metadata: encodeOptional(reservation.metadata),
    committedMetadata: encodeOptional(reservation.committedMetadata)
  } satisfies EncodedReservation)

/** Decodes a result of `encodeReservation`. */
export const decodeReservation = (body: unknown): Reservation => {
  const row: EncodedReservation = JSON.parse(String(body))
  return {
    ...row,
    amount: BigInt(row.amount),
    committed: row.committed === undefined ? undefined : BigInt(row.committed),
    metadata: decodeOptional(row.metadata),
    committedMetadata: decodeOptional(row.committedMetadata)
  }
}

const encodeOptional = (value: unknown): string | undefined => (value === undefined ? undefined : encode(value))

const decodeOptional = (text: string | undefined): unknown => (text === undefined ? undefined : decode(text))
