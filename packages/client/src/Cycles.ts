/**
 * Hard budgets for calls that cost money: guard an effect or a stream, and it runs only if the budget allows it, keeps its
 * estimate reserved while it runs, and is charged for what it really cost, however it ends.
 *
 * **Details**
 *
 * What goes wrong after the body has run isn't an error of the body. It is in the `Settlement`, which `onSettled` and the
 * stream `settlements` report.
 *
 * @example
 * ```ts
 * const reply = callModel("Hello").pipe(
 *   Cycles.withCycles({
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: Amount.tokens(1000),
 *     actual: (reply) => Amount.tokens(reply.usage.total)
 *   })
 * )
 * ```
 *
 * @see reserve, commit, release, extend, decide, event and balances of the protocol
 */
import type { Unit } from "@effect-cycles/protocol/Amount"
import type { Balance, BalanceQuery } from "@effect-cycles/protocol/Balance"
import type { DecisionResponse } from "@effect-cycles/protocol/Decision"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesClient, Response } from "./CyclesClient.ts"
import * as Client from "./CyclesClient.ts"
import type { CyclesConfig } from "./CyclesConfig.ts"
import * as ConfigModule from "./CyclesConfig.ts"
import type { AlreadySettled, CyclesError } from "./CyclesError.ts"
import type { CyclesTransport } from "./CyclesTransport.ts"
import type { Heartbeat, LeaseLost } from "./Heartbeat.ts"
import { guard as guardEffect } from "./internal/guard/effect.ts"
import { activeOf, reserve as reserveScoped } from "./internal/guard/scoped.ts"
import * as Service from "./internal/guard/service.ts"
import { guard as guardStream } from "./internal/guard/stream.ts"
import { fromSender } from "./internal/protocol/client.ts"
import type {
  CostOf,
  DecideOptions,
  EventOptions,
  FlushResult,
  GuardOptions,
  Handed,
  KeyErrors,
  LeaseErrors,
  ReserveOptions,
  SettlementErrors,
  StreamOptions
} from "./internal/models/guardOptions.ts"
import type { Engine } from "./internal/reservation/engine.ts"
import { layerHeaderNames } from "./internal/transport/redact.ts"
import type { Active, Reservation } from "./Reservation.ts"
import type { SettlementEvent, Unsettled } from "./Settlement.ts"
import type { DeadLetter, JournalError } from "./SettlementJournal.ts"
import type { SettlementJournal } from "./SettlementJournal.ts"

export {
  /** See `Subject.withSubject`. */
  withSubject
} from "./Subject.ts"

export {
  /** See `CyclesError.orElseDenied`. */
  orElseDenied
} from "./CyclesError.ts"

export type {
  DecideOptions,
  EventOptions,
  FlushResult,
  GuardOptions,
  LeaseOptions,
  ReserveOptions,
  StreamOptions
} from "./internal/models/guardOptions.ts"

export type {
  /** See `Heartbeat.Heartbeat`. */
  Heartbeat
} from "./Heartbeat.ts"

export type {
  /** See `Reservation.Metadata`. */
  Metadata
} from "./Reservation.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Makes idempotency keys. */
export type IdempotencyKeyGenerator = () => string

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

const TypeId = "~effect-cycles/Cycles"

/** The service behind the functions of this module. */
export interface Cycles {
  readonly [TypeId]: typeof TypeId
  readonly withCycles: <A, E, R, Args extends ReadonlyArray<unknown>, U extends Unit, R2>(
    self: Effect.Effect<A, E, R>,
    options: GuardOptions<A, Args, U, Heartbeat, "report" | "fail", string, R2>,
    args: Handed<Args>
  ) => Effect.Effect<A, E | CyclesError | AlreadySettled | LeaseLost | Unsettled, Exclude<R, Reservation> | R2>
  readonly withCyclesStream: <A, E, R, U extends Unit, V extends Unit, R2>(
    self: Stream.Stream<A, E, R>,
    options: StreamOptions<A, U, V, Heartbeat, string, R2>
  ) => Stream.Stream<A, E | CyclesError | AlreadySettled | LeaseLost, Exclude<R, Reservation> | R2>
  readonly reserve: <U extends Unit, R2>(
    options: ReserveOptions<U, Heartbeat, string, R2>
  ) => Effect.Effect<Active<U, LeaseLost>, CyclesError | AlreadySettled, Scope.Scope | R2>
  readonly decide: (options: DecideOptions) => Effect.Effect<Response<DecisionResponse>, CyclesError>
  readonly event: (options: EventOptions) => Effect.Effect<Response<EventCreateResponse>, CyclesError>
  readonly balances: (query?: BalanceQuery) => Stream.Stream<Balance, CyclesError>
  readonly flush: (timeout?: Duration.Input) => Effect.Effect<FlushResult>
  readonly settlements: Stream.Stream<SettlementEvent>
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
}

