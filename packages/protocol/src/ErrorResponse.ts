/**
 * How the server says no.
 *
 * Source: ErrorCode and ErrorResponse of the protocol.
 */
import * as Schema from "effect/Schema"
import { EvidenceRef } from "./Evidence.ts"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"

/** The error codes of the protocol. */
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

/** One of the error codes of the protocol. */
export type KnownErrorCode = (typeof knownErrorCodes)[number]

/** An error code; one that this version does not know is carried as it is. */
export type ErrorCode = KnownErrorCode | (string & {})

/** An error code as it is read. */
export const ErrorCode: Schema.Codec<ErrorCode, string> = Schema.StringForLiteralAutocomplete

/** Whether a code is one of the protocol's. */
export const isKnownErrorCode = (code: string): code is KnownErrorCode => known.has(code)

const known: ReadonlySet<string> = new Set(knownErrorCodes)

/** How the server says no. Only the code is demanded, so that a refusal is understood even where the rest is missing. */
export const ErrorResponse = struct({
  error: ErrorCode,
  message: Schema.optionalKey(Schema.String),
  requestId: Schema.optionalKey(Schema.String),
  traceId: Schema.optionalKey(Schema.String),
  retryAfterMs: Schema.optionalKey(Wire.natural),
  details: Schema.optionalKey(Wire.unknownObject),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** How the server says no. */
export type ErrorResponse = typeof ErrorResponse.Type

/**
 * Reads the text of a refusal; the failure says why it can't be read. What is wrong besides the code counts as absent: what
 * becomes of known spend hangs on the code.
 */
export const read = Wire.reader(ErrorResponse, [
  "message",
  "request_id",
  "trace_id",
  "retry_after_ms",
  "details",
  "cycles_evidence"
])
