/** The options of guards and reservations, which `Cycles` exports, and the types of the errors that they add. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Nested, OnCrash, OnFailure, OnUnreachable, Settle } from "../../CyclesConfig.ts"
import type { AlreadySettled } from "../../CyclesError.ts"
import type { Heartbeat, LeaseLost } from "../../Heartbeat.ts"
import type { Metadata } from "../../Reservation.ts"
import type { Settlement, Unsettled } from "../../Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options that guards and `reserve` share. `H` is the heartbeat policy.
 *
 * @category options
 * @since 0.1.0
 */
export interface LeaseOptions<H = Heartbeat, R = never> {
  /** The lease, 1 s to 24 h. It ends unless a heartbeat extends it. Default: the client's, 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** How much a heartbeat extends the lease, 1 ms to 24 h. Default: the client's, or else `ttl`. */
  readonly extendBy?: Duration.Input | undefined
  /**
   * How long after the end of its lease the reservation can still be settled, 0 to 60 s. Default: the client's, or else
   * the server's, 5 s.
   */
  readonly gracePeriod?: Duration.Input | undefined
  /**
   * What the server does if the actual amount exceeds the estimate. Default: the client's, or else the server's,
   * ALLOW_IF_AVAILABLE.
   */
  readonly overagePolicy?: OveragePolicy | undefined
  /** Whether to check the budget only. Nothing is reserved or charged. Default false. */
  readonly dryRun?: boolean | undefined
  /** The settlement of a body that failed, died or was interrupted. Default: the client's, `partial`. */
  readonly onFailure?: OnFailure | undefined
  /** The settlement of a body whose process crashes. Default: the client's, `expire`. */
  readonly onCrash?: OnCrash | undefined
  /** What the guard does if the server can't be reached. Default: the client's, `fail`. */
  readonly onUnreachable?: OnUnreachable | undefined
  /** What the guard does inside the body of another guard. Default: the client's, `independent`. */
  readonly nested?: Nested | undefined
  /** How long the guard waits for its settlement. Default: the client's, `attempt`. */
  readonly settle?: Settle | undefined
  /**
   * The longest `Retry-After` that the reserve waits for after 429 or 503, 0 to 1 h. Default: the client's, 0, which
   * fails at once.
   */
  readonly maxRetryAfter?: Duration.Input | undefined
  /**
   * What the guard does if it loses its lease. `failOnFinalize` and `cancel` add `LeaseLost` to `E`. Default `warn`.
   */
  readonly heartbeat?: H | undefined
  /**
   * Runs once with the settlement, even if the body failed or was interrupted. It doesn't run after a denial.
   *
   * **Details**
   *
   * It runs in the caller's fiber, with the settlement that the guard waited for. If that is `Pending`, only
   * `settlements` reports the final one. It can be interrupted, is limited to one `timeout`, and a defect in it is
   * logged.
   */
  readonly onSettled?: ((settlement: Settlement) => Effect.Effect<unknown, never, R>) | undefined
}

/**
 * What a guard does if the reservation under its caller-supplied key is settled already. See `GuardOptions.onRepeat`.
 *
 * @category options
 * @since 0.1.0
 */
export type OnRepeat = "refuse" | "ifReleased" | "again"

