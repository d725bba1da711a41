/**
 * The headers of the protocol.
 *
 * Source: components.headers and securitySchemes of the protocol.
 */
import * as Duration from "effect/Duration"

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

/** When to come back, in seconds. */
export const RETRY_AFTER = "retry-after"

/** The tenant that the key belongs to. */
export const TENANT = "x-cycles-tenant"

// ---------------------------------------------------------------------------------------------------------------------
// what comes with an answer
// ---------------------------------------------------------------------------------------------------------------------

/** What comes with an answer besides its body. */
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

/** Reads the headers of an answer, by lower-case names. What can't be read counts as absent. */
export const fromHeaders = (headers: { readonly [name: string]: string | undefined }): ResponseMeta => {
  const remaining = integer(headers[RATE_LIMIT_REMAINING])
  const reset = integer(headers[RATE_LIMIT_RESET])
  const retryAfter = integer(headers[RETRY_AFTER])
  return {
    requestId: headers[REQUEST_ID],
    traceId: headers[TRACE_ID],
    rateLimitRemaining: remaining !== undefined && remaining >= 0 ? remaining : undefined,
    rateLimitResetSeconds: reset !== undefined && reset > 0 ? reset : undefined,
    retryAfter: retryAfter !== undefined && retryAfter >= 0 ? Duration.seconds(retryAfter) : undefined,
    tenant: headers[TENANT]
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const integer = (value: string | undefined): number | undefined => {
  if (value === undefined || !/^\s*-?\d+\s*$/.test(value)) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : undefined
}
