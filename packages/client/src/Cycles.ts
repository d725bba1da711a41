/**
 * Hard budgets for calls that cost money, enforced before the money is spent.
 *
 * A guard reserves an estimate, runs the effect or the stream only if the budget allows it, extends the lease of the
 * reservation while the body runs, and commits the actual cost. `withCycles` guards an effect, `withCyclesStream` a
 * stream, and `reserve` returns a reservation that the program commits or releases itself.
 *
 * **Details**
 *
 * - A denied reserve fails with `BudgetExceeded`, and the body doesn't start.
 * - Known spend is never released, except by the policy `onFailure: "release"`. If the body fails or is interrupted,
 *   the recorded amount is committed and the rest of the estimate is returned.
 * - Spend is journaled before it is committed. A commit that the server doesn't confirm is retried in the background,
 *   across restarts if the journal is durable.
 * - An error after the body has run isn't an error of the body. `onSettled` and `settlements` report it as a
 *   `Settlement`.
 *
 * **Gotchas**
 *
 * - `layer` needs a `CyclesTransport` and a `SettlementJournal`. On Node, Bun and Deno, `NodeCycles.layer` provides
 *   both.
 * - The server returns an unextended reservation to the budget when its lease ends. A process that is suspended for
 *   longer than `ttl` plus `gracePeriod` can no longer commit. Its spend is then charged as an event.
 *
 * **Example** (Guarding a model call)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 * import { NodeCycles } from "effect-cycles/node"
 *
 * const callModel = (prompt: string) => Effect.succeed({ text: `You said: ${prompt}`, tokens: 42 })
 *
 * export const program = callModel("Hello").pipe(
 *   Cycles.withCycles({
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: Amount.tokens(1_000),
 *     actual: (reply) => Amount.tokens(reply.tokens)
 *   }),
 *   Effect.catchTag("BudgetExceeded", (error) => Effect.succeed({ text: error.message, tokens: 0 })),
 *   Effect.provide(NodeCycles.layerConfig())
 * )
 * ```
 *
 * @see createReservation, commitReservation, releaseReservation, extendReservation, decide, createEvent and getBalances
 * of the protocol
 * @since 0.1.0
 */
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"
import type { Balance, BalanceQuery } from "@effect-cycles/protocol/Balance"
import type { DecisionResponse } from "@effect-cycles/protocol/Decision"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesClient, Response } from "./CyclesClient.ts"
import * as Client from "./CyclesClient.ts"
import type { CyclesConfig } from "./CyclesConfig.ts"
import * as ConfigModule from "./CyclesConfig.ts"
import type { CyclesError } from "./CyclesError.ts"
import type { CyclesTransport } from "./CyclesTransport.ts"
import type { Heartbeat } from "./Heartbeat.ts"
import * as Env from "./internal/config/env.ts"
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
  FixedArgs,
  KeyErrors,
  LeaseErrors,
  ReserveOptions,
  SettlementErrors,
  StreamOptions
} from "./internal/models/guardOptions.ts"
import type { Engine } from "./internal/reservation/engine.ts"
import { Cycles, TypeId } from "./internal/services/cycles.ts"
import { runInNew } from "./internal/services/openRun.ts"
import { layerHeaderNames } from "./internal/transport/redact.ts"
import type { Active, Reservation } from "./Reservation.ts"
import type * as Run from "./Run.ts"
import type { SettlementEvent } from "./Settlement.ts"
import type { DeadLetter, JournalError, SettlementJournal } from "./SettlementJournal.ts"

export {
  /** The guards, reservations and settlements of one client, and its service tag. */
  Cycles
} from "./internal/services/cycles.ts"

export {
  /** See `Subject.withSubject`. */
  withSubject
} from "./Subject.ts"

export {
  /** See `CyclesError.orElseDenied`. */
  orElseDenied
} from "./CyclesError.ts"

export {
  /** See `Pool.make`. */
  make as pool
} from "./Pool.ts"

