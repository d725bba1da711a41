/** The service `Cycles`, which runs with `hold` need as well. */
import type { Unit } from "@effect-cycles/protocol/Amount"
import type { Balance, BalanceQuery } from "@effect-cycles/protocol/Balance"
import type { DecisionResponse } from "@effect-cycles/protocol/Decision"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Response } from "../../CyclesClient.ts"
import type { Mode } from "../../CyclesConfig.ts"
import type { AlreadySettled, CyclesError } from "../../CyclesError.ts"
import type { Heartbeat, LeaseLost } from "../../Heartbeat.ts"
import type { Active, Reservation } from "../../Reservation.ts"
import type { SettlementEvent, Unsettled } from "../../Settlement.ts"
import type { DeadLetter, JournalError } from "../../SettlementJournal.ts"
import type {
  DecideOptions,
  EventOptions,
  FixedArgs,
  FlushResult,
  GuardOptions,
  ReserveOptions,
  StreamOptions
} from "../models/guardOptions.ts"

/** Identifies the service. */
export const TypeId = "~effect-cycles/Cycles"

/**
 * The guards, reservations and settlements of one client. The functions of this module are accessors of this service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cycles {
  /** Identifies the service. */
  readonly [TypeId]: typeof TypeId
  /** Whether calls are denied and charged, or only checked. See `CyclesConfig.mode`. */
  readonly mode: Mode
  /** Guards an effect. `args` are the arguments that the functions in the options receive. See `withCycles`. */
  readonly withCycles: <A, E, R, Args extends ReadonlyArray<unknown>, U extends Unit, R2>(
    self: Effect.Effect<A, E, R>,
    options: GuardOptions<A, Args, U, Heartbeat, "report" | "fail", string, R2>,
    args: FixedArgs<Args>
  ) => Effect.Effect<A, E | CyclesError | AlreadySettled | LeaseLost | Unsettled, Exclude<R, Reservation> | R2>
  /** Guards a stream. See `withCyclesStream`. */
  readonly withCyclesStream: <A, E, R, U extends Unit, V extends Unit, R2>(
    self: Stream.Stream<A, E, R>,
    options: StreamOptions<A, U, V, Heartbeat, string, R2>
  ) => Stream.Stream<A, E | CyclesError | AlreadySettled | LeaseLost, Exclude<R, Reservation> | R2>
  /** Reserves an estimate in a scope. See `reserve`. */
  readonly reserve: <U extends Unit, R2>(
    options: ReserveOptions<U, Heartbeat, string, R2>
  ) => Effect.Effect<Active<U, LeaseLost>, CyclesError | AlreadySettled, Scope.Scope | R2>
  /** Returns the decision that a reserve would get. See `decide`. */
  readonly decide: (options: DecideOptions) => Effect.Effect<Response<DecisionResponse>, CyclesError>
  /** Charges spend without a reservation. See `event`. */
  readonly event: (options: EventOptions) => Effect.Effect<Response<EventCreateResponse>, CyclesError>
  /** Reads balances, all pages. See `balances`. */
  readonly balances: (query?: BalanceQuery) => Stream.Stream<Balance, CyclesError>
  /** Retries every open settlement now. See `flush`. */
  readonly flush: (timeout?: Duration.Input) => Effect.Effect<FlushResult>
  /** Emits every settlement from now on. See `settlements`. */
  readonly settlements: Stream.Stream<SettlementEvent>
  /** Emits spend that could not be charged. See `deadLetters`. */
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
}

/**
 * The service tag of `Cycles`.
 *
 * @category services
 * @since 0.1.0
 */
export const Cycles: Context.Service<Cycles, Cycles> = Context.Service("effect-cycles/Cycles")
