/**
 * The options of guards and reservations, as `Cycles` exports them, and what they add to the error type.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { OnCrash, OnFailure, Settle } from "../../CyclesConfig.ts"
import type { AlreadySettled } from "../../CyclesError.ts"
import type { Heartbeat, LeaseLost } from "../../Heartbeat.ts"
import type { Metadata } from "../../Reservation.ts"
import type { Settlement, Unsettled } from "../../Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/** The options that every guard and every reservation by hand takes. `H` is the heartbeat policy. */
export interface LeaseOptions<H = Heartbeat, R = never> {
  /** How long the reservation lives without a heartbeat, 1 s to 24 h. Default: that of the client, 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** By how much each heartbeat extends, 1 ms to 24 h. Default: the `ttl`. */
  readonly extendBy?: Duration.Input | undefined
  /** How long after its end it can still be settled, 0 to 60 s. Default: the server's, 5 s. */
  readonly gracePeriod?: Duration.Input | undefined
  /** What happens if the actual amount exceeds the estimate. Default: the server's, ALLOW_IF_AVAILABLE. */
  readonly overagePolicy?: OveragePolicy | undefined
  /** Asks without reserving: nothing is reserved and nothing is charged. Default false. */
  readonly dryRun?: boolean | undefined
  /** What happens to the spend of a body that didn't succeed. Default `partial`. */
  readonly onFailure?: OnFailure | undefined
  /** What happens to the spend of a body whose process dies. Default: that of the client, `expire`. */
  readonly onCrash?: OnCrash | undefined
  /** How long the caller waits for the settlement. Default: that of the client, `attempt`. */
  readonly settle?: Settle | undefined
  /** The longest `Retry-After` that the reserve waits for, 0 to 1 h, on 429 and 503. Default 0: it fails at once. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** What happens if the lease can't be kept. The two stricter policies add `LeaseLost`. Default `warn`. */
  readonly heartbeat?: H | undefined
  /**
   * Runs once with the settlement, also if the body failed or was interrupted, and never after a denial.
   *
   * **Details**
   *
   * It runs in the caller's fiber with the first settlement that the caller gets; `Pending` counts. Later results appear
   * only in `settlements`. It can be interrupted, takes at most one `timeout`, and a defect in it is logged.
   */
  readonly onSettled?: ((settlement: Settlement) => Effect.Effect<unknown, never, R>) | undefined
}

/**
 * The options of `withCycles`. `A` is the result of the guarded effect, `Args` are the arguments that `Effect.fn` passes
 * on, `U` is the unit of the estimate; the others are what the options add to `E` and `R`.
 */
export interface GuardOptions<
  A = unknown,
  Args extends ReadonlyArray<unknown> = [],
  U extends Unit = Unit,
  H = Heartbeat,
  S = "report" | "fail",
  K = string,
  R = never
> extends LeaseOptions<H, R> {
  /** What is done: a kind such as `llm.completion` (at most 64 characters), a name such as `openai:gpt-5` (at most 256). */
  readonly action: Action | ((...args: Handed<Args>) => Action)
  /** The amount to reserve, fixed or from the arguments of the guarded function. Its unit is that of the whole guard. */
  readonly estimate: Amount<U> | ((...args: Handed<Args>) => Amount<U>)
  /**
   * The amount that was spent, fixed or from the result. Default: the recorded total, or else the estimate, marked as
   * such. If it throws, the estimate is committed first, and then the guard dies with what was thrown.
   */
  readonly actual?: Amount<NoInfer<U>> | ((result: A) => Amount<NoInfer<U>>) | undefined
  /** Sent with the commit, fixed or from the result. The latency is always sent. */
  readonly metrics?: Metrics | ((result: A) => Metrics) | undefined
  /** Merged into the ambient subject; the nearest wins. */
  readonly subject?: Subject | ((...args: Handed<Args>) => Subject) | undefined
  /** JSON, stored with the reservation. */
  readonly metadata?: Metadata | ((...args: Handed<Args>) => Metadata) | undefined
  /**
   * A caller-supplied idempotency key, 1 to 256 characters, the same for the same work: a job that runs again takes over its
   * open reservation, and fails with `AlreadySettled` if it has been settled. Default: a random key.
   */
  readonly idempotencyKey?: K | ((...args: Handed<Args>) => K) | undefined
  /** `fail` fails with `Unsettled` if the spend of a body that succeeded isn't certain to be charged. Default `report`. */
  readonly onUnsettled?: S | undefined
}