export type {
  DecideOptions,
  EventOptions,
  FlushResult,
  GuardOptions,
  LeaseOptions,
  OnRepeat,
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

/**
 * Returns a new idempotency key, 1 to 256 characters, for each call.
 *
 * @category models
 * @since 0.1.0
 */
export type IdempotencyKeyGenerator = () => string

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The generator of idempotency keys. Default: a random UUID from a secure source.
 *
 * **Gotchas**
 *
 * Replace it in tests only. Two calls with the same key are one call for the server: the second one returns the
 * response to the first, or fails with IDEMPOTENCY_MISMATCH if its request differs.
 *
 * @category references
 * @since 0.1.0
 */
export const IdempotencyKeyGenerator: Context.Reference<IdempotencyKeyGenerator> = Service.KeyGenerator

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the service from a transport and a journal.
 *
 * **Details**
 *
 * Closing the scope retries the open settlements once and waits up to `flushTimeout` for them. Settlements that are
 * still open stay in the journal.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` if an option is out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  config: CyclesConfig
): Effect.Effect<Cycles, never, CyclesTransport | SettlementJournal | Scope.Scope> =>
  Effect.map(Service.make(config), fromEngine)

const fromEngine = (engine: Engine): Cycles =>
  Cycles.of({
    [TypeId]: TypeId,
    mode: engine.config.mode,
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

/**
 * Provides `Cycles`, and a `CyclesClient` that shares its connection.
 *
 * **Details**
 *
 * Closing the layer retries the open settlements once and waits up to `flushTimeout` for them. Settlements that are
 * still open stay in the journal.
 *
 * **Gotchas**
 *
 * Building the layer dies with a `RangeError` if an option is out of range.
 *
 * **Example** (Running over Effect's `HttpClient`, without a durable journal)
 *
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { FetchHttpClient } from "effect/http"
 * import { Cycles, CyclesTransport, SettlementJournal } from "effect-cycles"
 *
 * export const CyclesLive = Cycles.layer({
 *   baseUrl: "https://cycles.example.com",
 *   apiKey: Redacted.make("cyc_live_example"),
 *   subject: { tenant: "acme" },
 *   ttl: "30 seconds"
 * }).pipe(
 *   Layer.provide([CyclesTransport.layerHttpClient, SettlementJournal.layerMemory]),
 *   Layer.provide(FetchHttpClient.layer)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  config: CyclesConfig
): Layer.Layer<Cycles | CyclesClient, never, CyclesTransport | SettlementJournal> =>
  Layer.merge(
    Layer.effectContext(
      Effect.map(Service.make(config), (engine) =>
        Context.make(Cycles, fromEngine(engine)).pipe(
          Context.add(Client.CyclesClient, fromSender(engine.config.baseUrl, engine.sender))
        )
      )
    ),
    layerHeaderNames
  )

/**
 * Provides the same services as `layer`, configured by `Config`. Without an argument it reads the variables that
 * `CyclesConfig.config` lists; with one, each field is a value or a `Config`.
 *
 * Fails with `ConfigError` if a variable is missing or invalid.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<CyclesConfig>
): Layer.Layer<Cycles | CyclesClient, Config.ConfigError, CyclesTransport | SettlementJournal> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const given = yield* config === undefined ? ConfigModule.config : Config.unwrap(config)
      yield* Env.warnIfShort("CYCLES_READ_TIMEOUT", given.timeout)
      return layer(given)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards an effect: reserves the estimate, runs the effect, and commits the actual cost.
 *
 * **Details**
 *
 * - Denial: fails with `BudgetExceeded`, and the effect doesn't start.
 * - Success: commits `actual`, or else the total recorded through `Reservation`, or else the estimate.
 * - Failure, defect or interruption: settles the recorded total according to `onFailure`. The cause stays the same.
 * - The effect can use its `Reservation` service, to read caps and to record spend while it runs.
 * - As a pipeable argument of `Effect.fn`, the options may be functions of the arguments.
 *
 * **Gotchas**
 *
 * - A settlement that fails doesn't fail the effect, unless `onUnsettled` is `fail`. It is retried in the background.
 * - A guard inside another guard makes a second reservation: both estimates are reserved at the same time.
 * - `Effect.retry` outside the guard reserves again for each attempt; inside, all attempts share one reservation.
 *   Record the spend of failed attempts with `Reservation.add`.
 *
 * **Errors**
 *
 * `BudgetExceeded`, `ApiError`, `TransportError`, `ProtocolError` and `InvalidRequest` from the reserve; `LeaseLost`
 * with the heartbeat policies `failOnFinalize` and `cancel`; `AlreadySettled` with a caller-supplied key; `Unsettled`
 * with `onUnsettled: "fail"`.
 *
 * **Example** (Deriving the options from the arguments of a function)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * export const complete = Effect.fn("complete")(
 *   function* (prompt: string, maxTokens: number) {
 *     return { text: `You said: ${prompt}`, tokens: Math.min(maxTokens, 42) }
 *   },
 *   Cycles.withCycles({
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: (_prompt: string, maxTokens: number) => Amount.tokens(maxTokens),
 *     actual: (reply) => Amount.tokens(reply.tokens)
 *   })
 * )
 * ```
 *
 * @see createReservation, commitReservation and releaseReservation of the protocol
 * @category guards
 * @since 0.1.0
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
  return (self: Effect.Effect<A, E, R>, ...args: FixedArgs<Args>) =>
    Effect.flatMap(Cycles, (cycles) => cycles.withCycles(self, first, args))
}

