/**
 * The errors of the client, and how to handle each of them.
 *
 * **Details**
 *
 * - Every call fails with one of the five errors of `CyclesError`. Each has its own tag for `Effect.catchTag`.
 * - `ApiError` carries a `reason` for `Effect.catchReason`.
 * - `isRetryable` is true if the same request, with the same idempotency key, may succeed later.
 * - No error contains a header, a key or a request body. Errors are safe to log and store.
 *
 * **Gotchas**
 *
 * A settlement that fails isn't an error. It is a `Settlement`, since the body has already run.
 *
 * **Example** (Using a cheaper model when the budget is used up)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * const callModel = (model: string) =>
 *   Effect.succeed(`response of ${model}`).pipe(
 *     Cycles.withCycles({
 *       action: { kind: "llm.completion", name: model },
 *       estimate: Amount.tokens(1_000)
 *     })
 *   )
 *
 * export const program = callModel("openai:gpt-5").pipe(
 *   Cycles.orElseDenied(() => callModel("openai:gpt-5-mini")),
 *   Effect.catchReason("ApiError", "RateLimited", () => Effect.succeed("Please try again later"))
 * )
 * ```
 *
 * @see ERROR SEMANTICS and ErrorCode of the protocol
 * @since 0.1.0
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

/**
 * The operations of the protocol, by the names that errors, spans and metrics use.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Operation = Schema.Literals(Operations.names)

/**
 * The name of an operation of the protocol.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = typeof Operation.Type

/**
 * The server's error code or, for a decision `DENY`, its reason code. Codes that this version doesn't know are kept as
 * text.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Code: Schema.Codec<ErrorCode> = Schema.String

/**
 * One error in the chain of causes that the HTTP library reported, with secrets redacted.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CauseLink = Schema.Struct({
  /** The name of the error class. */
  name: Schema.String,
  /** The redacted message. */
  message: Schema.String,
  /** The system's or library's error code, such as `ECONNREFUSED`. */
  code: Schema.optional(Schema.String),
  /** The system call that failed, such as `connect`. */
  syscall: Schema.optional(Schema.String),
  /** The remote IP address. */
  address: Schema.optional(Schema.String),
  /** The remote port. */
  port: Schema.optional(Schema.Int)
})

/**
 * One error in the chain of causes that the HTTP library reported, with secrets redacted.
 *
 * @category models
 * @since 0.1.0
 */
export type CauseLink = typeof CauseLink.Type

const origin = {
  /** The URL of the request, without its query. */
  url: Schema.optional(Schema.String),
  /** The chain of causes from the HTTP library, outermost first, at most five. */
  cause: Schema.optional(Schema.Array(CauseLink)),
  /** What to do about the error, if that is clear. It is part of the message. */
  hint: Schema.optional(Schema.String)
}

/**
 * Every error of a call.
 *
 * @category models
 * @since 0.1.0
 */
