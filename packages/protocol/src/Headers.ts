/**
 * The headers of the protocol.
 *
 * Source: components.headers and securitySchemes of the protocol.
 */
import type * as Duration from "effect/Duration"
import * as HttpHeaders from "effect/http/Headers"
import * as Result from "effect/Result"

// ---------------------------------------------------------------------------------------------------------------------
// names
// ---------------------------------------------------------------------------------------------------------------------

/** The tenant's key. */
export const API_KEY = "x-cycles-api-key"

/** The administrator's key. */
export const ADMIN_KEY = "x-admin-api-key"

/** The idempotency key, where it is not (only) in the body. */
export const IDEMPOTENCY_KEY = "x-idempotency-key"

/** The server's name of a request. */
export const REQUEST_ID = "x-request-id"

/** 32 hexadecimal digits that tie a request to what it caused. */
export const TRACE_ID = "x-cycles-trace-id"

/** The trace of the W3C. */
export const TRACEPARENT = "traceparent"

/** Requests left in this window; -1 means that there is no limit. */
export const RATE_LIMIT_REMAINING = "x-ratelimit-remaining"

/** When the window ends, in epoch seconds; 0 means that there is no limit. */
export const RATE_LIMIT_RESET = "x-ratelimit-reset"

/** When to come back: seconds, or an HTTP date. */
export const RETRY_AFTER = "retry-after"

/** The server's clock. */
export const DATE = "date"

/** The tenant that the key belongs to. */
export const TENANT = "x-cycles-tenant"

// ---------------------------------------------------------------------------------------------------------------------
// response metadata
// ---------------------------------------------------------------------------------------------------------------------

/** What comes with a response besides its body. */
export interface ResponseMeta {
  readonly requestId: string | undefined
  readonly traceId: string | undefined
  /** Requests left in this window; absent where there is no limit. */
  readonly rateLimitRemaining: number | undefined
  /** When the window ends, in epoch seconds; absent where there is no limit. */
  readonly rateLimitResetSeconds: number | undefined
  readonly retryAfter: Duration.Duration | undefined
  readonly tenant: string | undefined
}

/**
 * Reads the headers of a response, by lower-case names. A header that can't be read counts as absent. A `Retry-After` that
 * is a date counts from the server's clock if the response shows it, else from `nowMs`.
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

/** The time of a `Date` header, in epoch milliseconds. */
export const dateMs = (value: string | undefined): number | undefined => {
  if (value === undefined) return undefined
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? undefined : ms
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The types say what headers are; a transport of the user's may disagree. */
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
