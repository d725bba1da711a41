/**
 * The Layer of a test: its services, its script of faults and its assertions.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Amount, Cycles, CyclesClient, CyclesTransport, SettlementJournal } from "effect-cycles"
import { action, call, outcome, TestLayer } from "./support/program.ts"

const reserve = (tokens: number, subject?: { readonly agent: string }) =>
  Cycles.reserve({ action, estimate: Amount.tokens(tokens), ...(subject === undefined ? undefined : { subject }) })

/** The decision on 1 token, or the tag of the error. */
const decide = Effect.match(Cycles.decide({ action, estimate: Amount.tokens(1) }), {
  onSuccess: ({ decision }) => decision,
  onFailure: ({ _tag }) => _tag
})

describe("layer", () => {
  it.effect("provides the client, the server, the journal and the test service", () =>
    Effect.gen(function* () {
      const { baseUrl } = yield* CyclesServer.CyclesServer
      expect((yield* CyclesClient.CyclesClient).baseUrl).toBe(baseUrl)
      expect((yield* SettlementJournal.SettlementJournal).isDurable).toBe(true)
      yield* Effect.flatMap(Cycles.Cycles, (cycles) => cycles.flush())
      yield* Effect.flatMap(CyclesTransport.CyclesTransport, (transport) =>
        CyclesTransport.send(transport, {
          method: "GET",
          url: `${baseUrl}/v1/balances?tenant=acme`,
          headers: {},
          body: undefined,
          isRepeatable: false,
          maxResponseBytes: 1_000
        })
      )
      expect((yield* CyclesTest.requests("balances")).map(({ path }) => path)).toEqual(["/v1/balances?tenant=acme"])
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("uses the given tenant, budgets and configuration", () =>
    Effect.gen(function* () {
      yield* call
      yield* CyclesTest.expectCommitted(Amount.tokens(42), { scope: "agent:planner" })
      expect((yield* CyclesTest.requests("reserve"))[0]?.body).toContain('"ttl_ms":7000')
    }).pipe(
      Effect.provide(
        CyclesTest.layer({
          tenant: "globex",
          budgets: [{ unit: "TOKENS", allocated: 100, scope: "agent:planner" }],
          client: { ttl: "7 seconds", subject: { tenant: "globex", agent: "planner" } }
        })
      )
    )
  )

  it.effect("uses the given journal", () =>
    Effect.gen(function* () {
      expect((yield* SettlementJournal.SettlementJournal).isDurable).toBe(false)
    }).pipe(Effect.provide(CyclesTest.layer({ journal: SettlementJournal.layerNone })))
  )

  it.effect("makes a separate ledger in each use", () =>
    Effect.gen(function* () {
      yield* Effect.provide(call, TestLayer)
      yield* Effect.provide(CyclesTest.expectCommitted(Amount.tokens(0)), TestLayer)
    })
  )
})

describe("layerServer", () => {
  it.effect("gives two clients one ledger and one script", () =>
    Effect.gen(function* () {
      const { apiKey, baseUrl, tenant } = yield* CyclesServer.CyclesServer
      const client = Layer.fresh(Cycles.layer({ baseUrl, apiKey, subject: { tenant } })).pipe(
        Layer.provide(SettlementJournal.layerMemory)
      )
      yield* Effect.provide(call, client)
      yield* Effect.provide(call, client)
      yield* CyclesTest.expectCommitted(Amount.tokens(84))
      expect(yield* CyclesTest.requests("reserve")).toHaveLength(2)
    }).pipe(Effect.provide(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })))
  )
})

describe("inject", () => {
  it.effect("applies the faults in order, one for each request, and then none", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("decide", Fault.none, Fault.denied)
      yield* CyclesTest.inject("decide", Fault.times(Fault.error(403, "FORBIDDEN"), 2))
      const outcomes = yield* Effect.replicateEffect(decide, 5)
      expect(outcomes).toEqual(["ALLOW", "DENY", "ApiError", "ApiError", "ALLOW"])
      expect((yield* CyclesTest.requests("decide")).map(({ fault }) => fault)).toEqual([
        undefined,
        "denied",
        "error(403, FORBIDDEN)",
        "error(403, FORBIDDEN)",
        undefined
      ])
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("lets several requests through with Fault.times(Fault.none), and logs no fault", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("decide", Fault.times(Fault.none, 2), Fault.denied)
      expect(yield* Effect.replicateEffect(decide, 3)).toEqual(["ALLOW", "ALLOW", "DENY"])
      expect((yield* CyclesTest.requests("decide")).map(({ fault }) => fault)).toEqual([undefined, undefined, "denied"])
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("applies the faults of any to the next request of any operation", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("any", Fault.none, Fault.responseLost)
      yield* outcome(call)
      expect((yield* CyclesTest.requests()).map(({ fault, operation }) => [operation, fault])).toEqual([
        ["reserve", undefined],
        ["commit", "responseLost"],
        ["commit", undefined]
      ])
      yield* CyclesTest.expectCommitted(Amount.tokens(42))
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("dies on an unknown operation and names the known ones", () =>
    Effect.gen(function* () {
      // @ts-expect-error: the compiler refuses it too
      const exit = yield* Effect.exit(CyclesTest.inject("comit", Fault.garbage))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
        'Unknown operation "comit": expected one of reserve, commit, release, extend, decide, event'
      )
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("dies if no fault is given", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(CyclesTest.inject("commit"))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("CyclesTest.inject expects at least one fault")
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("always", () => {
  it.effect("applies a fault after the injected ones, until clearFaults", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("decide", Fault.error(403, "FORBIDDEN"))
      yield* CyclesTest.inject("decide", Fault.denied)
      expect(yield* Effect.replicateEffect(decide, 3)).toEqual(["DENY", "ApiError", "ApiError"])
      yield* CyclesTest.clearFaults("reserve")
      expect(yield* decide).toBe("ApiError")
      yield* CyclesTest.clearFaults("decide")
      expect(yield* decide).toBe("ALLOW")
      yield* CyclesTest.always("any", Fault.error(403, "FORBIDDEN"))
      expect(yield* decide).toBe("ApiError")
      yield* CyclesTest.clearFaults()
      expect(yield* decide).toBe("ALLOW")
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("requests", () => {
  it.effect("lists the requests with operation, path, key and body, and without headers", () =>
    Effect.gen(function* () {
      yield* call
      const [reserved, committed, ...others] = yield* CyclesTest.requests()
      expect(others).toEqual([])
      expect(reserved).toMatchObject({ operation: "reserve", method: "POST", path: "/v1/reservations" })
      expect(committed).toMatchObject({ operation: "commit", fault: undefined })
      expect(committed?.path).toMatch(/^\/v1\/reservations\/[^/]+\/commit$/)
      expect(committed?.body).toContain(`"idempotency_key":"${committed?.idempotencyKey}"`)
      expect(JSON.stringify([reserved, committed])).not.toContain("api-key")
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("expectCommitted", () => {
  it.effect("succeeds with the exact total of commits and events", () =>
    Effect.gen(function* () {
      yield* CyclesTest.expectCommitted(Amount.tokens(0))
      yield* call
      yield* Cycles.event({ action, actual: Amount.tokens(8) })
      yield* CyclesTest.expectCommitted(Amount.tokens(50))
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("fails with the expectation, the ledger and the ACTIVE reservations", () =>
    Effect.scoped(
      Effect.gen(function* () {
        yield* call
        yield* reserve(100)
        const error = yield* Effect.flip(CyclesTest.expectCommitted(Amount.tokens(43)))
        expect(Schema.is(CyclesTest.LedgerMismatch)(error)).toBe(true)
        expect(error.message).toMatch(
          /^Expected exactly 43 TOKENS committed on tenant:acme\nbut 42 TOKENS committed, 100 TOKENS reserved, 858 TOKENS remaining of 1000 TOKENS\nACTIVE reservations:\n {2}\S+: 100 TOKENS for llm\.completion openai:gpt-5 on tenant:acme\nSettle them, or advance the TestClock if they are settled in the background\.$/
        )
      })
    ).pipe(Effect.provide(TestLayer))
  )

  it.effect("counts debt as committed", () =>
    Effect.gen(function* () {
      yield* Cycles.withCycles(Effect.void, {
        action,
        estimate: Amount.tokens(10),
        actual: Amount.tokens(15),
        overagePolicy: "ALLOW_WITH_OVERDRAFT"
      })
      yield* CyclesTest.expectCommitted(Amount.tokens(15))
      const error = yield* Effect.flip(CyclesTest.expectCommitted(Amount.tokens(10)))
      expect(error.found).toBe(
        "15 TOKENS committed (5 TOKENS of it as debt), 0 TOKENS reserved, -5 TOKENS remaining of 10 TOKENS"
      )
    }).pipe(Effect.provide(CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 10, overdraftLimit: 100 }] })))
  )

  it.effect("fails if there is no such budget", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(CyclesTest.expectCommitted(Amount.usd("0.10"), { scope: "agent:planner" }))
      expect(error.message).toBe(
        "Expected exactly $0.10 committed on tenant:acme/agent:planner\nbut the budget can't be read: No USD_MICROCENTS budget at tenant:acme/agent:planner"
      )
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("expectNothingReserved", () => {
  it.effect("succeeds after a call and fails while a reservation is ACTIVE", () =>
    Effect.gen(function* () {
      yield* call
      yield* CyclesTest.expectNothingReserved()
      const error = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* reserve(100)
          return yield* Effect.flip(CyclesTest.expectNothingReserved())
        })
      )
      expect(error.expected).toBe("nothing reserved on tenant:acme")
      expect(error.found).toBe("1 reservation is ACTIVE")
      expect(error.active).toEqual([
        expect.stringMatching(/^\S+: 100 TOKENS for llm\.completion openai:gpt-5 on tenant:acme$/)
      ])
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("counts only the reservations of the unit and the scope", () =>
    Effect.scoped(
      Effect.gen(function* () {
        yield* reserve(100, { agent: "planner" })
        yield* CyclesTest.expectNothingReserved({ unit: "CREDITS" })
        yield* CyclesTest.expectNothingReserved({ scope: "agent:writer" })
        const error = yield* Effect.flip(CyclesTest.expectNothingReserved({ unit: "TOKENS", scope: "agent:planner" }))
        expect(error.expected).toBe("nothing reserved in TOKENS on tenant:acme/agent:planner")
        expect(error.active).toHaveLength(1)
      })
    ).pipe(Effect.provide(TestLayer))
  )
})

describe("expectFaultsMet", () => {
  it.effect("fails with the injected faults that no request has met", () =>
    Effect.gen(function* () {
      yield* CyclesTest.expectFaultsMet
      yield* CyclesTest.inject("commit", Fault.none, Fault.responseLost)
      yield* CyclesTest.inject("any", Fault.status(503))
      yield* CyclesTest.always("extend", Fault.garbage)
      const error = yield* Effect.flip(CyclesTest.expectFaultsMet)
      expect(error.message).toBe(
        "No request has met these faults: none for commit, responseLost for commit, status(503) for any"
      )
      yield* CyclesTest.clearFaults()
      yield* CyclesTest.expectFaultsMet
    }).pipe(Effect.provide(TestLayer))
  )
})