export type CyclesError = BudgetExceeded | ApiError | TransportError | ProtocolError | InvalidRequest

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The budget denies the request: too little remains, the budget is frozen or closed, its overdraft limit is reached, a
 * debt is outstanding, or the decision is `DENY`. A run denies with the codes `RUN_BUDGET_EXCEEDED`, `RUN_UNCOVERED`,
 * `RUN_STEPS_EXCEEDED`, `RUN_TOOL_CALLS_EXCEEDED`, `RUN_REPEATED_CALL` and `RUN_ENDED`.
 *
 * Nothing was reserved or charged, and the body didn't start. The exception is a guarded stream that uses up the budget
 * of its run: it fails with this error, and the usage up to then is charged. The same request is denied again until the
 * budget changes, so `isRetryable` is false.
 *
 * @see 409 BUDGET_EXCEEDED, BUDGET_FROZEN, BUDGET_CLOSED, OVERDRAFT_LIMIT_EXCEEDED, DEBT_OUTSTANDING and the decision
 *   DENY of the protocol
 * @category errors
 * @since 0.1.0
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  /** The operation that failed. */
  operation: Operation,
  /** The error code of the response, or the reason code of a decision `DENY`. */
  code: Code,
  /** The requested action. It distinguishes the denials of nested guards. */
  action: Schema.optional(Action),
  /** The requested amount. */
  requested: Schema.optional(Amount),
  /** The scopes that the server checked, from the tenant down; `run:<name>` if a run denied the call. */
  scopes: Schema.Array(Schema.String),
  /**
   * The amount left in `limitingScope` after the denial of a reserve, or in the run that denied the call; negative if
   * it has spent more than its budget. Absent if the balances couldn't be read within a second, or if the tenant has
   * more than 200 budgets.
   */
  remaining: Schema.optional(SignedAmount),
  /** The scope that has least left. */
  limitingScope: Schema.optional(Schema.String),
  /** The delay after which the server suggests another request, if it suggests one. */
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  /** What to do about a denial by a run, if its code and amounts don't show it. It is part of the message. */
  hint: Schema.optional(Schema.String),
  /** The server's error message. */
  serverMessage: Schema.optional(Schema.String),
  /** The server's id of the request. */
  requestId: Schema.optional(Schema.String),
  /** The W3C trace id of the request. */
  traceId: Schema.optional(Schema.String),
  /** The run that denied the call before a request was sent, or that ended a stream. Absent if the server denied it. */
  run: Schema.optional(
    Schema.Struct({
      /** The id of the run. */
      id: Schema.String,
      /** The name of the run. */
      name: Schema.String
    })
  )
}) {
  /** Always false: the same request is denied again until the budget changes. */
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    const action = this.action === undefined ? "" : ` for ${this.action.kind} ${this.action.name}`
    const amount = this.requested === undefined ? "" : ` ${this.requested}`
    const scopes = this.scopes.length === 0 ? "" : ` on ${this.scopes.join(", ")}`
    const left = this.remaining === undefined ? "" : `, ${this.remaining} left${inScope(this.limitingScope)}`
    const request = this.requestId === undefined ? "" : `, request ${this.requestId}`
    return `Budget denied: ${this.operation}${amount}${action}${scopes} (${this.code}${left}${request})${hinted(this)}`
  }
}

const inScope = (scope: string | undefined): string => (scope === undefined ? "" : ` in ${scope}`)

const wait = { retryAfter: Schema.optional(Schema.DurationFromMillis) }

/**
 * 401: the key is unknown, revoked or expired, or its tenant is suspended.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}

/**
 * 403: the tenant of the subject isn't the tenant of the key, or the key lacks a permission.
 *
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", {}) {}

/**
 * 404 for a reserve, decide, event or balances: no scope of the subject has a budget.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoBudget extends Schema.TaggedError<NoBudget>()("NoBudget", {}) {}

/**
 * 404 for a reservation: the server has no reservation with this id.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReservationNotFound extends Schema.TaggedError<ReservationNotFound>()("ReservationNotFound", {}) {}

/**
 * 400 UNIT_MISMATCH: the scopes have a budget, but not in this unit.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoBudgetInUnit extends Schema.TaggedError<NoBudgetInUnit>()("NoBudgetInUnit", {}) {}

/**
 * 409 RESERVATION_FINALIZED or 410 RESERVATION_EXPIRED: the reservation is settled, or its lease has ended.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReservationEnded extends Schema.TaggedError<ReservationEnded>()("ReservationEnded", {}) {}

/**
 * 409 IDEMPOTENCY_MISMATCH: the idempotency key was used for a different request.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyReused extends Schema.TaggedError<KeyReused>()("KeyReused", {}) {}

/**
 * 429 or LIMIT_EXCEEDED: the server throttles. Retry after `retryAfter`.
 *
 * @category errors
 * @since 0.1.0
 */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", wait) {}

/**
 * 5xx with an error code: the server failed, and may have acted on the request.
 *
 * @category errors
 * @since 0.1.0
 */
export class ServerFault extends Schema.TaggedError<ServerFault>()("ServerFault", wait) {}