/** The service behind the functions of this module. */
export const Cycles: Context.Service<Cycles, Cycles> = Context.Service("effect-cycles/Cycles")

/** Makes idempotency keys: a random UUID from a secure source, unless a test replaces it. */
export const IdempotencyKeyGenerator: Context.Reference<IdempotencyKeyGenerator> = Service.KeyGenerator

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the service over a transport and a journal. Closing the scope tries open settlements once more and waits for them,
 * at most for `flushTimeout`; the rest stays in the journal. Throws a `RangeError` that names every option out of range.
 */
export const make = (
  config: CyclesConfig
): Effect.Effect<Cycles, never, CyclesTransport | SettlementJournal | Scope.Scope> =>
  Effect.map(
    Effect.suspend(() => Service.make(config)),
    fromEngine
  )

const fromEngine = (engine: Engine): Cycles =>
  Cycles.of({
    [TypeId]: TypeId,
    withCycles: (self, options, args) => guardEffect(engine, self, options, args),
    withCyclesStream: (self, options) => guardStream(engine, self, options),
    reserve: (options) =>
      Effect.map(reserveScoped(engine, options), (scoped) => activeOf(engine, scoped, options.estimate)),
    decide: (options) => Service.decide(engine, options),
    event: (options) => Service.event(engine, options),
    balances: (query) => Service.balances(engine, query),
    flush: (timeout) => Service.flush(engine, timeout),
    settlements: engine.settlements,
    deadLetters: engine.outbox.deadLetters
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** The service and a `CyclesClient` over the same connection. */
export const layer = (
  config: CyclesConfig
): Layer.Layer<Cycles | CyclesClient, never, CyclesTransport | SettlementJournal> =>
  Layer.merge(
    Layer.effectContext(
      Effect.map(
        Effect.suspend(() => Service.make(config)),
        (engine) =>
          Context.make(Cycles, fromEngine(engine)).pipe(
            Context.add(Client.CyclesClient, fromSender(engine.config.baseUrl, engine.sender))
          )
      )
    ),
    layerHeaderNames
  )

/**
 * The service as the environment configures it; see `CyclesConfig.config` for the variables. With an argument, each field is
 * a value or a `Config`.
 */
export const layerConfig = (
  config?: Config.Wrap<CyclesConfig>
): Layer.Layer<Cycles | CyclesClient, Config.ConfigError, CyclesTransport | SettlementJournal> =>
  Layer.unwrap(Effect.map(config === undefined ? ConfigModule.config : Config.unwrap(config), layer))

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards an effect: reserves the estimate, runs the body, commits what it cost.
 *
 * **Details**
 *
 * - A denial: the body never starts, and the result is `BudgetExceeded`.
 * - Success: `actual` is committed, or else the recorded total, or else the estimate.
 * - Failure, defect or interrupt: the recorded total is committed and the rest returned, by the policy `onFailure`. The
 *   cause of the body stays what it is.
 *
 * The body can use its `Reservation`. Inside `Effect.fn` the options may be functions of the arguments.
 *
 * @see reserve, commit and release of the protocol
 */
export function withCycles<
  A,
  Args extends ReadonlyArray<unknown> = [],
  U extends Unit = Unit,
  const H extends Heartbeat = "warn",
  const S extends "report" | "fail" = "report",
  const K extends string = never,
  R2 = never
>(
  options: GuardOptions<A, Args, U, H, S, K, R2>
): <B, E, R>(
  self: Effect.Effect<A, E, R> & Effect.Effect<B, E, R>,
  ...args: Args
) => Effect.Effect<
  B,
  E | CyclesError | LeaseErrors<H> | SettlementErrors<S> | KeyErrors<K>,
  Exclude<R, Reservation> | Cycles | R2
>
export function withCycles<
  A,
  E,
  R,
  U extends Unit = Unit,
  const H extends Heartbeat = "warn",
  const S extends "report" | "fail" = "report",
  const K extends string = never,
  R2 = never
>(
  self: Effect.Effect<A, E, R>,
  options: GuardOptions<A, [], U, H, S, K, R2>
): Effect.Effect<
  A,
  E | CyclesError | LeaseErrors<H> | SettlementErrors<S> | KeyErrors<K>,
  Exclude<R, Reservation> | Cycles | R2
>
export function withCycles<A, E, R, Args extends ReadonlyArray<unknown>, U extends Unit, R2>(
  first: Effect.Effect<A, E, R> | GuardOptions<A, Args, U, Heartbeat, "report" | "fail", string, R2>,
  second?: GuardOptions<A, [], U, Heartbeat, "report" | "fail", string, R2>
): unknown {
  if (Effect.isEffect(first)) {
    return second === undefined ? undefined : Effect.flatMap(Cycles, (cycles) => cycles.withCycles(first, second, []))
  }
  return (self: Effect.Effect<A, E, R>, ...args: Handed<Args>) =>
    Effect.flatMap(Cycles, (cycles) => cycles.withCycles(self, first, args))
}

/**
 * Guards a stream: reserves the estimate when it is run, counts its usage, and commits that however it ends.
 *
 * **Details**
 *
 * Its end, an early `take`, a failure and an interrupt commit what was produced until then and return the rest. Chunks and
 * back-pressure stay as they are.
 *
 * @see reserve and commit of the protocol
 */
export function withCyclesStream<
  A,
  U extends Unit = Unit,
  V extends Unit = U,
  const H extends Heartbeat = "warn",
  const K extends string = never,
  R2 = never
>(
  options: StreamOptions<A, U, V, H, K, R2> & CostOf<NoInfer<U>, NoInfer<V>>
): <B, E, R>(
  self: Stream.Stream<A, E, R> & Stream.Stream<B, E, R>
) => Stream.Stream<B, E | CyclesError | LeaseErrors<H> | KeyErrors<K>, Exclude<R, Reservation> | Cycles | R2>
export function withCyclesStream<
  A,
  E,
  R,
  U extends Unit = Unit,
  V extends Unit = U,
  const H extends Heartbeat = "warn",
  const K extends string = never,
  R2 = never
>(
  self: Stream.Stream<A, E, R>,
  options: StreamOptions<A, U, V, H, K, R2> & CostOf<NoInfer<U>, NoInfer<V>>
): Stream.Stream<A, E | CyclesError | LeaseErrors<H> | KeyErrors<K>, Exclude<R, Reservation> | Cycles | R2>
export function withCyclesStream<A, E, R, U extends Unit, V extends Unit, R2>(
  first: Stream.Stream<A, E, R> | StreamOptions<A, U, V, Heartbeat, string, R2>,
  second?: StreamOptions<A, U, V, Heartbeat, string, R2>
): unknown {
  const guard = (self: Stream.Stream<A, E, R>, options: StreamOptions<A, U, V, Heartbeat, string, R2>) =>
    Stream.unwrap(Effect.map(Cycles, (cycles) => cycles.withCyclesStream(self, options)))
  if (Stream.isStream(first)) return second === undefined ? undefined : guard(first, second)
  return (self: Stream.Stream<A, E, R>) => guard(self, first)
}

/**
 * Reserves by hand, in a scope. The handle commits, releases and extends; what the program doesn't settle is settled by the
 * scope, from what was recorded.
 *
 * @see reserve of the protocol
 */
export function reserve<
  U extends Unit = Unit,
  const H extends Heartbeat = "warn",
  const K extends string = never,
  R2 = never
>(
  options: ReserveOptions<U, H, K, R2>
): Effect.Effect<Active<U, LeaseErrors<H>>, CyclesError | KeyErrors<K>, Cycles | Scope.Scope | R2>
export function reserve<U extends Unit, R2>(options: ReserveOptions<U, Heartbeat, string, R2>): unknown {
  return Effect.flatMap(Cycles, (cycles) => cycles.reserve(options))
}

/** Asks what a reserve would return now. A denial is a response, not an error; nothing is reserved. */
export const decide = (options: DecideOptions): Effect.Effect<Response<DecisionResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.decide(options))

/**
 * Charges spend that was never reserved. After an ambiguous response it is repeated once with the same key. Running it
 * again charges again, unless `idempotencyKey` is the same.
 */
export const event = (options: EventOptions): Effect.Effect<Response<EventCreateResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.event(options))

/** The balances of the ambient subject, all pages. Keep it out of the path of a call: on a large store it takes seconds. */
export const balances = (query?: BalanceQuery): Stream.Stream<Balance, CyclesError, Cycles> =>
  Stream.unwrap(Effect.map(Cycles, (cycles) => cycles.balances(query)))

/** Tries every open settlement now, at most for the given time, 0 to 1 h. Default: `flushTimeout`. */
export const flush = (timeout?: Duration.Input): Effect.Effect<FlushResult, never, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.flush(timeout))

/** Every settlement from now on, those of the background and of the journal included. Slow readers lose the oldest. */
export const settlements: Stream.Stream<SettlementEvent, never, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.settlements)
)

/** Spend that could never be charged, as the journal keeps it. */
export const deadLetters: Stream.Stream<DeadLetter, JournalError, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.deadLetters)
)
