/**
 * For tests of programs that use Cycles: one Layer with the client, an embedded server in memory, a journal in memory,
 * assertions about the ledger, and faults between the client and the server.
 *
 * **Details**
 *
 * Each use of `layer` has its own ledger. It opens no port and doesn't replace Effect's `HttpClient`.
 * Assertions are Effects that fail with `LedgerMismatch`, so they work in every test runner.
 *
 * **Gotchas**
 *
 * - Retries, heartbeats, leases and late responses wait on Effect's `Clock`. Under a `TestClock`, fork the program and advance
 *   the clock before an assertion.
 * - If the response to a reserve is lost, the reservation is released in the background. `expectNothingReserved` succeeds only
 *   after the clock has advanced.
 *
 * @example
 * ```ts
 * import { CyclesTest, Fault } from "@effect-cycles/testing"
 * import { Effect, Fiber } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * const ask = Effect.succeed({ text: "Hello", tokens: 42 }).pipe(
 *   Cycles.withCycles({
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: Amount.tokens(100),
 *     actual: (reply) => Amount.tokens(reply.tokens)
 *   })
 * )
 *
 * // The first response to the commit is lost, and the spend is charged once.
 * export const test = Effect.gen(function* () {
 *   yield* CyclesTest.inject("commit", Fault.responseLost)
 *   const fiber = yield* Effect.forkChild(ask)
 *   yield* TestClock.adjust("1 minute")
 *   yield* Fiber.join(fiber)
 *   yield* CyclesTest.expectCommitted(Amount.tokens(42))
 *   yield* CyclesTest.expectNothingReserved()
 * }).pipe(Effect.provide(CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 150 }] })))
 * ```
 *
 * @since 0.1.0
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import * as Server from "@effect-cycles/server/CyclesServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Cycles from "effect-cycles/Cycles"
import type { CyclesClient } from "effect-cycles/CyclesClient"
import type { CyclesConfig } from "effect-cycles/CyclesConfig"
import type { SettlementJournal } from "effect-cycles/SettlementJournal"
import { layerMemory } from "effect-cycles/SettlementJournal"
import type { Fault } from "./Fault.ts"
import * as Ledger from "./internal/ledger.ts"
import type { SentRequest, Target } from "./internal/script.ts"
import * as Script from "./internal/script.ts"

export type {
  /**
   * A request that the client sent.
   *
   * @since 0.1.0
   * @category models
   */
  SentRequest,
  /**
   * The operation whose requests meet a fault; `any` for the requests of all operations.
   *
   * @since 0.1.0
   * @category models
   */
  Target
} from "./internal/script.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of the embedded server and of the client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Server.MemoryOptions {
  /**
   * Fields of the client's configuration that the test changes. The defaults are those of the client, with the address and
   * the key of the embedded server and its tenant as the subject.
   */
  readonly client?: Partial<CyclesConfig> | undefined
  /** The settlement journal. Default: one in memory. */
  readonly journal?: Layer.Layer<SettlementJournal> | undefined
}

/**
 * The part of the ledger that an assertion is about.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScopeOptions {
  /** A scope below the tenant, as in `agent:planner` or `workspace:eng/app:chat`. Default: the tenant. */
  readonly scope?: string | undefined
}

/**
 * The part of the ledger in which nothing may be reserved.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReservedOptions extends ScopeOptions {
  /** The unit. Default: all units. */
  readonly unit?: Amount.KnownUnit | undefined
}

const TypeId = "~@effect-cycles/testing/CyclesTest"

/**
 * The service behind the functions of this module.
 *
 * @since 0.1.0
 * @category models
 */
