/**
 * Hard budgets for what an agent does: guard an effect or a stream, and it runs only when the budget allows it, is kept
 * reserved while it runs, and is charged for what it really cost, whatever happens.
 *
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
 * What goes wrong after the body has run is not an error of the body: it is in the `Settlement`, and in the stream
 * `settlements`.
 *
 * Source: reserve, commit, release, extend, decide, event and balances of the protocol.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { Balance, BalanceQuery } from "@effect-cycles/protocol/Balance"
import type { DecisionResponse } from "@effect-cycles/protocol/Decision"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type * as Protocol from "@effect-cycles/protocol/Subject"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Answer } from "./CyclesClient.ts"
import * as Client from "./CyclesClient.ts"
import type { CyclesConfig } from "./CyclesConfig.ts"
import * as ConfigModule from "./CyclesConfig.ts"
import type { CyclesError } from "./CyclesError.ts"
import type {
  Fixed,
  Given,
  KeyErrors,
  LeaseErrors,
  Measured,
  Metadata,
  OnUnsettled,
  ReserveOptions,
  SettlementErrors,
  StreamOptions
} from "./GuardOptions.ts"
import type { LeaseLost, Policy } from "./Heartbeat.ts"
import * as Counts from "./internal/runtime/metrics.ts"
import * as Doubt from "./internal/protocol/doubt.ts"
import * as Encode from "./internal/protocol/requests.ts"
import type { Engine, SettlementEvent } from "./internal/runtime/runtime.ts"
import * as EngineModule from "./internal/runtime/runtime.ts"
import { fingerprint } from "./internal/config/fingerprint.ts"
import * as Guard from "./internal/guard/effect.ts"
import * as Patience from "./internal/runtime/patience.ts"
import * as Prepare from "./internal/reservation/options.ts"
import * as Replay from "./internal/settlement/recovery.ts"
import * as Resolved from "./internal/reservation/resolved.ts"
import * as Scoped from "./internal/guard/scoped.ts"
import * as StreamGuard from "./internal/guard/stream.ts"
import { millis } from "./internal/config/time.ts"
import * as Wire from "./internal/protocol/operations.ts"
import type { Active, Reservation } from "./Reservation.ts"
import type { Settlement } from "./Settlement.ts"
import { SettlementJournal } from "./SettlementJournal.ts"
import * as Journal from "./SettlementJournal.ts"
import { CurrentSubject } from "./Subject.ts"

export {
  /** See `Subject.withSubject`. */
  withSubject
} from "./Subject.ts"

export {
  /** See `CyclesError.orElseDenied`. */
  orElseDenied
} from "./CyclesError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What is asked by `decide`. */
export interface DecideOptions {
  readonly action: Action
  readonly estimate: Amount
  readonly subject?: Protocol.Subject | undefined
  readonly idempotencyKey?: string | undefined
  readonly metadata?: Metadata | undefined
}

/** What is charged by `event`. */
export interface EventOptions {
  readonly action: Action
  /** What was spent. */
  readonly actual: Amount
  readonly subject?: Protocol.Subject | undefined
  /** A key of the caller's own, the same for the same spend. Default: a random one. */
  readonly idempotencyKey?: string | undefined
  /** Default: the server's, ALLOW_IF_AVAILABLE, which never refuses but may charge less. */
  readonly overagePolicy?: OveragePolicy | undefined
  readonly metrics?: Metrics | undefined
  readonly metadata?: Metadata | undefined
}

/** What a flush has found. */
export interface FlushResult {
  /** Whether nothing is open any more; false too where the journal can't be read. */
  readonly isComplete: boolean
  /** Settlements and releases that are still open, in this process and in the journal. */
  readonly pending: number
}

