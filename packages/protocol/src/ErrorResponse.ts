/**
 * Error responses of the server and their codes.
 *
 * @see schemas `ErrorCode` and `ErrorResponse` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { EvidenceRef } from "./Evidence.ts"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"

/**
 * The error codes that the protocol defines.
 *
 * @category models
 * @since 0.1.0
 */
export const knownErrorCodes = [
  "INVALID_REQUEST",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "NOT_FOUND",
  "BUDGET_EXCEEDED",
  "BUDGET_FROZEN",
  "BUDGET_CLOSED",
  "RESERVATION_EXPIRED",
  "RESERVATION_FINALIZED",
  "IDEMPOTENCY_MISMATCH",
  "UNIT_MISMATCH",
  "OVERDRAFT_LIMIT_EXCEEDED",
  "DEBT_OUTSTANDING",
  "MAX_EXTENSIONS_EXCEEDED",
  "LIMIT_EXCEEDED",
  "TENANT_CLOSED",
  "INTERNAL_ERROR"
] as const

/**
 * An error code that the protocol defines.
 *
 * @category models
 * @since 0.1.0
 */
export type KnownErrorCode = (typeof knownErrorCodes)[number]

/**
 * An error code. A code that this version doesn't know is kept as the server sent it.
 *
 * @see schema `ErrorCode` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export type ErrorCode = KnownErrorCode | (string & {})

/**
 * Schema of an error code. It accepts any string, since servers may add codes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ErrorCode: Schema.Codec<ErrorCode, string> = Schema.StringForLiteralAutocomplete

/**
 * Returns whether the protocol defines an error code.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKnownErrorCode = (code: string): code is KnownErrorCode => known.has(code)

const known: ReadonlySet<string> = new Set(knownErrorCodes)

/**
 * Schema of an error response. Only the code is required, so that an incomplete response is still understood.
 *
 * @see schema `ErrorResponse` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ErrorResponse = struct({
  /** The error code, such as `BUDGET_EXCEEDED`. */
  error: ErrorCode,
  /** A description of the error for people. */
  message: Schema.optionalKey(Schema.String),
  /** The server's id of the request, for support. */
  requestId: Schema.optionalKey(Schema.String),
  /** The trace that the request belongs to. */
  traceId: Schema.optionalKey(Schema.String),
  /** When a retry may succeed, in milliseconds from now. */
  retryAfterMs: Schema.optionalKey(Wire.natural),
  /** Further data about the error. Its fields are not part of the protocol. */
  details: Schema.optionalKey(Wire.unknownObject),
  /** A reference to the signed evidence of the refusal. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * An error response of the server.
 *
 * @category models
 * @since 0.1.0
 */
export type ErrorResponse = typeof ErrorResponse.Type

/**
 * Parses the JSON text of an error response. The failure is a message that describes the problem.
 *
 * **Details**
 *
 * An invalid field other than `error` counts as absent, because the client decides by the code what happens to known spend.
 *
 * @example
 * ```ts
 * import { ErrorResponse } from "@effect-cycles/protocol"
 * import { Result } from "effect"
 *
 * const parsed = ErrorResponse.read('{"error":"BUDGET_EXCEEDED","retry_after_ms":"soon"}')
 *
 * console.log(Result.isSuccess(parsed) ? parsed.success.error : parsed.failure) // "BUDGET_EXCEEDED"
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const read = Wire.reader(ErrorResponse, [
  "message",
  "request_id",
  "trace_id",
  "retry_after_ms",
  "details",
  "cycles_evidence"
])