/** The options of `withCyclesStream`. `V` is the unit in which the elements are counted. */
export interface StreamOptions<
  A = unknown,
  U extends Unit = Unit,
  V extends Unit = U,
  H = Heartbeat,
  K = string,
  R = never
> extends LeaseOptions<H, R> {
  readonly action: Action
  /** The amount to reserve. */
  readonly estimate: Amount<U>
  /**
   * The usage of one element; nothing if it used nothing. The amounts add up. A stream of which no element used anything is
   * released.
   */
  readonly usage?: ((element: A) => Amount<V> | undefined) | undefined
  /**
   * The usage of the whole stream, from its last element; replaces the sum if it returns an amount. If it returns none and
   * there is no sum, the estimate is committed.
   */
  readonly finalUsage?: ((last: A) => Amount<NoInfer<V>> | undefined) | undefined
  /** The cost of the usage. Required if the units differ, as of tokens and money. */
  readonly cost?: ((used: Amount<NoInfer<V>>) => Amount<NoInfer<U>>) | undefined
  readonly subject?: Subject | undefined
  readonly metadata?: Metadata | undefined
  /** See `GuardOptions`. */
  readonly idempotencyKey?: K | undefined
}

/** The options of `reserve`. */
export interface ReserveOptions<U extends Unit = Unit, H = Heartbeat, K = string, R = never> extends LeaseOptions<
  H,
  R
> {
  readonly action: Action
  /** The amount to reserve. */
  readonly estimate: Amount<U>
  readonly subject?: Subject | undefined
  readonly metadata?: Metadata | undefined
  /** See `GuardOptions`. */
  readonly idempotencyKey?: K | undefined
}

/** The options of `decide`. */
export interface DecideOptions {
  readonly action: Action
  readonly estimate: Amount
  readonly subject?: Subject | undefined
  readonly idempotencyKey?: string | undefined
  readonly metadata?: Metadata | undefined
}

/** The options of `event`. */
export interface EventOptions {
  readonly action: Action
  /** The amount that was spent. */
  readonly actual: Amount
  readonly subject?: Subject | undefined
  /** A caller-supplied idempotency key, the same for the same spend. Default: a random key. */
  readonly idempotencyKey?: string | undefined
  /** Default: the server's, ALLOW_IF_AVAILABLE, which never refuses but may charge less. */
  readonly overagePolicy?: OveragePolicy | undefined
  readonly metrics?: Metrics | undefined
  readonly metadata?: Metadata | undefined
}

/** The result of a flush. */
export interface FlushResult {
  /** Whether nothing is unsettled any more; false if the journal can't be read. */
  readonly isComplete: boolean
  /** Settlements and releases that are still open, in this process and in the journal. */
  readonly pending: number
}

/** `Args`, inferred from the place of the guard only: each callback may leave out the arguments that it doesn't need. */
export type Handed<Args extends ReadonlyArray<unknown>> = Args extends infer Given extends ReadonlyArray<unknown>
  ? Given
  : never

/** `LeaseLost`, if the heartbeat policy makes it possible. */
export type LeaseErrors<H> = [H] extends ["warn"] ? never : LeaseLost

/** `AlreadySettled`, if there is a caller-supplied key. */
export type KeyErrors<K> = [K] extends [never] ? never : AlreadySettled

/** `Unsettled`, if `onUnsettled` asks for it. */
export type SettlementErrors<S> = [S] extends ["report"] ? never : Unsettled

/** Makes `cost` required if the elements are counted in another unit than the estimate. */
export type CostOf<U extends Unit, V extends Unit> = [V] extends [U]
  ? unknown
  : { readonly cost: (used: Amount<V>) => Amount<U> }