/** What `Cycles` does; the functions of this module are how it is used. */
export interface Shape {
  readonly withCycles: <A, E, R, Args extends ReadonlyArray<unknown>>(
    self: Effect.Effect<A, E, R>,
    options: Guard.Options<A, Args>,
    args: Args
  ) => Effect.Effect<readonly [Settlement, A], E | Guard.GuardError, Exclude<R, Reservation>>
  readonly withCyclesStream: <A, E, R>(
    self: Stream.Stream<A, E, R>,
    options: StreamOptions<A>
  ) => Stream.Stream<A, E | StreamGuard.StreamError, Exclude<R, Reservation>>
  readonly reserve: (options: ReserveOptions) => Effect.Effect<Active<LeaseLost>, Scoped.ReserveError, Scope.Scope>
  readonly decide: (options: DecideOptions) => Effect.Effect<Answer<DecisionResponse>, CyclesError>
  readonly event: (options: EventOptions) => Effect.Effect<Answer<EventCreateResponse>, CyclesError>
  readonly balances: (query?: BalanceQuery) => Stream.Stream<Balance, CyclesError>
  readonly flush: (timeout?: Duration.Input) => Effect.Effect<FlushResult>
  readonly settlements: Stream.Stream<SettlementEvent>
  readonly deadLetters: Stream.Stream<Journal.DeadLetter, Journal.JournalError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** Guards, reservations, settlements: the engine behind the functions of this module. */
export class Cycles extends Context.Service<Cycles, Shape>()("effect-cycles/Cycles") {}

/** How idempotency keys are made: a random UUID from a secure source, unless a test says otherwise. */
export const MakeKey = Context.Reference<() => string>("effect-cycles/Cycles/MakeKey", {
  defaultValue: () => () => globalThis.crypto.randomUUID()
})

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the engine over a client and a journal. Closing the scope tries what is open once more and waits for it, at most
 * for `flushTimeout`; what is left is in the journal. Options out of range throw a `RangeError`.
 */
export const make = (
  config: CyclesConfig
): Effect.Effect<Cycles["Service"], never, Client.CyclesClient | SettlementJournal | Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* Client.CyclesClient
    const resolved = Resolved.resolve(config, client.baseUrl)
    const store = yield* SettlementJournal
    const makeKey = yield* MakeKey
    const { isDurable, journal } = yield* openJournal(store, {
      baseUrl: client.baseUrl,
      fingerprint: yield* fingerprint({
        baseUrl: client.baseUrl,
        tenant: resolved.subject.tenant,
        apiKey: config.apiKey
      })
    })
    const engine = yield* EngineModule.make({
      config: resolved,
      send: client.send,
      journal,
      isDurable,
      makeKey
    })
    yield* Effect.forkScoped(Replay.forever(engine), { startImmediately: true })
    return fromEngine(engine)
  })

/** A journal that can't be opened stops nothing: it is logged and counted, and settlements go on without it. */
const openJournal = (store: SettlementJournal, owner: Journal.JournalOwner) =>
  Effect.catch(
    Effect.map(store.open(owner), (journal) => ({ journal, isDurable: store.isDurable })),
    (error) =>
      Effect.gen(function* () {
        Counts.journalError(yield* Effect.context())
        yield* Effect.logError("The settlement journal could not be opened; spend will not survive a crash", error)
        const none = yield* Effect.provide(SettlementJournal, Journal.layerNone)
        return { journal: yield* Effect.orDie(none.open(owner)), isDurable: false }
      })
  )

const fromEngine = (engine: Engine): Cycles["Service"] => {
  const subject = (own: Protocol.Subject | undefined) =>
    Effect.map(CurrentSubject, (ambient) => Prepare.subjectOf(engine.config, ambient, own))
  const completed = (options: DecideOptions | EventOptions) =>
    Effect.map(subject(options.subject), (subject) => ({
      ...options,
      idempotencyKey: options.idempotencyKey ?? engine.makeKey(),
      subject
    }))

  return Cycles.of({
    withCycles: (self, options, args) => Guard.guard(engine, self, options, args),
    withCyclesStream: (self, options) => StreamGuard.guard(engine, self, options),
    reserve: (options) => Effect.map(Scoped.reserve(engine, options), (held) => Scoped.active(engine, held)),
    decide: (options) =>
      Effect.flatMap(completed(options), (request) =>
        Effect.flatMap(Encode.decisionRequest(request), (body) =>
          Patience.patiently(
            engine.send(Wire.decide(body, { action: options.action, requested: options.estimate })),
            engine.config.maxRetryAfterMs
          )
        )
      ),
    event: (options) =>
      Effect.flatMap(completed(options), (request) =>
        Effect.flatMap(Encode.eventRequest(request), (body) => {
          const attempt = engine.send(Wire.event(body, "caller", { action: options.action, requested: options.actual }))
          return Effect.catchIf(attempt, Doubt.isAmbiguous, () => attempt)
        })
      ),
    balances: (query) =>
      Stream.unwrap(
        Effect.map(subject(undefined), ({ dimensions: _, ...own }) => {
          const page = (query: BalanceQuery) =>
            Effect.flatMap(Encode.balanceQuery(query), (text) => engine.send(Wire.balances(text)))
          return Client.pages({ ...own, ...query }, page, (answer) => answer.balances)
        })
      ),
    flush: (timeout) => flushEngine(engine, timeout === undefined ? engine.config.flushTimeoutMs : millis(timeout)),
    settlements: Stream.fromPubSubTake(engine.settlements),
    deadLetters: engine.journal.deadLetters
  })
}