/**
 * The options of `withCycles`. `A` is the result of the guarded effect, `Args` are the arguments of the guarded
 * function, and `U` is the unit of the estimate. `H`, `S`, `K` and `R` are inferred from the options that add to `E`
 * and `R`.
 *
 * @category options
 * @since 0.1.0
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
  /**
   * The action: a kind such as `llm.completion` (at most 64 characters) and a name such as `openai:gpt-5` (at most
   * 256). Fixed, or a function of the arguments.
   */
  readonly action: Action | ((...args: FixedArgs<Args>) => Action)
  /**
   * The amount to reserve. Fixed, or a function of the arguments. All other amounts of the guard have the same unit.
   */
  readonly estimate: Amount<U> | ((...args: FixedArgs<Args>) => Amount<U>)
  /**
   * The actual amount. Fixed, or a function of the result. Default: the recorded total, or else the estimate, marked as
   * an estimate.
   *
   * If the function throws, the estimate is committed first, and the guard then dies with the thrown value.
   */
  readonly actual?: Amount<NoInfer<U>> | ((result: A) => Amount<NoInfer<U>>) | undefined
  /** Metrics to store with the commit. Fixed, or a function of the result. The latency is always included. */
  readonly metrics?: Metrics | ((result: A) => Metrics) | undefined
  /** Merged into the ambient subject field by field. Default: the ambient subject. */
  readonly subject?: Subject | ((...args: FixedArgs<Args>) => Subject) | undefined
  /** JSON that the server stores with the reservation. Default: none. */
  readonly metadata?: Metadata | ((...args: FixedArgs<Args>) => Metadata) | undefined
  /**
   * A caller-supplied idempotency key, 1 to 256 characters, the same for every run of the same job. Default: a random
   * key.
   *
   * A job that runs again takes over its open reservation, and fails with `AlreadySettled` if the reservation is
   * settled.
   */
  readonly idempotencyKey?: K | ((...args: FixedArgs<Args>) => K) | undefined
  /**
   * Whether the body runs again if the reservation under `idempotencyKey` is settled already. Default `refuse`.
   *
   * - `refuse`: fails with `AlreadySettled`.
   * - `ifReleased`: runs again if the reservation was released, so that nothing was charged. Otherwise the same as
   *   `refuse`. An expired lease doesn't count as released, because the body may have spent.
   * - `again`: runs again in any case, and is charged again.
   *
   * **Details**
   *
   * The next reservation has the key `key#2`, then `key#3`, and so on up to `key#100`; `AlreadySettled` follows. A key of
   * more than 252 characters is replaced by its digest there. Each reservation of an earlier run costs two requests.
   *
   * **Gotchas**
   *
   * A body that acted and was then interrupted without recorded spend is released too. Use `ifReleased` only if it is
   * safe to repeat what such a body did.
   */
  readonly onRepeat?: RepeatOf<K> | undefined
  /**
   * `fail` fails with `Unsettled` if the body succeeded but its settlement is `Pending` or `Rejected`. Default
   * `report`, which returns the result.
   */
  readonly onUnsettled?: S | undefined
}

/**
 * The options of `reserve`.
 *
 * @category options
 * @since 0.1.0
 */
export interface ReserveOptions<U extends Unit = Unit, H = Heartbeat, K = string, R = never> extends LeaseOptions<
  H,
  R
> {
  /**
   * The action: a kind such as `llm.completion` (at most 64 characters) and a name such as `openai:gpt-5` (at most
   * 256).
   */
  readonly action: Action
  /** The amount to reserve. */
  readonly estimate: Amount<U>
  /** Merged into the ambient subject field by field. Default: the ambient subject. */
  readonly subject?: Subject | undefined
  /** JSON that the server stores with the reservation. Default: none. */
  readonly metadata?: Metadata | undefined
  /** A caller-supplied idempotency key; see `GuardOptions.idempotencyKey`. Default: a random key. */
  readonly idempotencyKey?: K | undefined
  /** Whether to reserve again if the reservation under `idempotencyKey` is settled; see `GuardOptions.onRepeat`. */
  readonly onRepeat?: RepeatOf<K> | undefined
}

/**
 * The options of `withCyclesStream`. `U` is the unit of the estimate, and `V` the unit of the usage.
 *
 * @category options
 * @since 0.1.0
 */
export interface StreamOptions<
  A = unknown,
  U extends Unit = Unit,
  V extends Unit = U,
  H = Heartbeat,
  K = string,
  R = never
