/**
 * The canonical form of a request body, which decides whether a repeated idempotency key belongs to the same request.
 *
 * Keys are sorted, and nulls and some defaults are removed. The form is computed only if the bytes differ, which is rare.
 *
 * @see IDEMPOTENCY in cycles-protocol-v0.yaml, which recommends canonical JSON (RFC 8785)
 */
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Parse from "./parse.ts"

/** JSON text with sorted keys. */
export const canonical = (value: unknown): string => Json.stringify(withSortedKeys(value))

const withSortedKeys = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withSortedKeys)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([key, inner]) => [key, withSortedKeys(inner)]))
}

/** The body without nulls, except as `grace_period_ms` or `dry_run`: such a body differs from one without the field. */
const significantFields = (body: string): Readonly<Record<string, unknown>> => {
  const raw = Parse.json(body)
  const isNull = (name: string) => (raw[name] === null ? { [name]: null } : undefined)
  return { ...Parse.withoutNulls(raw), ...isNull("grace_period_ms"), ...isNull("dry_run") }
}

/** The canonical form of a body. */
export const canonicalBody = (body: string): string => canonical(significantFields(body))

/**
 * The canonical form of a reserve request. Explicit defaults of `dry_run` and `grace_period_ms` count as absent, but an
 * explicit `ttl_ms` doesn't, as in the reference server.
 */
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
