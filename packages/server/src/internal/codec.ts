/**
 * What a data file has of things: JSON text that gives back exactly what was written.
 */
import type { Reservation } from "./model.ts"

// ---------------------------------------------------------------------------------------------------------------------
// any value
// ---------------------------------------------------------------------------------------------------------------------

/** A bigint is written as an object with this one key. */
const int64Key = "\u0000int64"

/** An object of a user's that has one of these keys is written as the list of its fields under this one. */
const escapeKey = "\u0000object"

/** Any JSON with bigints in it. */
export const encode = (value: unknown): string =>
  JSON.stringify(value, function (this: object, key, inner: unknown) {
    // What `toJSON` makes of a bigint, if a program has defined it, is not what is kept.
    const own: unknown = Reflect.get(this, key)
    if (typeof own === "bigint") return { [int64Key]: own.toString() }
    return hasReservedKey(inner) ? { [escapeKey]: Object.entries(inner).flat() } : inner
  })

/** What `encode` wrote. */
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

/** A reservation in plain JSON: what may be a bigint, or have one in it, is text. */
interface ReservationRow extends Omit<Reservation, "amount" | "committed" | "metadata" | "committedMetadata"> {
  readonly amount: string
  readonly committed: string | undefined
  readonly metadata: string | undefined
  readonly committedMetadata: string | undefined
}

/** There are many of them: a reviver and a replacer would be most of their cost. */
export const encodeReservation = (reservation: Reservation): string =>
  JSON.stringify({
    ...reservation,
    amount: reservation.amount.toString(),
    committed: reservation.committed?.toString(),
    metadata: encodeOptional(reservation.metadata),
    committedMetadata: encodeOptional(reservation.committedMetadata)
  } satisfies ReservationRow)

/** What `encodeReservation` wrote. */
export const decodeReservation = (body: unknown): Reservation => {
  const row: ReservationRow = JSON.parse(String(body))
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
