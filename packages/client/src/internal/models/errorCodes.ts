/**
 * The meaning of statuses and error codes: one table for `ApiError.reason` and for `classify`.
 *
 * A status without an error code of the protocol proves nothing, because the response may come from a proxy. Otherwise
 * the code decides, with two exceptions: the server returns 401, 403, 429 and INVALID_REQUEST before it looks up the
 * idempotency key, and after a 5xx it may have acted.
 *
 * @see ERROR SEMANTICS of the protocol
 */
import type { KnownErrorCode } from "@effect-cycles/protocol/ErrorResponse"

/**
 * The meaning of an error for its request.
 *
 * - `ambiguous`: the server may have acted, or may act when the request is sent again.
 * - `denied`: the budget denies the request.
 * - `throttled`: the server limits the rate.
 * - `blocked`: the request can succeed only after a key or a permission is changed.
 * - `gone`: the reservation has expired.
 * - `conflict`: the reservation, or the idempotency key, isn't in the expected state.
 * - `invalid`: the server will never accept the request.
 */
export type ErrorClass = "ambiguous" | "denied" | "throttled" | "blocked" | "gone" | "conflict" | "invalid"

/** The tag of an `ApiError.reason`. */
export type ReasonTag =
  | "Unauthorized"
  | "Forbidden"
  | "NoBudget"
  | "ReservationNotFound"
  | "NoBudgetInUnit"
  | "ReservationEnded"
  | "KeyReused"
  | "RateLimited"
  | "ServerFault"
  | "Unavailable"
  | "NotCycles"
  | "OtherRefusal"

/** The meaning of an error response. */
export interface Rule {
  readonly class: ErrorClass
  readonly reason: ReasonTag
  /** Whether no request with the same idempotency key and body has taken effect. */
  readonly provesNothingHappened: boolean
}

const rule = (errorClass: ErrorClass, reason: ReasonTag, provesNothingHappened = true): Rule => ({
  class: errorClass,
  reason,
  provesNothingHappened
})

const ambiguous = (reason: ReasonTag): Rule => rule("ambiguous", reason, false)

const byCode: Readonly<Record<KnownErrorCode, Rule>> = {
  INVALID_REQUEST: rule("invalid", "OtherRefusal", false),
  UNAUTHORIZED: rule("blocked", "Unauthorized", false),
  FORBIDDEN: rule("blocked", "Forbidden", false),
  NOT_FOUND: rule("conflict", "ReservationNotFound"),
  BUDGET_EXCEEDED: rule("denied", "OtherRefusal"),
  BUDGET_FROZEN: rule("denied", "OtherRefusal"),
  BUDGET_CLOSED: rule("denied", "OtherRefusal"),
  RESERVATION_EXPIRED: rule("gone", "ReservationEnded"),
  RESERVATION_FINALIZED: rule("conflict", "ReservationEnded"),
  IDEMPOTENCY_MISMATCH: rule("conflict", "KeyReused"),
  UNIT_MISMATCH: rule("invalid", "NoBudgetInUnit"),
  OVERDRAFT_LIMIT_EXCEEDED: rule("denied", "OtherRefusal"),
  DEBT_OUTSTANDING: rule("denied", "OtherRefusal"),
  MAX_EXTENSIONS_EXCEEDED: rule("invalid", "OtherRefusal"),
  LIMIT_EXCEEDED: rule("throttled", "RateLimited", false),
  TENANT_CLOSED: rule("invalid", "OtherRefusal"),
  INTERNAL_ERROR: ambiguous("ServerFault")
}

const table: ReadonlyMap<string, Rule> = new Map(Object.entries(byCode))

const noBudget = rule("conflict", "NoBudget")
const unavailable = ambiguous("Unavailable")
const serverFault = ambiguous("ServerFault")
const notCycles = ambiguous("NotCycles")
const throttled = rule("throttled", "RateLimited", false)
/** A code that this version doesn't know. The server refused the request for an unknown reason. */
const unknownCode = rule("blocked", "OtherRefusal", false)

/** The operations that need a budget. For any other operation, 404 refers to the reservation. */
const needBudget: ReadonlySet<string> = new Set(["reserve", "decide", "event", "balances"])

/** Returns the meaning of an error response. */
export const ruleOf = (operation: string, status: number, code: string | undefined): Rule => {
  if (status === 429) return throttled
  if (code === undefined) return status >= 500 ? unavailable : notCycles
  if (status >= 500) return serverFault
  const known = table.get(code)
  if (status === 401 || status === 403) {
    return known?.class === "blocked" ? known : status === 401 ? byCode.UNAUTHORIZED : byCode.FORBIDDEN
  }
  if (code === "NOT_FOUND" && needBudget.has(operation)) return noBudget
  return known ?? unknownCode
}