/**
 * Guards a stream: reserves the estimate when the stream is run, adds up its usage, and commits the total when the
 * stream ends.
 *
 * **Details**
 *
 * - The end of the stream, an early `take`, a failure and an interruption all commit the usage up to then and return
 *   the rest of the estimate.
 * - Chunks and back-pressure stay the same.
 * - A denial fails the stream with `BudgetExceeded` before its first element.
 *
 * **Gotchas**
 *
 * The stream holds its reservation while the consumer is slow. The heartbeat extends it; a tenant allows 10 extensions
 * by default.
 *
 * **Errors**
 *
 * As `withCycles`, except `Unsettled`.
 *
 * **Example** (Charging the usage that each element reports)
 *
 * ```ts
 * import { Stream } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * const parts = Stream.make({ text: "Hel", tokens: 1 }, { text: "lo", tokens: 1 })
 *
 * export const guarded = parts.pipe(
 *   Cycles.withCyclesStream({
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: Amount.tokens(1_000),
 *     usage: (part) => Amount.tokens(part.tokens)
 *   })
 * )
 * ```
 *
 * @see createReservation and commitReservation of the protocol
 * @category guards
 * @since 0.1.0
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
 * Runs an effect as a run with a budget: all guards inside it share the budget, and calls that don't fit fail with
 * `BudgetExceeded` without a request. The short form of `Run.make` and `Run.within`.
 *
 * **Details**
 *
 * - The budget is one amount, or at most one for each unit. `options` are those of `Run.make`.
 * - Inside another run, the effect becomes its child. The run ends with the effect.
 *
 * **Gotchas**
 *
 * The ledger of the run is in this process. The budgets of the server apply as well.
 *
 * **Errors**
 *
 * Those of `Run.make`: `BudgetExceeded` with `share: "carve"`, and all errors of a reserve with `hold`. Dies with a
 * `RangeError` if an option is out of range.
 *
 * **Example** (Two dollars for a whole agent)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * const ask = (prompt: string) =>
 *   Effect.succeed({ text: `You said: ${prompt}`, cost: Amount.usd("0.01") }).pipe(
 *     Cycles.withCycles({
 *       action: { kind: "llm.completion", name: "openai:gpt-5" },
 *       estimate: Amount.usd("0.10"),
 *       actual: (reply) => reply.cost
 *     })
 *   )
 *
 * export const agent = Effect.forEach(["Find a flight", "Book it"], ask, { concurrency: 2 }).pipe(
 *   Cycles.withBudget(Amount.usd("2.00"), { name: "flights" })
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export function withBudget<const H extends boolean = false>(
  budget: Amount | ReadonlyArray<Amount>,
  options?: Omit<Run.Options<H>, "budget">
): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Run.Fails<H>, R | Run.Needs<H>>
export function withBudget<A, E, R, const H extends boolean = false>(
  self: Effect.Effect<A, E, R>,
  budget: Amount | ReadonlyArray<Amount>,
  options?: Omit<Run.Options<H>, "budget">
): Effect.Effect<A, E | Run.Fails<H>, R | Run.Needs<H>>
export function withBudget<A, E, R>(
  first: Effect.Effect<A, E, R> | Budget,
  second?: Budget | BudgetOptions,
  third?: BudgetOptions
): unknown {
  if (Effect.isEffect(first)) {
    return isBudget(second)
      ? budgeted(first, { ...third, budget: second })
      : Effect.die(new RangeError("budget: expected amounts as Amount.usd and the like make them"))
  }
  const options = isBudget(second) ? undefined : second
  return (self: Effect.Effect<A, E, R>) => budgeted(self, { ...options, budget: first })
}

type Budget = Amount | ReadonlyArray<Amount>

type BudgetOptions = Omit<Run.Options, "budget">

const isBudget = (value: unknown): value is Budget => Predicate.hasProperty(value, "unit") || Array.isArray(value)

const budgeted = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: Run.Options
): Effect.Effect<A, E | CyclesError, R | Cycles> => Effect.flatMap(runInNew(self, options), ({ exit }) => exit)

/**
 * Reserves an estimate and returns a reservation that the program settles itself, with `commit` or `release`.
 *
 * **Details**
 *
 * - The heartbeat extends the lease until the reservation is settled.
 * - If the program hasn't settled the reservation, closing the scope settles it: the recorded total is committed, or
 *   `onFailure` applies if the scope is closed with a failure.
 *
 * **Gotchas**
 *
 * A reservation without recorded spend is released if its scope closes with success and `commit` hasn't been called.
 *
 * **Errors**
 *
 * `BudgetExceeded`, `ApiError`, `TransportError`, `ProtocolError` and `InvalidRequest`; `AlreadySettled` with a
 * caller-supplied key.
 *
 * **Example** (Committing an amount that is known only after several steps)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles, Settlement } from "effect-cycles"
 *
 * export const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const reservation = yield* Cycles.reserve({
 *       action: { kind: "tool.search", name: "web" },
 *       estimate: Amount.usd("0.25")
 *     })
 *     yield* reservation.record({ actual: Amount.usd("0.10") })
 *     const settlement = yield* reservation.commit({ actual: Amount.usd("0.15") })
 *     yield* Effect.log(Settlement.format(settlement))
 *   })
 * )
 * ```
 *
 * @see createReservation of the protocol
 * @category constructors
 * @since 0.1.0
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

/**
 * Returns the decision that a reserve would get now. Nothing is reserved.
 *
 * A denial is a response with the decision `DENY`, not an error. The balance may change before a later reserve, so use
 * `decide` for display and planning, and a guard for enforcement. Runs aren't checked.
 *
 * Fails with the errors of a call; see `CyclesError`.
 *
 * @see decide of the protocol
 * @category combinators
 * @since 0.1.0
 */
