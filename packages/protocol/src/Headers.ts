/**
 * The HTTP headers of the protocol: their names, and a parser for those of a response.
 *
 * @see components `headers` and `securitySchemes` of the Cycles protocol
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as HttpHeaders from "effect/http/Headers"
import * as Result from "effect/Result"

// ---------------------------------------------------------------------------------------------------------------------
// names
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Contains the API key of the tenant.
 *
 * @category names
 * @since 0.1.0
 */
export const API_KEY = "x-cycles-api-key"

/**
 * Contains the administrator's key.
 *
 * @category names
 * @since 0.1.0
 */
export const ADMIN_KEY = "x-admin-api-key"

/**
 * Contains the idempotency key, in place of or next to the field in the body.
 *
 * @category names
 * @since 0.1.0
 */
export const IDEMPOTENCY_KEY = "x-idempotency-key"

/**
 * Contains the server's id of the request, for support.
 *
 * @category names
 * @since 0.1.0
 */
export const REQUEST_ID = "x-request-id"

/**
 * Contains a trace id of 32 hexadecimal digits.
 *
 * @category names
 * @since 0.1.0
 */
export const TRACE_ID = "x-cycles-trace-id"

/**
 * Contains the W3C trace context.
 *
 * @category names
 * @since 0.1.0
 */
export const TRACEPARENT = "traceparent"

/**
 * Contains the number of requests left in the current window. -1 means that there is no limit.
 *
 * @category names
 * @since 0.1.0
 */
export const RATE_LIMIT_REMAINING = "x-ratelimit-remaining"

/**
 * Contains the end of the current window, in epoch seconds. 0 means that there is no limit.
 *
 * @category names
 * @since 0.1.0
 */
export const RATE_LIMIT_RESET = "x-ratelimit-reset"

/**
 * Contains the time until a retry, in seconds, or its instant, as an HTTP date.
 *
 * @category names
 * @since 0.1.0
 */
export const RETRY_AFTER = "retry-after"

/**
 * Contains the time by the server's clock, as an HTTP date.
 *
 * @category names
 * @since 0.1.0
 */
export const DATE = "date"

/**
 * Contains the tenant that the API key belongs to.
 *
 * @category names
 * @since 0.1.0
 */
export const TENANT = "x-cycles-tenant"

// ---------------------------------------------------------------------------------------------------------------------
// response metadata
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The metadata of a response, from its headers. A header that is absent or invalid is `undefined`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResponseMeta {
  /** The server's id of the request, for support. */
  readonly requestId: string | undefined
  /** The trace id of the request. */
  readonly traceId: string | undefined
  /** The number of requests left in the current window; `undefined` if there is no limit. */
  readonly rateLimitRemaining: number | undefined
  /** The end of the current window, in epoch seconds; `undefined` if there is no limit. */
  readonly rateLimitResetSeconds: number | undefined
  /** How long to wait before a retry. */
  readonly retryAfter: Duration.Duration | undefined
  /** The tenant that the API key belongs to. */
  readonly tenant: string | undefined
}

/**
 * Parses the headers of a response, by lower-case names. It never throws: an invalid header counts as absent.
 *
 * **Details**
 *
 * A `Retry-After` with a date is relative to the `Date` header of the response, or to `nowMs` if there is none.
 *
 * @example
 * ```ts
 * import { Headers } from "@effect-cycles/protocol"
 * import { Duration } from "effect"
 *
 * const meta = Headers.fromHeaders({ "x-request-id": "r-1", "retry-after": "2" })
 *
 * console.log(meta.requestId) // "r-1"
 * console.log(meta.retryAfter && Duration.toMillis(meta.retryAfter)) // 2000
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const fromHeaders = (
  headers: { readonly [name: string]: string | undefined },
  nowMs: () => number = Date.now
): ResponseMeta => {
  const remaining = integer(text(headers[RATE_LIMIT_REMAINING]))
  const reset = integer(text(headers[RATE_LIMIT_RESET]))
  return {
    requestId: text(headers[REQUEST_ID]),
    traceId: text(headers[TRACE_ID]),
    rateLimitRemaining: remaining !== undefined && remaining >= 0 ? remaining : undefined,
    rateLimitResetSeconds: reset !== undefined && reset > 0 ? reset : undefined,
    retryAfter: retryAfter(text(headers[RETRY_AFTER]), () => dateMs(text(headers[DATE])) ?? nowMs()),
    tenant: text(headers[TENANT])
  }
}

/**
 * Parses a `Date` header to epoch milliseconds. Returns `undefined` if it is absent or invalid.
 *
 * @category parsing
 * @since 0.1.0
 */
export const dateMs = (value: string | undefined): number | undefined => {
  if (value === undefined) return undefined
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? undefined : ms
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A custom transport may return values that its types don't allow. */
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const retryAfter = (value: string | undefined, nowMs: () => number): Duration.Duration | undefined => {
  if (value === undefined) return undefined
  const parsed = HttpHeaders.parseRetryAfter(value)
  return Result.isFailure(parsed) ? undefined : HttpHeaders.retryAfterDelay(parsed.success, nowMs())
}

const integer = (value: string | undefined): number | undefined => {
  if (value === undefined || !/^\s*-?\d+\s*$/.test(value)) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : undefined
}