export interface CyclesTest {
  /** Identifies the service. */
  readonly [TypeId]: typeof TypeId
  /** See the function `inject`. */
  readonly inject: (operation: Target, ...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** See the function `always`. */
  readonly always: (operation: Target, fault: Fault) => Effect.Effect<void>
  /** See the function `clearFaults`. */
  readonly clearFaults: (operation?: Target) => Effect.Effect<void>
  /** See the function `requests`. */
  readonly requests: (operation?: Target) => Effect.Effect<ReadonlyArray<SentRequest>>
  /** See the function `expectCommitted`. */
  readonly expectCommitted: (
    amount: Amount.Amount<Amount.KnownUnit>,
    options?: ScopeOptions
  ) => Effect.Effect<void, LedgerMismatch>
  /** See the function `expectNothingReserved`. */
  readonly expectNothingReserved: (options?: ReservedOptions) => Effect.Effect<void, LedgerMismatch>
  /** See `expectFaultsMet`. */
  readonly expectFaultsMet: Effect.Effect<void, FaultsNotMet>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The service behind the functions of this module.
 *
 * @since 0.1.0
 * @category services
 */
export const CyclesTest: Context.Service<CyclesTest, CyclesTest> = Context.Service("@effect-cycles/testing/CyclesTest")

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The client on an embedded server, with everything that a test needs.
 *
 * **Details**
 *
 * The Layer provides `Cycles` and `CyclesClient`, the handle `CyclesServer` of the server, its `CyclesTransport` with the
 * faults, the `SettlementJournal`, and `CyclesTest`. A budget or an option out of range is a defect that names it.
 *
 * @example
 * ```ts
 * import { CyclesTest } from "@effect-cycles/testing"
 *
 * export const TestLayer = CyclesTest.layer({
 *   tenant: "acme",
 *   budgets: [
 *     { unit: "TOKENS", allocated: 1_000 },
 *     { scope: "agent:planner", unit: "TOKENS", allocated: 100 }
 *   ],
 *   client: { ttl: "10 seconds" }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<CyclesTest | Cycles.Cycles | CyclesClient | Server.CyclesServer | CyclesTransport | SettlementJournal> =>
  Layer.unwrap(
    Effect.map(Server.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
      Cycles.layer({ baseUrl, apiKey, subject: { tenant }, ...options?.client })
    )
  ).pipe(Layer.provideMerge(Layer.merge(layerServer(options), options?.journal ?? layerMemory)))

/**
 * The embedded server with the faults and the assertions, without a client: for a test that builds `Cycles.layer` itself, or
 * builds it twice.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (
  options?: Server.MemoryOptions
): Layer.Layer<CyclesTest | Server.CyclesServer | CyclesTransport> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const script = Script.make(yield* CyclesTransport)
      return Context.make(CyclesTransport, script.transport).pipe(
        Context.add(CyclesTest, fromScript(script, yield* Server.CyclesServer))
      )
    })
  ).pipe(Layer.provideMerge(Server.layerMemory(options)))

const fromScript = (script: Script.Script, server: Server.CyclesServer): CyclesTest =>
  CyclesTest.of({
    [TypeId]: TypeId,
    inject: (operation, ...faults) => Effect.sync(() => script.inject(operation, faults)),
    always: (operation, fault) => Effect.sync(() => script.always(operation, fault)),
    clearFaults: (operation) => Effect.sync(() => script.clear(operation)),
    requests: (operation) =>
      Effect.sync(() =>
        script.requests.filter((sent) => operation === undefined || operation === "any" || sent.operation === operation)
      ),
    expectCommitted: (amount, options) =>
      Effect.catchTag(Ledger.committed(server, amount, options?.scope), "Mismatch", toError),
    expectNothingReserved: (options) =>
      Effect.catchTag(Ledger.nothingReserved(server, options?.unit, options?.scope), "Mismatch", toError),
    expectFaultsMet: Effect.suspend(() => {
      const faults = script.unmet()
      return faults.length === 0 ? Effect.void : Effect.fail(new FaultsNotMet({ faults }))
    })
  })

const toError = ({ active, expected, found }: Ledger.Mismatch): Effect.Effect<never, LedgerMismatch> =>
  Effect.fail(new LedgerMismatch({ expected, found, active }))

// ---------------------------------------------------------------------------------------------------------------------
// faults
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Applies these faults to the next requests of an operation, one fault to each request, after the faults that were injected
 * before.
 *
 * **Details**
 *
 * `Fault.none` lets a request through, and `Fault.times` repeats a fault. The faults of an operation come before those of
 * `any`. An unknown operation is a defect that names the known ones.
 *
 * @example
 * ```ts
 * import { CyclesTest, Fault } from "@effect-cycles/testing"
 *
 * // The first commit passes, the second is lost, and the two after it get a 503.
 * export const script = CyclesTest.inject(
 *   "commit",
 *   Fault.none,
 *   Fault.responseLost,
 *   Fault.times(Fault.status(503), 2)
 * )
 * ```
 *
 * @since 0.1.0
 * @category faults
 */
export const inject = (operation: Target, ...faults: ReadonlyArray<Fault>): Effect.Effect<void, never, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.inject(operation, ...faults))

/**
 * Applies a fault to every request of an operation until `clearFaults`. Faults from `inject` are used up first.
 *
 * @since 0.1.0
 * @category faults
 */
export const always = (operation: Target, fault: Fault): Effect.Effect<void, never, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.always(operation, fault))

/**
 * Removes the faults of an operation, or all faults. Exchanges that have begun keep theirs.
 *
 * @since 0.1.0
 * @category faults
 */
export const clearFaults = (operation?: Target): Effect.Effect<void, never, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.clearFaults(operation))

/**
 * Returns the requests that the client has sent, oldest first, including those that met a fault. With an argument, it returns
 * only those of the operation. Headers are left out because they contain the API key.
 *
 * @since 0.1.0
 * @category faults
 */
export const requests = (operation?: Target): Effect.Effect<ReadonlyArray<SentRequest>, never, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.requests(operation))

// ---------------------------------------------------------------------------------------------------------------------
// assertions
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Fails with `LedgerMismatch` unless exactly this amount is charged to a budget: commits and events together, debt included.
 *
 * **Details**
 *
 * The unit of the amount chooses the budget of the scope; without a scope it is the tenant's. `Amount.tokens(0)` expects
 * that nothing was charged.
 *
 * @since 0.1.0
 * @category assertions
 */
export const expectCommitted = (
  amount: Amount.Amount<Amount.KnownUnit>,
  options?: ScopeOptions
): Effect.Effect<void, LedgerMismatch, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.expectCommitted(amount, options))

/**
 * Fails with `LedgerMismatch` if a reservation is ACTIVE: every reservation was committed, released, or has expired.
 *
 * **Details**
 *
 * With `unit` or `scope` only the reservations of that part count.
 *
 * **Gotchas**
 *
 * A reservation whose lease has expired isn't ACTIVE. Combine the assertion with `expectCommitted`, which fails if spend was
 * lost because of the expiry.
 *
 * @since 0.1.0
 * @category assertions
 */
export const expectNothingReserved = (options?: ReservedOptions): Effect.Effect<void, LedgerMismatch, CyclesTest> =>
  Effect.flatMap(CyclesTest, (test) => test.expectNothingReserved(options))

/**
 * Fails with `FaultsNotMet` if an injected fault hasn't met a request. Faults of `always` don't count.
 *
 * @since 0.1.0
 * @category assertions
 */
export const expectFaultsMet: Effect.Effect<void, FaultsNotMet, CyclesTest> = Effect.flatMap(
  CyclesTest,
  (test) => test.expectFaultsMet
)

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The ledger differs from the expectation of a test.
 *
 * @since 0.1.0
 * @category errors
 */
export class LedgerMismatch extends Schema.TaggedError<LedgerMismatch>()("LedgerMismatch", {
  /** The expectation, as in `exactly 42 TOKENS committed on tenant:acme`. */
  expected: Schema.String,
  /** The state of the ledger. */
  found: Schema.String,
  /** The ACTIVE reservations, one line each. */
  active: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const lines = [`Expected ${this.expected}`, `but ${this.found}`]
    if (this.active.length > 0) {
      lines.push(
        "ACTIVE reservations:",
        ...this.active.map((line) => `  ${line}`),
        "Settle them, or advance the TestClock if they are settled in the background."
      )
    }
    return lines.join("\n")
  }
}

/**
 * Injected faults have met no request.
 *
 * @since 0.1.0
 * @category errors
 */
export class FaultsNotMet extends Schema.TaggedError<FaultsNotMet>()("FaultsNotMet", {
  /** The faults, as in `responseLost for commit`. */
  faults: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `No request has met these faults: ${this.faults.join(", ")}`
  }
}
