/**
 * The errors that a user of the client sees, and what to do about them.
 *
 * Each is a flat tag, so that `Effect.catchTag` removes exactly it from `E`. None holds a header, a key or a body of the
 * user's: they can be logged, sent and stored as they are. A failed settlement is not an error but a value, see
 * `Settlement`.
 *
 * Source: ERROR SEMANTICS of the protocol; the division into five is ours.
 */
import { Action } from "@effect-cycles/protocol/Action"
import { Amount, SignedAmount } from "@effect-cycles/protocol/Amount"
import type { ErrorCode } from "@effect-cycles/protocol/ErrorResponse"
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"
import { ruleOf } from "./internal/models/errorCodes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The operations of the protocol, as they are named in errors, spans and metrics. */
export const Operation = Schema.Literals(Operations.names)

/** One of the operations of the protocol. */
export type Operation = typeof Operation.Type

/** The server's error code or, in a denial, its reason code: the known ones typed, any other carried as it is. */
export const Code: Schema.Codec<ErrorCode> = Schema.String

/** One link of a chain of errors below: what an HTTP library reported, copied and redacted. */
export const CauseLink = Schema.Struct({
  name: Schema.String,
  message: Schema.String,
  code: Schema.optional(Schema.String),
  syscall: Schema.optional(Schema.String),
  address: Schema.optional(Schema.String),
  port: Schema.optional(Schema.Int)
})

/** One link of a chain of errors below: what an HTTP library reported, copied and redacted. */
export type CauseLink = typeof CauseLink.Type

/** Where a request went, without its query, and what the HTTP library reported: five links at most, the outermost first. */
const origin = {
  url: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Array(CauseLink))
}

/** Everything that can fail in a call, besides the errors of the user's own program. */
export type CyclesError = BudgetExceeded | ApiError | TransportError | ProtocolError | InvalidRequest

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The budget refuses: there is too little left, it is frozen or closed, its overdraft is used up, a debt is open, or a
 * decision said DENY for any reason.
 *
 * Nothing was reserved and nothing was spent. Asking again at once gives the same answer, so it is never retryable by
 * itself; `retryAfter` is there when the server said when to come back.
 *
 * Source: 409 BUDGET_EXCEEDED, BUDGET_FROZEN, BUDGET_CLOSED, OVERDRAFT_LIMIT_EXCEEDED and DEBT_OUTSTANDING, and
 * `decision: DENY`.
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  operation: Operation,
  /** The error code of a refusal, the reason code of a denial. */
  code: Code,
  /** What was asked for; nested guards can tell by it whose denial this is. */
  action: Schema.optional(Action),
  /** How much was asked for. */
  requested: Schema.optional(Amount),
  /** The scopes that were looked at, from the tenant downwards. */
  scopes: Schema.Array(Schema.String),
  /** What the tightest of these scopes has left, where the server told. */
  remaining: Schema.optional(SignedAmount),
  /** When the server says that asking again makes sense. */
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  /** The server's own words. */
  serverMessage: Schema.optional(Schema.String),
  requestId: Schema.optional(Schema.String),
  traceId: Schema.optional(Schema.String)
}) {
  /** Always false: the same request is refused again until somebody changes the budget. */
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    const act = this.action === undefined ? "" : ` for ${this.action.kind} ${this.action.name}`
    const asked = this.requested === undefined ? "" : ` of ${this.requested}`
    const left = this.remaining === undefined ? "" : `, ${this.remaining} left`
    const where = this.scopes.length === 0 ? "" : ` on ${this.scopes.join(", ")}`
    return `The budget refuses the ${this.operation}${asked}${act}: ${this.code}${where}${left}${requestOf(this)}`
  }
}

const wait = { retryAfter: Schema.optional(Schema.DurationFromMillis) }

/** 401: the key is unknown, revoked or expired, or its tenant is suspended. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}

/** 403: the subject's tenant isn't the key's, or the key lacks a permission. */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", {}) {}

/** 404 for a reserve, decide, event or balances: no scope of the subject has a budget. */
export class NoBudget extends Schema.TaggedError<NoBudget>()("NoBudget", {}) {}

/** 404 for a reservation: the server has none with this id. */
export class ReservationNotFound extends Schema.TaggedError<ReservationNotFound>()("ReservationNotFound", {}) {}

/** 400 UNIT_MISMATCH: the scopes have a budget, but in another unit. */
export class NoBudgetInUnit extends Schema.TaggedError<NoBudgetInUnit>()("NoBudgetInUnit", {}) {}

