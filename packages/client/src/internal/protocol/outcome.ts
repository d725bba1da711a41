/**
 * What an answer to a settlement request means. One table; the loop that acts on it is in `settle.ts`.
 *
 * The rule behind it: known spend is given up only where the server has said, in a code that we know, that it will never
 * take it. Everything else is tried again or kept.
 */
import type { KnownErrorCode } from "@effect-cycles/protocol/ErrorResponse"
import * as Duration from "effect/Duration"
import type { CyclesError } from "../../CyclesError.ts"

/** What an answer means for the spend. */
export type Verdict =
  /** Not known: try again with the same key, not before the floor. */
  | { readonly _tag: "Unknown"; readonly because: string; readonly floorMs: number }
  /** It won't get better by itself soon: once more, then keep it for a later run. */
  | { readonly _tag: "Hold"; readonly because: string; readonly floorMs: number }
  /** The reservation has expired: charge the spend as an event. */
  | { readonly _tag: "Expired" }
  /** The reservation is no longer as we thought: read it before concluding anything. */
  | { readonly _tag: "Unclear"; readonly code: string; readonly because: string }
  /** The server will never take it. */
  | { readonly _tag: "Rejected"; readonly code: string; readonly because: string }

/**
 * What each code of the protocol means for a commit. 401, 403, 410, 429 and 5xx are decided by status before, and no status
 * decides without a code that the server will never take it: a 404 alone may be the page of a proxy.
 */
const commitByCode: Record<KnownErrorCode, "Unknown" | "Hold" | "Expired" | "Unclear" | "Rejected"> = {
  INVALID_REQUEST: "Rejected",
  UNAUTHORIZED: "Hold",
  FORBIDDEN: "Hold",
  NOT_FOUND: "Unclear",
  BUDGET_EXCEEDED: "Rejected",
  BUDGET_FROZEN: "Rejected",
  BUDGET_CLOSED: "Rejected",
  RESERVATION_EXPIRED: "Expired",
  RESERVATION_FINALIZED: "Unclear",
  IDEMPOTENCY_MISMATCH: "Unclear",
  UNIT_MISMATCH: "Rejected",
  OVERDRAFT_LIMIT_EXCEEDED: "Rejected",
  DEBT_OUTSTANDING: "Rejected",
  MAX_EXTENSIONS_EXCEEDED: "Rejected",
  LIMIT_EXCEEDED: "Unknown",
  TENANT_CLOSED: "Rejected",
  INTERNAL_ERROR: "Unknown"
}

/** What an error means for a commit. */
export const ofCommit = (error: CyclesError): Verdict => {
  switch (error._tag) {
    case "TransportError":
    case "ProtocolError":
      return unknown(error.message)
    case "InvalidRequest":
      return { _tag: "Rejected", code: "INVALID_REQUEST", because: error.message }
    case "BudgetExceeded":
      return { _tag: "Rejected", code: error.code, because: error.message }
    case "ApiError": {
      const floorMs = floorOf(error)
      if (error.status === 401 || error.status === 403) return { _tag: "Hold", because: error.message, floorMs }
      if (error.status === 410) return { _tag: "Expired" }
      if (error.isRetryable) return { _tag: "Unknown", because: error.message, floorMs }
      const kind = error.code === undefined ? undefined : lookUp(error.code)
      switch (kind) {
        case "Expired":
          return { _tag: "Expired" }
        case "Rejected":
        case "Unclear":
          return { _tag: kind, code: error.code ?? "", because: error.message }
        case "Unknown":
          return { _tag: "Unknown", because: error.message, floorMs }
        default:
          return { _tag: "Hold", because: error.message, floorMs }
      }
    }
  }
}

/**
 * What an error means for the event that charges spend after the lease has ended. There is no reservation to read, so
 * that what would be unclear is final. Nor is there one that could be gone: a 410 says nothing unless its code does.
 */
export const ofEvent = (error: CyclesError): Verdict => {
  const verdict = ofCommit(error)
  switch (verdict._tag) {
    case "Expired":
      return error._tag === "ApiError" && error.code === "RESERVATION_EXPIRED"
        ? { _tag: "Rejected", code: error.code, because: error.message }
        : { _tag: "Hold", because: error.message, floorMs: floorOf(error) }
    case "Unclear":
      return { _tag: "Rejected", code: verdict.code, because: verdict.because }
    default:
      return verdict
  }
}

/** How long the server asks to wait, at most an hour, in milliseconds; 0 where it doesn't. */
export const floorOf = (error: CyclesError): number =>
  "retryAfter" in error && error.retryAfter !== undefined
    ? Math.min(maxFloorMs, Duration.toMillis(error.retryAfter))
    : 0

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const maxFloorMs = 3_600_000

const unknown = (because: string): Verdict => ({ _tag: "Unknown", because, floorMs: 0 })

const lookUp = (code: string): (typeof commitByCode)[KnownErrorCode] | undefined => {
  const table: Partial<Record<string, (typeof commitByCode)[KnownErrorCode]>> = commitByCode
  return table[code]
}