/**
 * 5xx without an error code, such as the error page of a proxy. The server may have acted on the request.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", wait) {}

/**
 * Any other status without an error code: the response isn't from a Cycles server. Check the base URL.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotCycles extends Schema.TaggedError<NotCycles>()("NotCycles", {}) {}

/**
 * Any other error code, including codes that this version doesn't know. See `code` and `status` of the error.
 *
 * @category errors
 * @since 0.1.0
 */
export class OtherRefusal extends Schema.TaggedError<OtherRefusal>()("OtherRefusal", {}) {}

/**
 * Why the server refused a request: the `reason` of an `ApiError`.
 *
 * @category models
 * @since 0.1.0
 */
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
 * The server refused the request for any reason other than the budget: authentication, a missing budget, an ended
 * reservation, a rate limit or a server error. `reason` has the details.
 *
 * **Details**
 *
 * - `code` is absent if the response has no error object of the protocol, for example if a proxy sent it.
 * - A 429 or 5xx is retryable. A 5xx doesn't prove that nothing happened.
 *
 * @see ErrorResponse of the protocol
 * @category errors
 * @since 0.1.0
 */
export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  /** The operation that failed. */
  operation: Operation,
  /** The HTTP status. */
  status: Schema.Int,
  /** The error code of the protocol; absent if the response has none. */
  code: Schema.optional(Code),
  /** The server's error message. */
  serverMessage: Schema.optional(Schema.String),
  /** The delay of `Retry-After`, if the server sent one. */
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  /** The server's id of the request. */
  requestId: Schema.optional(Schema.String),
  /** The W3C trace id of the request. */
  traceId: Schema.optional(Schema.String),
  /** The `details` of the error response, with keys redacted. */
  details: Schema.optional(Schema.Unknown),
  ...origin
}) {
  /**
   * Why the server refused, derived from `operation`, `status` and `code`. `Effect.catchReason("ApiError", ...)` uses
   * it.
   */
  get reason(): Reason {
    return reasons[ruleOf(this.operation, this.status, this.code).reason](this)
  }

  /**
   * Whether the same request, with the same idempotency key, may succeed later: true for 429, 5xx and LIMIT_EXCEEDED.
   */
  get isRetryable(): boolean {
    return this.status === 429 || this.status >= 500 || this.code === "LIMIT_EXCEEDED"
  }

  override get message(): string {
    const code = this.code === undefined ? "" : ` ${this.code}`
    const words = this.serverMessage === undefined ? "" : `: ${this.serverMessage}`
    const wait = this.retryAfter === undefined ? "" : `; retry after ${Duration.format(this.retryAfter)}`
    return `${this.url ?? "The server"} refused the ${this.operation} with ${this.status}${code}${words}${requestOf(this)}${wait}${hinted(this)}`
  }
}

/**
 * There is no usable response: the connection was refused or reset, the deadline passed, or the response is too large.
 *
 * **Details**
 *
 * `mayHaveArrived` is true if the server may have acted on the request. If it is false, nothing was reserved or
 * charged. If the request can be repeated safely, the client has already repeated it.
 *
 * **Gotchas**
 *
 * Running the effect again makes a new idempotency key, so the server takes it for a different request. To repeat a
 * request that may have arrived, use a caller-supplied key.
 *
 * @category errors
 * @since 0.1.0
 */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  /** The operation that failed. */
  operation: Operation,
  /**
   * The failure: connection refused, connection lost, deadline passed, response larger than the client accepts, or
   * anything else.
   */
  kind: Schema.Literals(["refused", "interrupted", "timeout", "tooLarge", "unknown"]),
  /** Whether the server may have acted on the request. */
  mayHaveArrived: Schema.Boolean,
  /** The message of the transport, without any part of the request. */
  problem: Schema.String,
  ...origin
}) {
  /** Always true: the same request, with the same idempotency key, may be sent again. */
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    const arrived = this.mayHaveArrived ? "the request may have arrived" : "the request was not sent"
    return `No response to the ${this.operation}${from(this)} (${this.kind}, ${arrived}): ${this.problem}${hinted(this)}`
  }
}