/** 409 RESERVATION_FINALIZED or 410 RESERVATION_EXPIRED. */
export class ReservationEnded extends Schema.TaggedError<ReservationEnded>()("ReservationEnded", {}) {}

/** 409 IDEMPOTENCY_MISMATCH: the idempotency key belongs to another request. */
export class KeyReused extends Schema.TaggedError<KeyReused>()("KeyReused", {}) {}

/** 429 or LIMIT_EXCEEDED. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", wait) {}

/** 5xx with an error code: the server failed, and may have acted on the request. */
export class ServerFault extends Schema.TaggedError<ServerFault>()("ServerFault", wait) {}

/** 5xx without an error code, such as the page of a proxy: the server may have acted on the request. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", wait) {}

/** Any other status without an error code: the response doesn't come from a Cycles server. Check the base URL. */
export class NotCycles extends Schema.TaggedError<NotCycles>()("NotCycles", {}) {}

/** Any other code, among them codes that this version doesn't know: see `code` and `status` of the error. */
export class OtherRefusal extends Schema.TaggedError<OtherRefusal>()("OtherRefusal", {}) {}

/** Why the server refused; the `reason` of an `ApiError`. */
export type Reason =
  | Unauthorized
  | Forbidden
  | NoBudget
  | ReservationNotFound
  | NoBudgetInUnit
  | ReservationEnded
  | KeyReused
  | RateLimited
  | ServerFault
  | Unavailable
  | NotCycles
  | OtherRefusal

const reasons: { readonly [Tag in Reason["_tag"]]: (error: ApiError) => Extract<Reason, { readonly _tag: Tag }> } = {
  Unauthorized: () => new Unauthorized(),
  Forbidden: () => new Forbidden(),
  NoBudget: () => new NoBudget(),
  ReservationNotFound: () => new ReservationNotFound(),
  NoBudgetInUnit: () => new NoBudgetInUnit(),
  ReservationEnded: () => new ReservationEnded(),
  KeyReused: () => new KeyReused(),
  RateLimited: ({ retryAfter }) => new RateLimited({ retryAfter }),
  ServerFault: ({ retryAfter }) => new ServerFault({ retryAfter }),
  Unavailable: ({ retryAfter }) => new Unavailable({ retryAfter }),
  NotCycles: () => new NotCycles(),
  OtherRefusal: () => new OtherRefusal()
}

/**
 * Any other refusal of the server: authentication, a missing budget, a finalized or expired reservation, a rate limit, a
 * fault of its own.
 *
 * `code` is absent when the answer was no error object of the protocol, such as the page of a proxy. Retryable are 429
 * and 5xx.
 */
export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  operation: Operation,
  status: Schema.Int,
  code: Schema.optional(Code),
  /** The server's own words. */
  serverMessage: Schema.optional(Schema.String),
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  requestId: Schema.optional(Schema.String),
  traceId: Schema.optional(Schema.String),
  /** What the server added, as it came. */
  details: Schema.optional(Schema.Unknown),
  ...origin
}) {
  /**
   * Why the server refused, derived from `operation`, `status` and `code`.
   *
   * @example
   * program.pipe(Effect.catchReason("ApiError", "RateLimited", (reason) => later(reason.retryAfter)))
   */
  get reason(): Reason {
    return reasons[ruleOf(this.operation, this.status, this.code).reason](this)
  }

  /** Whether the same request, with the same idempotency key, may succeed later. */
  get isRetryable(): boolean {
    return this.status === 429 || this.status >= 500 || this.code === "LIMIT_EXCEEDED"
  }

  override get message(): string {
    const code = this.code === undefined ? "" : ` ${this.code}`
    const words = this.serverMessage === undefined ? "" : `: ${this.serverMessage}`
    return `${this.url ?? "The server"} refused the ${this.operation} with ${this.status}${code}${words}${hintOf(this)}${requestOf(this)}`
  }
}

/**
 * No usable response: refused, reset, timed out, too large.
 *
 * `mayHaveArrived` says whether the server may have acted on the request; if it is false nothing was reserved or
 * charged. The client has repeated what could be repeated with the same idempotency key. Running the effect again makes a
 * new key, and with it a new act, unless it has an idempotency key of the caller's own.
 */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  operation: Operation,
  kind: Schema.Literals(["refused", "interrupted", "timeout", "tooLarge", "unknown"]),
  mayHaveArrived: Schema.Boolean,
  /** What the transport reported, without anything from the request. */
  problem: Schema.String,
  ...origin
}) {
  /** Always true: the same request, with the same idempotency key, may be sent again. */
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    const arrived = this.mayHaveArrived ? "the request may have arrived" : "the request was not sent"
    return `No response to the ${this.operation}${from(this)} (${this.kind}, ${arrived}): ${this.problem}`
  }
}