export const decide = (options: DecideOptions): Effect.Effect<Response<DecisionResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.decide(options))

/**
 * Charges spend that was never reserved.
 *
 * **Details**
 *
 * If the outcome of the request is unknown, it is sent once more with the same idempotency key, so that it is charged
 * once.
 *
 * In shadow mode nothing is sent. The response has the `eventId` `shadow` and charges 0.
 *
 * **Gotchas**
 *
 * Running the effect again charges again, unless `idempotencyKey` is given.
 *
 * **Errors**
 *
 * `ApiError`, `TransportError`, `ProtocolError` and `InvalidRequest`; `BudgetExceeded` if `overagePolicy` is `REJECT`.
 *
 * **Example** (Charging a tool call that has already run)
 *
 * ```ts
 * import { Amount, Cycles } from "effect-cycles"
 *
 * export const charge = Cycles.event({
 *   action: { kind: "tool.search", name: "web" },
 *   actual: Amount.usd("0.01"),
 *   idempotencyKey: "job-42/search-1"
 * })
 * ```
 *
 * @see createEvent of the protocol
 * @category combinators
 * @since 0.1.0
 */
export const event = (options: EventOptions): Effect.Effect<Response<EventCreateResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.event(options))

/**
 * Emits the balances of the ambient subject, or of the subject in the query, page by page.
 *
 * **Gotchas**
 *
 * The server takes seconds for this on a large store. Don't call it before each guarded call.
 *
 * @see getBalances of the protocol
 * @category combinators
 * @since 0.1.0
 */
export const balances = (query?: BalanceQuery): Stream.Stream<Balance, CyclesError, Cycles> =>
  Stream.unwrap(Effect.map(Cycles, (cycles) => cycles.balances(query)))

/**
 * Retries every open settlement now and waits for the results, at most for `timeout`, 0 to 1 h. Default: `flushTimeout`
 * of the client.
 *
 * Closing the layer does the same. Use `flush` if a process may be frozen or killed without closing the layer, as in a
 * serverless function.
 *
 * @category combinators
 * @since 0.1.0
 */
export const flush = (timeout?: Duration.Input): Effect.Effect<FlushResult, never, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.flush(timeout))

/**
 * Emits every settlement from now on, including those of background retries and of replayed journal records.
 *
 * A slow consumer loses the oldest events.
 *
 * @category combinators
 * @since 0.1.0
 */
export const settlements: Stream.Stream<SettlementEvent, never, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.settlements)
)

/**
 * Emits the dead letters of the journal: spend that the server will never charge. Correct it by hand, then remove it
 * with `Journal.forget`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const deadLetters: Stream.Stream<DeadLetter, JournalError, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.deadLetters)
)
