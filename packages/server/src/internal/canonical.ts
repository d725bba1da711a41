/**
 * The canonical form of a request, by which a repetition is known: keys in order, nulls and defaults left out.
 *
 * Source: idempotency of the protocol (canonical JSON, RFC 8785, is its recommendation).
 */
import * as Json from "@effect-cycles/protocol/Json"

/** JSON text with keys in order. */
export const canonical = (value: unknown): string => Json.stringify(ordered(value))

const ordered = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([key, inner]) => [key, ordered(inner)]))
}