/**
 * An answer that the protocol does not allow: another success status than it names, no JSON, a required field that is
 * missing or of another type.
 *
 * The server may have acted on the request. Repeating it with the same idempotency key is safe.
 */
export class ProtocolError extends Schema.TaggedError<ProtocolError>()("ProtocolError", {
  operation: Operation,
  status: Schema.Int,
  problem: Schema.String,
  requestId: Schema.optional(Schema.String),
  ...origin
}) {
  /** Always true: the same request, with the same idempotency key, may be sent again. */
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `The response ${this.status} to the ${this.operation}${from(this)} breaks the protocol: ${this.problem}${requestOf(this)}`
  }
}

/** One thing that is wrong with a request. */
export const InvalidField = Schema.Struct({
  /** The path of the field, as in `estimate.amount`. */
  field: Schema.String,
  /** What is allowed. */
  expected: Schema.String,
  /** What was given, cut when it is long. */
  actual: Schema.String
})

/** One thing that is wrong with a request. */
export type InvalidField = typeof InvalidField.Type

/** A request that the server would refuse was caught before anything was sent. Nothing was reserved or charged. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  operation: Operation,
  fields: Schema.Array(InvalidField)
}) {
  /** Always false: the request itself has to change. */
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return `The ${this.operation} was not sent: ${InvalidInput.message(this.fields)}`
  }
}

/**
 * The reservation has been settled before: by this handle, or, for a caller's own idempotency key, by an earlier run of
 * the same job. Nothing was sent.
 */
export class AlreadySettled extends Schema.TaggedError<AlreadySettled>()("AlreadySettled", {
  reservationId: Schema.String,
  /** What settled it, where it is known. */
  by: Schema.Literals(["commit", "release", "earlier run"])
}) {
  override get message(): string {
    return `Reservation ${this.reservationId} has been settled already (${this.by})`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// predicates
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a value is one of the five errors of a call. */
export const isCyclesError = (u: unknown): u is CyclesError =>
  u instanceof BudgetExceeded ||
  u instanceof ApiError ||
  u instanceof TransportError ||
  u instanceof ProtocolError ||
  u instanceof InvalidRequest

/** Whether a value is a refusal for budget. */
export const isBudgetExceeded = (u: unknown): u is BudgetExceeded => u instanceof BudgetExceeded

/** Whether sending the same request again, with the same idempotency key, can help. */
export const isRetryable = (error: CyclesError): boolean => error.isRetryable

/**
 * Goes another way when the budget refuses, and leaves every other error as it is.
 *
 * @example
 * const reply = expensive.pipe(Cycles.orElseDenied(() => cheap))
 */
export const orElseDenied: {
  <A2, E2, R2>(
    that: (denied: BudgetExceeded) => Effect.Effect<A2, E2, R2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | A2, Exclude<E, BudgetExceeded> | E2, R | R2>
  <A, E, R, A2, E2, R2>(
    self: Effect.Effect<A, E, R>,
    that: (denied: BudgetExceeded) => Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, Exclude<E, BudgetExceeded> | E2, R | R2>
} = dual(
  2,
  <A, E, R, A2, E2, R2>(
    self: Effect.Effect<A, E, R>,
    that: (denied: BudgetExceeded) => Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, Exclude<E, BudgetExceeded> | E2, R | R2> =>
    Effect.catch(self, (error): Effect.Effect<A2, Exclude<E, BudgetExceeded> | E2, R2> =>
      isOther(error) ? Effect.fail(error) : isBudgetExceeded(error) ? that(error) : Effect.die(error)
    )
)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const isOther = <E>(error: E): error is Exclude<E, BudgetExceeded> => !isBudgetExceeded(error)

const requestOf = (error: { readonly requestId?: string | undefined }): string =>
  error.requestId === undefined ? "" : ` (request ${error.requestId})`

const from = (error: { readonly url?: string | undefined }): string =>
  error.url === undefined ? "" : ` from ${error.url}`

const hintOf = (error: ApiError): string => {
  if (error.retryAfter !== undefined) return `; retry after ${Duration.format(error.retryAfter)}`
  if (error.status === 401) return "; is the API key right, not revoked, and is its tenant active?"
  if (error.code === undefined) return "; that isn't a response of a Cycles server: is the base URL right?"
  return ""
}
