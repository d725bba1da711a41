/**
 * The reservation of a guarded body, and the handle that `Cycles.reserve` returns.
 *
 * A guard provides the `Reservation` service and removes it from `R`, so a body that requires it doesn't compile
 * outside a guard.
 *
 * **Example** (Recording spend while the body runs)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles, Reservation } from "effect-cycles"
 *
 * const research = Effect.gen(function* () {
 *   const canSearch = yield* Reservation.isToolAllowed("web.search")
 *   yield* Reservation.add(Amount.tokens(120))
 *   if (!canSearch) return "No search"
 *   yield* Reservation.add(Amount.tokens(380))
 *   return "Done"
 * })
 *
 * export const program = research.pipe(
 *   Cycles.withCycles({
 *     action: { kind: "agent.step", name: "research" },
 *     estimate: Amount.tokens(1_000)
 *   })
 * )
 * ```
 *
 * @see ReservationCreateResponse and Caps of the protocol
 * @since 0.1.0
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

/**
 * JSON that the server stores with a reservation, a commit or an event.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = { readonly [key: string]: Schema.Json }

/**
 * The reservation of a guarded body.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reservation {
  /** Identifies the service. */
  readonly [TypeId]: typeof TypeId
  /** The server's id of the reservation. Absent if nothing is reserved: in a dry run and in shadow mode. */
  readonly id: ReservationId | undefined
  /** The idempotency key of the reserve. */
  readonly idempotencyKey: IdempotencyKey
  /** `ALLOW` or `ALLOW_WITH_CAPS`. Decisions that this version doesn't know are kept as text. */
  readonly decision: Decision
  /** The limits that the body must respect. Only with `ALLOW_WITH_CAPS`. */
  readonly caps: Caps | undefined
  /** The action of the guard. */
  readonly action: Action
  /** The merged subject of the guard. */
  readonly subject: Subject
  /** The reserved amount. */
  readonly estimate: Amount
  /** The scopes in which the estimate is reserved, from the tenant down. */
  readonly scopes: ReadonlyArray<string>
  /** The balances of these scopes after the reserve, if the server reported them. */
  readonly balances: ReadonlyArray<Balance>
  /** Whether the caps allow a tool. Names are case-sensitive. */
  readonly isToolAllowed: (name: string) => boolean
  /**
   * The total that has been recorded so far. None if nothing was recorded. It includes the spend of guards that joined
   * this one and have ended.
   */
  readonly recorded: Effect.Effect<Option.Option<Recorded>>
  /**
   * Sets the total that has been spent so far. The total is settled, regardless of how the body ends.
   *
   * **Details**
   *
   * - Fails with `UnitMismatch` if the unit differs from that of the estimate. The estimate is then committed, unless the
   *   program commits an amount itself or the guard has the option `actual`.
   * - With `onCrash`, it returns after the new total is durable, or after 2 s.
   * - After the settlement, the part above the settled amount is charged as an event, and a warning is logged.
   */
  readonly record: (options: RecordOptions) => Effect.Effect<void, UnitMismatch>
  /** Adds to the total that has been spent so far. Otherwise the same as `record`. */
  readonly add: (amount: Amount) => Effect.Effect<void, UnitMismatch>
}

/**
 * The total that has been recorded so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded {
  /** The total, in the unit of the estimate. */
  readonly actual: Amount
  /** Whether the amount is an estimate. */
  readonly isEstimated: boolean
}

/**
 * The spend to record.
 *
 * @category options
 * @since 0.1.0
 */
export interface RecordOptions<U extends Unit = Unit> {
  /** The total so far, in the unit of the estimate. */
  readonly actual: Amount<U>
  /** Whether the amount is an estimate. It is committed, and marked as an estimate. Default false. */
  readonly isEstimated?: boolean | undefined
  /** Metrics, merged field by field with the metrics recorded before. */
  readonly metrics?: Metrics | undefined
}

/**
 * The spend to commit.
 *
 * @category options
 * @since 0.1.0
 */
export interface CommitOptions<U extends Unit = Unit> extends RecordOptions<U> {
  /** JSON that the server stores with the commit. */
  readonly metadata?: Metadata | undefined
}

/**
 * A reservation that the program settles itself, as `Cycles.reserve` returns it. If the program doesn't settle it,
 * closing its scope does.
 *
 * `U` is the unit of the estimate. `E` is `LeaseLost` with the heartbeat policies `failOnFinalize` and `cancel`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Active<in out U extends Unit = Unit, out E = never> extends Reservation {
  /** The reserved amount. */
  readonly estimate: Amount<U>
  /**
   * Charges the actual amount and returns the rest of the estimate. How long it waits depends on the option `settle`.
   *
   * **Details**
   *
   * - An amount below the recorded total doesn't reduce it: the total is charged, and a warning is logged. `record` corrects
   *   a total. A total that was recorded as an estimate is replaced.
   * - Fails with `AlreadySettled` if the reservation is already settled.
   * - Fails with `InvalidRequest` if metrics or metadata are invalid, and with `UnitMismatch` if the unit, known only
   *   at run time, differs. Closing the scope then commits the amount, or the estimate if the amount isn't usable.
   * - Fails with `LeaseLost`, after the settlement, if the lease was lost.
   *
   * @see commitReservation of the protocol
   */
  readonly commit: (
    options: CommitOptions<U>
  ) => Effect.Effect<Settlement, AlreadySettled | InvalidRequest | (string extends U ? UnitMismatch : never) | E>
  /**
   * Returns the whole estimate. `reason` is truncated to 256 characters; don't include user content.
   *
   * @see releaseReservation of the protocol
   */
  readonly release: (reason?: string) => Effect.Effect<Settlement, AlreadySettled>
  /**
   * Extends the lease by 1 ms to 24 h, in addition to the heartbeat.
   *
   * @see extendReservation of the protocol
   */
  readonly extend: (by: Duration.Input) => Effect.Effect<void, AlreadySettled | CyclesError>
  /**
   * Fails with `LeaseLost` when the lease is lost, if the heartbeat policy is `cancel`. Otherwise it never completes.
   * `Cycles.reserve` doesn't interrupt the program: race the program with this effect to stop it.
   */
  readonly untilLost: Effect.Effect<never, E>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The service tag of the reservation of the innermost guard.
 *
 * @category services
 * @since 0.1.0
 */
export const Reservation: Context.Service<Reservation, Reservation> = Context.Service("effect-cycles/Reservation")

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Sets the total that has been spent so far, in the innermost guard. See `Reservation.record`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const record = (options: RecordOptions): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.record(options))

/**
 * Adds to the total that has been spent so far, in the innermost guard. See `Reservation.add`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const add = (amount: Amount): Effect.Effect<void, UnitMismatch, Reservation> =>
  Effect.flatMap(Reservation, (reservation) => reservation.add(amount))

/**
 * The caps of the innermost guard; `undefined` if it has none.
 *
 * @category accessors
 * @since 0.1.0
 */
export const caps: Effect.Effect<Caps | undefined, never, Reservation> = Effect.map(Reservation, (_) => _.caps)

/**
 * Whether the caps of the innermost guard allow a tool.
 *
 * @category accessors
 * @since 0.1.0
 */
export const isToolAllowed = (name: string): Effect.Effect<boolean, never, Reservation> =>
  Effect.map(Reservation, (reservation) => reservation.isToolAllowed(name))

/**
 * The reservation of the innermost guard, if there is one. For code that also runs without a guard.
 *
 * @category accessors
 * @since 0.1.0
 */
export const current: Effect.Effect<Option.Option<Reservation>> = Effect.serviceOption(Reservation)