/**
 * The response violates the protocol: an unexpected success status, invalid JSON, or a required field that is missing
 * or has the wrong type.
 *
 * The server may have acted on the request. Repeating it with the same idempotency key is safe.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProtocolError extends Schema.TaggedError<ProtocolError>()("ProtocolError", {
  /** The operation that failed. */
  operation: Operation,
  /** The HTTP status. */
  status: Schema.Int,
  /** What violates the protocol. */
  problem: Schema.String,
  /** The server's id of the request. */
  requestId: Schema.optional(Schema.String),
  ...origin
}) {
  /** Always true: the same request, with the same idempotency key, may be sent again. */
  get isRetryable(): boolean {
    return true
  }

  override get message(): string {
    return `The response ${this.status} to the ${this.operation}${from(this)} breaks the protocol: ${this.problem}${requestOf(this)}${hinted(this)}`
  }
}

/**
 * One invalid field of a request.
 *
 * @category schemas
 * @since 0.1.0
 */
export const InvalidField = Schema.Struct({
  /** The path of the field, such as `estimate.amount`. */
  field: Schema.String,
  /** The allowed values. */
  expected: Schema.String,
  /** The given value, truncated if it is long. */
  actual: Schema.String
})

/**
 * One invalid field of a request.
 *
 * @category models
 * @since 0.1.0
 */
export type InvalidField = typeof InvalidField.Type

/**
 * The request violates a limit of the protocol. It wasn't sent, and nothing was reserved or charged.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  /** The operation that failed. */
  operation: Operation,
  /** Every invalid field. */
  fields: Schema.Array(InvalidField)
}) {
  /** Always false: the request itself is invalid. */
  get isRetryable(): boolean {
    return false
  }

  override get message(): string {
    return `The ${this.operation} was not sent: ${InvalidInput.message(this.fields)}`
  }
}

/**
 * The reservation is already settled: by this handle, or by an earlier run that used the same caller-supplied
 * idempotency key. No request was sent to settle it again.
 *
 * @category errors
 * @since 0.1.0
 */
export class AlreadySettled extends Schema.TaggedError<AlreadySettled>()("AlreadySettled", {
  /** The id of the reservation. */
  reservationId: Schema.String,
  /** How it was settled: by a commit or a release of this process, or in an earlier run. */
  by: Schema.Literals(["commit", "release", "earlier run"]),
  /**
   * The end of the reservation.
   *
   * - `COMMITTED`: its spend is charged, or this process or its journal still has to charge it.
   * - `RELEASED`: nothing is charged.
   * - `EXPIRED`: its lease ended before a settlement arrived. Its spend, if there was any, may have been charged by an
   *   event.
   * - `unknown`: the server returned another status, or the reservation couldn't be read.
   */
  status: Schema.Literals(["COMMITTED", "RELEASED", "EXPIRED", "unknown"])
}) {
  override get message(): string {
    return `Reservation ${this.reservationId} has been settled already (${this.by}, ${this.status})`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// predicates
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether a value is one of the five errors of a call.
 *
 * @category guards
 * @since 0.1.0
 */
export const isCyclesError = (u: unknown): u is CyclesError =>
  u instanceof BudgetExceeded ||
  u instanceof ApiError ||
  u instanceof TransportError ||
  u instanceof ProtocolError ||
  u instanceof InvalidRequest

/**
 * Whether a value is a `BudgetExceeded`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isBudgetExceeded = (u: unknown): u is BudgetExceeded => u instanceof BudgetExceeded

/**
 * Whether the same request, with the same idempotency key, may succeed later.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isRetryable = (error: CyclesError): boolean => error.isRetryable

/**
 * Runs another effect if the budget denies the first. Other errors stay the same.
 *
 * @category error handling
 * @since 0.1.0
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

const hinted = (error: { readonly hint?: string | undefined }): string =>
  error.hint === undefined ? "" : `; ${error.hint}`
