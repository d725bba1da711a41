/**
 * What a status and an error code say about a request: one table for `ApiError.reason` and for `classify`.
 *
 * A status without an error code of the protocol proves nothing: the response may come from a proxy. With a code, the
 * code decides, except for statuses that the server returns before it looks at the request (401, 403, 429) and for 5xx,
 * after which the server may have acted.
 *
 * @see ERROR SEMANTICS of the protocol
 */
import type { KnownErrorCode } from "@effect-cycles/protocol/ErrorResponse"

/**
 * What an error means for a request.
 *
 * - `ambiguous`: the server may have acted, or may act when the request is sent again.
 * - `denied`: the budget refuses.
 * - `throttled`: the server asks to come back later.
 * - `blocked`: somebody has to change something (a key, a permission) before it can succeed.
 * - `gone`: the reservation has expired.
 * - `conflict`: the reservation, or the idempotency key, isn't in the expected state.
 * - `invalid`: the server will never accept the request as it is.
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

/** What an error response says. */
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
  INVALID_REQUEST: rule("invalid", "OtherRefusal"),
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
/** A code that this version doesn't know: the server refused, but why is unknown. */
const unknownCode = rule("blocked", "OtherRefusal", false)

/** The operations that need a budget; a 404 for any other one is about a reservation. */
const needBudget: ReadonlySet<string> = new Set(["reserve", "decide", "event", "balances"])

/** What an error response says about a request. */
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
