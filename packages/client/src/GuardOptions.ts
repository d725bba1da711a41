/**
 * What can be said of a guarded act: what it is, whose it is, what it may cost, and what happens when it goes wrong.
 *
 * Source: ReservationCreateRequest, CommitRequest; the policies are ours.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type { OnFailure, Settle } from "./CyclesConfig.ts"
import type { AlreadySettled } from "./CyclesError.ts"
import type { LeaseLost, Policy } from "./Heartbeat.ts"
import type { Unsettled } from "./Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** JSON of the user's own, kept with a reservation. */
export type Metadata = { readonly [key: string]: Schema.Json }

/** A value, or how to make it from the arguments of the guarded function. */
export type Given<A, Args extends ReadonlyArray<unknown>> = A | ((...args: Args) => A)

/** What every guard and every reservation by hand can be told. */
export interface LeaseOptions {
  /** How long the reservation lives without a heartbeat, 1 s to 24 h. Default: that of the client, 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** By how much each heartbeat extends, 1 ms to 24 h. Default: the ttl. Larger is how a long act lives. */
  readonly extendBy?: Duration.Input | undefined
  /** How long after its end it can still be settled, 0 to 60 s. Default: the server's, 5 s. */
  readonly gracePeriod?: Duration.Input | undefined
  /** What happens where the actual amount exceeds the estimate. Default: the server's, ALLOW_IF_AVAILABLE. */
  readonly overagePolicy?: OveragePolicy | undefined
  /** Asks without reserving: nothing is held and nothing is charged. Default false. */
  readonly dryRun?: boolean | undefined
  /** What happens to the spend of an act that did not succeed. Default `partial`. */
  readonly onFailure?: OnFailure | undefined
  /** How long the caller waits for the settlement. Default `attempt`. */
  readonly settle?: Settle | undefined
  /** The longest `Retry-After` that the reserve waits for, on 429 and 503. Default 0: it fails at once. */
  readonly maxRetryAfter?: Duration.Input | undefined
}

/** A reservation by hand. */
export interface ReserveOptions<H = Policy, K = string> extends LeaseOptions {
  /** What is done: kind as in `llm.completion` (at most 64 characters), name as in `openai:gpt-5` (at most 256). */
  readonly action: Action
  /** How much to hold. */
  readonly estimate: Amount
  /** Whose spend it is; merged into the ambient subject, nearest wins. */
  readonly subject?: Subject | undefined
  /**
   * A key of the caller's own, 1 to 256 characters, the same for the same act: a job that is run again after a crash
   * then takes up its reservation, and is charged once. Default: a random one.
   */
  readonly idempotencyKey?: K | undefined
  /** JSON, kept with the reservation. */
  readonly metadata?: Metadata | undefined
  /** What happens when the lease can't be kept. By hand, `cancel` fails the commit as `failOnFinalize` does. */
  readonly heartbeat?: H | undefined
}

/** What to do where the spend of a body that succeeded could not be charged for sure. */
export type OnUnsettled =
  /** Nothing: the settlement says so. The default. */
  | "report"
  /** Fail with `Unsettled`, which holds the settlement. */
  | "fail"

/** What `withCycles` takes, besides the actual amount. */
export interface Fixed<
  Args extends ReadonlyArray<unknown>,
  A = unknown,
  H = Policy,
  U = OnUnsettled,
  K = Given<string, Args>
> extends LeaseOptions {
  /** What is done: kind as in `llm.completion` (at most 64 characters), name as in `openai:gpt-5` (at most 256). */
  readonly action: Given<Action, Args>
  /** How much to hold, fixed or from the arguments of the guarded function. */
  readonly estimate: Given<Amount, Args>
  /** What was spent. Without it, what was recorded is charged, or else the estimate, marked as such. */
  readonly actual?: Amount | undefined
  readonly subject?: Given<Subject, Args> | undefined
  /** A key of the caller's own; see `ReserveOptions`. */
  readonly idempotencyKey?: K | undefined
  /** JSON, kept with the reservation. */
  readonly metadata?: Given<Metadata, Args> | undefined
  /** What is told with the commit, fixed or from the result. The latency is told in any case. */
  readonly metrics?: Metrics | ((result: A) => Metrics) | undefined
  /** What happens when the lease can't be kept. Default `warn`. */
  readonly heartbeat?: H | undefined
  /** What to do where the spend could not be charged for sure. Default `report`. */
  readonly onUnsettled?: U | undefined
}

/** What `withCycles` takes where the result tells the actual amount. */
export interface Measured<
  A,
  Args extends ReadonlyArray<unknown>,
  H = Policy,
  U = OnUnsettled,
  K = Given<string, Args>
> extends Omit<Fixed<Args, A, H, U, K>, "actual"> {
  /** What was spent, from the result. What it throws surfaces as a defect, after the estimate has been charged. */
  readonly actual: (result: A) => Amount
}

/** What `withCyclesStream` takes. */
export interface StreamOptions<A, H = Policy, K = string> extends LeaseOptions {
  readonly action: Action
  /** How much to hold. */
  readonly estimate: Amount
  /**
   * What one element cost; nothing where it cost nothing. The amounts add up, in one unit: that of the estimate, unless
   * `cost` turns it into that. A stream of which no element cost anything gives its budget back.
   */
  readonly usage?: ((element: A) => Amount | undefined) | undefined
  /**
   * What the whole stream cost, from its last element: replaces the sum, where it tells an amount. Where it tells none and
   * there is no sum, the estimate is charged.
   */
  readonly finalUsage?: ((last: A) => Amount | undefined) | undefined
  /** From what was used to what it costs, where the units differ: tokens into money, say. */
  readonly cost?: ((used: Amount) => Amount) | undefined
  readonly subject?: Subject | undefined
  readonly idempotencyKey?: K | undefined
  readonly metadata?: Metadata | undefined
  readonly heartbeat?: H | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// what the options rule out
// ---------------------------------------------------------------------------------------------------------------------

/** `LeaseLost`, where the heartbeat's policy makes it possible. */
export type LeaseErrors<H> = [H] extends ["warn"] ? never : LeaseLost

/** `AlreadySettled`, where the caller brings a key of its own. */
export type KeyErrors<K> = [K] extends [never] ? never : AlreadySettled

/** `Unsettled`, where it is asked for. */
export type SettlementErrors<U> = [U] extends ["report"] ? never : Unsettled