> extends ReserveOptions<U, H, K, R> {
  /**
   * The usage of one element, or nothing. The usage of all elements is added up. If no element has usage, and there is
   * no `finalUsage`, the reservation is released.
   */
  readonly usage?: ((element: A) => Amount<V> | undefined) | undefined
  /**
   * The usage of the whole stream, computed from its last element. It replaces the sum of `usage`. If it returns
   * nothing and there is no sum, the estimate is committed.
   */
  readonly finalUsage?: ((last: A) => Amount<NoInfer<V>> | undefined) | undefined
  /**
   * Converts the usage to the unit of the estimate. Required if the units differ, for example tokens and US dollars.
   */
  readonly cost?: ((used: Amount<NoInfer<V>>) => Amount<NoInfer<U>>) | undefined
}

/**
 * The options of `decide`.
 *
 * @category options
 * @since 0.1.0
 */
export interface DecideOptions {
  /**
   * The action: a kind such as `llm.completion` (at most 64 characters) and a name such as `openai:gpt-5` (at most
   * 256).
   */
  readonly action: Action
  /** The amount that a reserve would request. */
  readonly estimate: Amount
  /** Merged into the ambient subject field by field. Default: the ambient subject. */
  readonly subject?: Subject | undefined
  /** A caller-supplied idempotency key, 1 to 256 characters. Default: a random key. */
  readonly idempotencyKey?: string | undefined
  /** JSON that the server may store with the decision. Default: none. */
  readonly metadata?: Metadata | undefined
}

/**
 * The options of `event`.
 *
 * @category options
 * @since 0.1.0
 */
export interface EventOptions {
  /**
   * The action: a kind such as `llm.completion` (at most 64 characters) and a name such as `openai:gpt-5` (at most
   * 256).
   */
  readonly action: Action
  /** The amount to charge. */
  readonly actual: Amount
  /** Merged into the ambient subject field by field. Default: the ambient subject. */
  readonly subject?: Subject | undefined
  /** A caller-supplied idempotency key, 1 to 256 characters, the same for the same spend. Default: a random key. */
  readonly idempotencyKey?: string | undefined
  /**
   * What the server does if the amount exceeds the remaining budget. Default: the server's, ALLOW_IF_AVAILABLE, which
   * never refuses but may charge less.
   */
  readonly overagePolicy?: OveragePolicy | undefined
  /** Metrics to store with the event. Default: none. */
  readonly metrics?: Metrics | undefined
  /** JSON to store with the event. Default: none. */
  readonly metadata?: Metadata | undefined
}

/**
 * The result of `flush`.
 *
 * @category models
 * @since 0.1.0
 */
export interface FlushResult {
  /** Whether everything is settled. False if the journal can't be read. */
  readonly isComplete: boolean
  /** The number of open settlements and releases, in this process and in the journal. */
  readonly pending: number
}

/**
 * `Args` without inference: it is inferred from the guarded function only, so that a callback may omit the arguments
 * that it doesn't use.
 */
export type FixedArgs<Args extends ReadonlyArray<unknown>> = Args extends infer Given extends ReadonlyArray<unknown>
  ? Given
  : never

/** `OnRepeat`, with a caller-supplied key. */
export type RepeatOf<K> = [K] extends [never] ? never : OnRepeat

/** `LeaseLost`, with the heartbeat policies `failOnFinalize` and `cancel`. */
export type LeaseErrors<H> = [H] extends ["warn"] ? never : LeaseLost

/** `AlreadySettled`, with a caller-supplied key. */
export type KeyErrors<K> = [K] extends [never] ? never : AlreadySettled

/** `Unsettled`, with `onUnsettled: "fail"`. */
export type SettlementErrors<S> = [S] extends ["report"] ? never : Unsettled

/** Requires `cost` if the unit of the usage differs from the unit of the estimate. */
export type CostOf<U extends Unit, V extends Unit> = [V] extends [U]
  ? unknown
  : { readonly cost: (used: Amount<V>) => Amount<U> }
