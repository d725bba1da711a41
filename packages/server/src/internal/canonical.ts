/**
 * The canonical form of a request, by which a repetition is known: keys in order, nulls and defaults left out. Most
 * repetitions are the same bytes; a form is made only where they are not.
 *
 * Source: idempotency of the protocol (canonical JSON, RFC 8785, is its recommendation).
 */
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Parse from "./parse.ts"

/** JSON text with keys in order. */
export const canonical = (value: unknown): string => Json.stringify(withSortedKeys(value))

const withSortedKeys = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withSortedKeys)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([key, inner]) => [key, withSortedKeys(inner)]))
}

/** What a body asks for. Nulls are absence, but for what has a default: the grace period and the dry run. */
const significantFields = (body: string): Readonly<Record<string, unknown>> => {
  const raw = Parse.json(body)
  const isNull = (name: string) => (raw[name] === null ? { [name]: null } : undefined)
  return { ...Parse.withoutNulls(raw), ...isNull("grace_period_ms"), ...isNull("dry_run") }
}

/** The canonical form of a body. */
export const canonicalBody = (body: string): string => canonical(significantFields(body))

/** The defaults of grace and dry run are the same body as their absence; that of the lifetime is not. */
export const canonicalReserveBody = (body: string): string => {
  const { dry_run, grace_period_ms, ...rest } = {
    dry_run: undefined,
    grace_period_ms: undefined,
    ...significantFields(body)
  }
  return canonical({
    ...rest,
    ...(dry_run === undefined || dry_run === false ? undefined : { dry_run }),
    ...(grace_period_ms === undefined || grace_period_ms === Limits.defaultGracePeriodMs
      ? undefined
      : { grace_period_ms })
  })
}
