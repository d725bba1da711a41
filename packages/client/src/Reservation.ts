/**
 * The reservation that a guarded body runs under, and the larger handle that `Cycles.reserve` returns.
 *
 * A guard provides `Reservation` and removes it from `R`, so a body that needs it doesn't compile outside a guard.
 *
 * @see ReservationCreateResponse and Caps of the protocol
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, Unit, UnitMismatch } from "@effect-cycles/protocol/Amount"
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
import type * as Schema from "effect/Schema"
import type { AlreadySettled, CyclesError, InvalidRequest } from "./CyclesError.ts"
import type { Settlement } from "./Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const TypeId = "~effect-cycles/Reservation"

/** JSON that is stored with a reservation, a commit or an event. */
export type Metadata = { readonly [key: string]: Schema.Json }

/** A reservation as a guarded body sees it. */
export interface Reservation {
  readonly [TypeId]: typeof TypeId
  /** Absent in a dry run, which reserves nothing. */
  readonly id: ReservationId | undefined
  readonly idempotencyKey: IdempotencyKey
  /** `ALLOW` or `ALLOW_WITH_CAPS`; a decision that this version doesn't know is carried as it is. */
  readonly decision: Decision
  /** The limits that the call must obey; only with `ALLOW_WITH_CAPS`. */
  readonly caps: Caps | undefined
  readonly action: Action
  readonly subject: Subject
  /** The reserved amount. */
  readonly estimate: Amount
  /** The scopes that hold the estimate, from the tenant down. */
  readonly scopes: ReadonlyArray<string>
  /** The balances of these scopes after the reservation, if the server reported them. */
  readonly balances: ReadonlyArray<Balance>
  /** Whether the caps allow a tool. Names are case-sensitive. */
  readonly isToolAllowed: (name: string) => boolean
  /**
   * Sets the total that has been spent so far. It is charged however the body ends.
   *
   * **Details**
   *
   * - Fails with `UnitMismatch` if the unit isn't that of the estimate; the estimate is then charged.
   * - With `onCrash`, it returns when the new total is durable (at most 2 s).
   * - After the settlement, the part above the settled amount is charged as an event, with a warning.
   */
  readonly record: (options: RecordOptions) => Effect.Effect<void, UnitMismatch>
  /** Adds to the total that has been spent so far; otherwise as `record`. */
  readonly add: (amount: Amount) => Effect.Effect<void, UnitMismatch>
}

/** The total that has been spent so far. */
export interface RecordOptions<U extends Unit = Unit> {
  /** The total, in the unit of the estimate. */
  readonly actual: Amount<U>
  /** Whether the amount is itself an estimate; it is charged and marked as such. Default false. */
  readonly isEstimated?: boolean | undefined
  /** Merged field by field with the metrics recorded before. */
  readonly metrics?: Metrics | undefined
}

/** The spend to commit. */
export interface CommitOptions<U extends Unit = Unit> extends RecordOptions<U> {
  /** JSON, stored with the commit. */
  readonly metadata?: Metadata | undefined
}

/**
 * A reservation held by hand, as `Cycles.reserve` returns it. Its scope settles what the program doesn't. `U` is the unit
 * of the estimate; `E` is `LeaseLost` under the stricter heartbeat policies.
 */
export interface Active<in out U extends Unit = Unit, out E = never> extends Reservation {
  readonly estimate: Amount<U>
  /**
   * Charges the spend and returns the rest of the estimate. Waits as the option `settle` says.
   *
   * **Details**
   *
   * - Fails with `AlreadySettled` if the reservation has been settled.
   * - Fails with `InvalidRequest` if metrics or metadata can't be sent, and with `UnitMismatch` if the unit is known only
   *   at run time and differs. The scope then charges the amount, or the estimate if no amount is usable.
   * - Fails with `LeaseLost` after the settlement, if the lease was lost before it.
   */
  readonly commit: (
    options: CommitOptions<U>
  ) => Effect.Effect<Settlement, AlreadySettled | InvalidRequest | (string extends U ? UnitMismatch : never) | E>
  /** Returns the whole estimate. `reason` has at most 256 characters; don't put user content into it. */
  readonly release: (reason?: string) => Effect.Effect<Settlement, AlreadySettled>
  /** Extends the lease by hand, by 1 ms to 24 h. The heartbeat already does it. */
  readonly extend: (by: Duration.Input) => Effect.Effect<void, AlreadySettled | CyclesError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The reservation of the innermost guard around this effect. */
export const Reservation: Context.Service<Reservation, Reservation> = Context.Service("effect-cycles/Reservation")

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Sets the total that has been spent so far, in the guard around this effect. See `Reservation.record`. */
export const record = (options: RecordOptions): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.record(options))

/** Adds to the total that has been spent so far, in the guard around this effect. */
export const add = (amount: Amount): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.add(amount))

/** The caps that the call must obey, if there are any. */
export const caps: Effect.Effect<Caps | undefined, never, Reservation> = Effect.map(Reservation, (_) => _.caps)

/** Whether the caps of the guard around this effect allow a tool. */
export const isToolAllowed = (name: string): Effect.Effect<boolean, never, Reservation> =>
  Effect.map(Reservation, (reservation) => reservation.isToolAllowed(name))

/** The reservation around this effect, if there is one: for code that also runs without a guard. */
export const current: Effect.Effect<Option.Option<Reservation>> = Effect.serviceOption(Reservation)