/** Tries what is open, in this process and in the journal, and counts what is left. */
const flushEngine = (engine: Engine, limitMs: number): Effect.Effect<FlushResult> =>
  Effect.gen(function* () {
    yield* engine.hurry
    yield* Effect.timeoutOption(Effect.andThen(Replay.once(engine), engine.idle(limitMs)), limitMs)
    const journaled = yield* Effect.option(Stream.runCount(engine.journal.pending))
    const busy = yield* engine.busy
    const pending = Math.max(Option.getOrElse(journaled, () => 0) + engine.unkept.size, engine.charges.size, busy)
    return { isComplete: Option.isSome(journaled) && pending === 0, pending }
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** A client with its engine, over the `HttpClient` and the journal that are there. */
export const layer = (
  config: CyclesConfig
): Layer.Layer<Cycles | Client.CyclesClient, never, HttpClient.HttpClient | SettlementJournal> =>
  Layer.effect(
    Cycles,
    Effect.suspend(() => make(config))
  ).pipe(Layer.provideMerge(Client.layer(config)))

/**
 * A client as the environment has it; see `CyclesConfig.config` for the variables. With an argument, as that says: each
 * field a value or a `Config`.
 */
export const layerConfig = (
  config?: Config.Wrap<CyclesConfig>
): Layer.Layer<Cycles | Client.CyclesClient, Config.ConfigError, HttpClient.HttpClient | SettlementJournal> =>
  Layer.unwrap(Effect.map(config === undefined ? ConfigModule.config : Config.unwrap(config), layer))

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** A guarded effect: it may fail with what the body, the call and the chosen policies fail with. */
type Guarded<A, E, R, H, U, K> = Effect.Effect<
  A,
  E | CyclesError | LeaseErrors<H> | SettlementErrors<U> | KeyErrors<K>,
  Exclude<R, Reservation> | Cycles
>

/**
 * Guards an effect: reserves the estimate, runs the body, charges what it cost.
 *
 * - Refused: the body never starts, and the result is `BudgetExceeded`.
 * - Success: `actual` is charged, or else what was recorded, or else the estimate.
 * - Failure, defect, interrupt: what was recorded is charged and the rest goes back, by the policy `onFailure`; the body's
 *   own cause stays what it is.
 *
 * The body can ask for its `Reservation`. Inside `Effect.fn` the options may be functions of the arguments.
 *
 * Source: reserve, commit and release of the protocol.
 */
export function withCycles<
  A,
  Args extends ReadonlyArray<unknown> = [],
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, Args> = never
>(options: Measured<A, Args, H, U, K>): <E, R>(self: Effect.Effect<A, E, R>, ...args: Args) => Guarded<A, E, R, H, U, K>
export function withCycles<
  Args extends ReadonlyArray<unknown> = [],
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, Args> = never
>(
  options: Fixed<Args, unknown, H, U, K>
): <A, E, R>(self: Effect.Effect<A, E, R>, ...args: Args) => Guarded<A, E, R, H, U, K>
export function withCycles<
  A,
  E,
  R,
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, []> = never
>(
  self: Effect.Effect<A, E, R>,
  options: Measured<NoInfer<A>, [], H, U, K> | Fixed<[], NoInfer<A>, H, U, K>
): Guarded<A, E, R, H, U, K>
export function withCycles<A, E, R, Args extends ReadonlyArray<unknown>>(
  first: Effect.Effect<A, E, R> | Guard.Options<A, Args>,
  second?: Guard.Options<A, []>
): unknown {
  if (Effect.isEffect(first)) return second === undefined ? undefined : Effect.map(settled(first, second, []), snd)
  return (self: Effect.Effect<A, E, R>, ...args: Args) => Effect.map(settled(self, first, args), snd)
}

/** Guards an effect as `withCycles` does, and returns the settlement with the value. */
export function withCyclesSettled<
  A,
  Args extends ReadonlyArray<unknown> = [],
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, Args> = never
>(
  options: Measured<A, Args, H, U, K>
): <E, R>(self: Effect.Effect<A, E, R>, ...args: Args) => Guarded<readonly [Settlement, A], E, R, H, U, K>
export function withCyclesSettled<
  Args extends ReadonlyArray<unknown> = [],
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, Args> = never
>(
  options: Fixed<Args, unknown, H, U, K>
): <A, E, R>(self: Effect.Effect<A, E, R>, ...args: Args) => Guarded<readonly [Settlement, A], E, R, H, U, K>
export function withCyclesSettled<
  A,
  E,
  R,
  const H extends Policy = "warn",
  const U extends OnUnsettled = "report",
  const K extends Given<string, []> = never
>(
  self: Effect.Effect<A, E, R>,
  options: Measured<NoInfer<A>, [], H, U, K> | Fixed<[], NoInfer<A>, H, U, K>
): Guarded<readonly [Settlement, A], E, R, H, U, K>
export function withCyclesSettled<A, E, R, Args extends ReadonlyArray<unknown>>(
  first: Effect.Effect<A, E, R> | Guard.Options<A, Args>,
  second?: Guard.Options<A, []>
): unknown {
  if (Effect.isEffect(first)) return second === undefined ? undefined : settled(first, second, [])
  return (self: Effect.Effect<A, E, R>, ...args: Args) => settled(self, first, args)
}

const settled = <A, E, R, Args extends ReadonlyArray<unknown>>(
  self: Effect.Effect<A, E, R>,
  options: Guard.Options<A, Args>,
  args: Args
) => Effect.flatMap(Cycles, (cycles) => cycles.withCycles(self, options, args))

const snd = <A>(pair: readonly [unknown, A]): A => pair[1]

/** A guarded stream. */
type GuardedStream<A, E, R, H, K> = Stream.Stream<
  A,
  E | CyclesError | LeaseErrors<H> | KeyErrors<K>,
  Exclude<R, Reservation> | Cycles
>

/**
 * Guards a stream: reserves the estimate when it is run, counts its usage, charges that however it ends.
 *
 * Its end, an early `take`, a failure and an interrupt all charge what was produced until then and give the rest back.
 * Chunks and back-pressure stay as they are.
 *
 * Source: reserve and commit of the protocol; counting is ours.
 */
export function withCyclesStream<A, const H extends Policy = "warn", const K extends string = never>(
  options: StreamOptions<A, H, K>
): <E, R>(self: Stream.Stream<A, E, R>) => GuardedStream<A, E, R, H, K>
export function withCyclesStream<A, E, R, const H extends Policy = "warn", const K extends string = never>(
  self: Stream.Stream<A, E, R>,
  options: StreamOptions<NoInfer<A>, H, K>
): GuardedStream<A, E, R, H, K>
export function withCyclesStream<A, E, R>(
  first: Stream.Stream<A, E, R> | StreamOptions<A>,
  second?: StreamOptions<A>
): unknown {
  const guard = (self: Stream.Stream<A, E, R>, options: StreamOptions<A>) =>
    Stream.unwrap(Effect.map(Cycles, (cycles) => cycles.withCyclesStream(self, options)))
  if (Stream.isStream(first)) return second === undefined ? undefined : guard(first, second)
  return (self: Stream.Stream<A, E, R>) => guard(self, first)
}

/**
 * Reserves by hand, in a scope: the handle commits, releases and extends; what it didn't settle, the scope does, by what
 * was recorded.
 *
 * Source: reserve of the protocol.
 */
export function reserve<const H extends Policy = "warn", const K extends string = never>(
  options: ReserveOptions<H, K>
): Effect.Effect<Active<LeaseErrors<H>>, CyclesError | KeyErrors<K>, Cycles | Scope.Scope>
export function reserve(
  options: ReserveOptions
): Effect.Effect<Active<LeaseLost>, Scoped.ReserveError, Cycles | Scope.Scope> {
  return Effect.flatMap(Cycles, (cycles) => cycles.reserve(options))
}

/** Asks what a reserve would be answered now. A denial is an answer, not an error; nothing is held. */
export const decide = (options: DecideOptions): Effect.Effect<Answer<DecisionResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.decide(options))

/**
 * Charges spend that was never reserved. An ambiguous answer is followed by one repetition with the same key; running it
 * again after a failure is another charge, unless `idempotencyKey` is the same.
 */
export const event = (options: EventOptions): Effect.Effect<Answer<EventCreateResponse>, CyclesError, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.event(options))

/** The balances of the ambient subject, all pages. Not for the way of a call: on a large store it takes seconds. */
export const balances = (query?: BalanceQuery): Stream.Stream<Balance, CyclesError, Cycles> =>
  Stream.unwrap(Effect.map(Cycles, (cycles) => cycles.balances(query)))

/** Tries every open settlement now, at most for the time given (default: `flushTimeout`). */
export const flush = (timeout?: Duration.Input): Effect.Effect<FlushResult, never, Cycles> =>
  Effect.flatMap(Cycles, (cycles) => cycles.flush(timeout))

/** Every settlement from now on, those of the background and of the journal among them. Slow readers lose the oldest. */
export const settlements: Stream.Stream<SettlementEvent, never, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.settlements)
)

/** Spend that could never be charged, as the journal keeps it. */
export const deadLetters: Stream.Stream<Journal.DeadLetter, Journal.JournalError, Cycles> = Stream.unwrap(
  Effect.map(Cycles, (cycles) => cycles.deadLetters)
)
