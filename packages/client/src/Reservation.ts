/**
 * What a guarded body knows of its reservation, and the larger handle of one that is held by hand.
 *
 * A guard provides `Reservation` and removes it from `R`: a body that asks for it outside a guard doesn't compile, and
 * since it has no `commit`, a second commit can't be written.
 *
 * Source: ReservationCreateResponse and Caps.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, UnitMismatch } from "@effect-cycles/protocol/Amount"
import type { Balance } from "@effect-cycles/protocol/Balance"
import type { Caps } from "@effect-cycles/protocol/Caps"
import type { Decision } from "@effect-cycles/protocol/Decision"
import type { IdempotencyKey, ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { AlreadySettled, CyclesError, InvalidRequest } from "./CyclesError.ts"
import type { Metadata } from "./GuardOptions.ts"
import type { Settlement } from "./Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation as a guarded body sees it. */
export interface Shape {
  /** Absent in a dry run, which reserves nothing. */
  readonly id: ReservationId | undefined
  readonly idempotencyKey: IdempotencyKey
  /** `ALLOW` or `ALLOW_WITH_CAPS`; a decision that this version doesn't know is carried as it is. */
  readonly decision: Decision
  /** What the act has to keep to; only there when the decision is `ALLOW_WITH_CAPS`. */
  readonly caps: Caps | undefined
  readonly action: Action
  readonly subject: Subject
  readonly estimate: Amount
  /** The scopes that hold the estimate, from the tenant downwards. */
  readonly scopes: ReadonlyArray<string>
  /** The balances of these scopes as they were after the reservation, where the server told. */
  readonly balances: ReadonlyArray<Balance>
  /** Whether a tool may be used, by the caps. Names are case-sensitive. */
  readonly isToolAllowed: (name: string) => boolean
  /**
   * Sets what has been spent so far, in total. From then on this much is charged, however the body ends.
   *
   * Fails with `UnitMismatch` when the unit isn't that of the estimate; the estimate is then charged, since something
   * was spent.
   */
  readonly record: (options: RecordOptions) => Effect.Effect<void, UnitMismatch>
  /** Adds to what has been spent so far. */
  readonly add: (amount: Amount) => Effect.Effect<void, UnitMismatch>
}

/** What has been spent so far. */
export interface RecordOptions {
  /** The total, in the unit of the estimate. */
  readonly actual: Amount
  /** Whether the amount is an estimate of the caller's, and charged as such. Default false. */
  readonly isEstimated?: boolean | undefined
  readonly metrics?: Metrics | undefined
}

/** What is committed. */
export interface CommitOptions {
  /** What was spent, in the unit of the estimate. */
  readonly actual: Amount
  /** Whether the amount is an estimate of the caller's, and charged as such. Default false. */
  readonly isEstimated?: boolean | undefined
  readonly metrics?: Metrics | undefined
  /** JSON, kept with the reservation. */
  readonly metadata?: Metadata | undefined
}

/** A reservation that is held by hand, as `Cycles.reserve` returns it. The scope settles what was not settled. */
export interface Active<E = never> extends Shape {
  /**
   * Charges what was spent and gives the rest back. It waits as the option `settle` says.
   *
   * Fails with `LeaseLost` under the stricter heartbeat policies, after the settlement; with `AlreadySettled` when the reservation has been settled, with `InvalidRequest` or `UnitMismatch` when the
   * spend can't be sent as it is; in the last two cases the amount, or else the estimate, is charged by the scope.
   */
  readonly commit: (
    options: CommitOptions
  ) => Effect.Effect<Settlement, AlreadySettled | InvalidRequest | UnitMismatch | E>
  /** Gives everything back. `reason` has at most 256 characters; put no content of the user's into it. */
  readonly release: (reason?: string) => Effect.Effect<Settlement, AlreadySettled>
  /** Lengthens the lease by hand, 1 ms to 24 h. The heartbeat does it already. */
  readonly extend: (by: Duration.Input) => Effect.Effect<void, AlreadySettled | CyclesError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The reservation of the guard around this effect. */
export class Reservation extends Context.Service<Reservation, Shape>()("effect-cycles/Reservation") {}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Sets what has been spent so far, in total, in the guard around this effect. */
export const record = (options: RecordOptions): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.record(options))

/** Adds to what has been spent so far, in the guard around this effect. */
export const add = (amount: Amount): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.add(amount))

/** The caps that the act has to keep to, if there are any. */
export const caps: Effect.Effect<Caps | undefined, never, Reservation> = Effect.map(Reservation, (_) => _.caps)

/** Whether a tool may be used, by the caps of the guard around this effect. */
export const isToolAllowed = (name: string): Effect.Effect<boolean, never, Reservation> =>
  Effect.map(Reservation, (reservation) => reservation.isToolAllowed(name))

/** The reservation around this effect, if there is one: for code that runs guarded and unguarded. */
export const current: Effect.Effect<Option.Option<Shape>> = Effect.serviceOption(Reservation)
