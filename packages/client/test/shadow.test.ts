/**
 * Shadow mode: nothing is denied or charged, and the calls that enforcement would deny are counted.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Reservation, Run, Settlement, SettlementJournal } from "effect-cycles"
import type { CyclesConfig } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { outcomeOf } from "./support/outcomes.ts"
import { amounts, settle, spend, spendIn, warningsOf } from "./support/runs.ts"
import { settlementOf } from "./support/settled.ts"

const server = { budgets: [{ unit: "TOKENS", allocated: 3_000 }] } as const

const shadow = () => live({ mode: "shadow" }, { server })

/** The counters of shadow mode, by `by`. */
const counters = Effect.map(Metric.snapshot, (metrics) =>
  Object.fromEntries(
    metrics.flatMap((metric) =>
      metric.type === "Counter" && metric.id.startsWith("cycles_shadow") && Number(metric.state.count) > 0
        ? [[metric.attributes?.["by"] ?? "unchecked", Number(metric.state.count)]]
        : []
    )
  )
)

/** Counts in a registry of the test. */
const withOwnMetrics = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(self, Metric.MetricRegistry, new Map()))

const emptyBooks = { spent: 0, reserved: 0 }

/** A client on the server of a test. */
const client = (config: Partial<CyclesConfig.CyclesConfig>) =>
  Layer.unwrap(
    Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
      Cycles.layer({ baseUrl, apiKey, subject: { tenant }, ...config })
    )
  ).pipe(Layer.provide(SettlementJournal.layerMemory))

describe("shadow mode", () => {
  it.effect("counts 7 would-be denials of 10 calls of 1,000 on a budget of 3,000, as enforcement denies 7", () =>
    Effect.gen(function* () {
      const calls = Effect.forEach(Array.from({ length: 10 }), () => Effect.result(spend(1_000)))
      const enforced = yield* Effect.provide(calls, live({}, { server }))
      expect(enforced.filter(Result.isFailure)).toHaveLength(7)
      yield* Effect.gen(function* () {
        const warnings = yield* warningsOf(
          Effect.gen(function* () {
            expect((yield* calls).filter(Result.isSuccess)).toHaveLength(10)
          })
        )
        expect(warnings).toHaveLength(7)
        expect(warnings[0]).toMatch(
          /^Not enforced in shadow mode: Budget denied: reserve 1000 TOKENS for llm.completion openai:gpt-5 on tenant:\S+ \(BUDGET_EXCEEDED, 0 TOKENS left in tenant:/
        )
        expect(yield* counters).toEqual({ process: 7 })
        expect(yield* operations).toEqual(Array.from({ length: 10 }, () => "reserve"))
        expect(yield* books).toEqual(emptyBooks)
      }).pipe(Effect.provide(shadow()))
    }).pipe(withOwnMetrics)
  )

  it.effect("counts the denials of parallel calls by their estimates, and of later calls by their actual amounts", () =>
    Effect.gen(function* () {
      const call = Cycles.withCycles(Effect.sleep("1 second"), { action, estimate: tokens(1_000), actual: tokens(100) })
      const fiber = yield* Effect.all(
        Array.from({ length: 5 }, () => call),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild)
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      expect(yield* counters).toEqual({ process: 2 })
      // Three calls have used up 300. The other two would not have run.
      yield* spend(2_700)
      expect(yield* counters).toEqual({ process: 2 })
      yield* spend(1)
      expect(yield* counters).toEqual({ process: 3 })
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("counts a denial by the server, by a missing budget, by an unknown unit and by the run", () =>
    Effect.gen(function* () {
      yield* spend(5_000)
      yield* spendIn(Amount.riskPoints(1))
      yield* CyclesTest.inject("reserve", Fault.error(404, "NOT_FOUND"))
      yield* spend(1)
      yield* CyclesTest.inject("reserve", Fault.error(409, "BUDGET_FROZEN"))
      yield* spend(1)
      expect(yield* counters).toEqual({ server: 4 })
      yield* spend(11).pipe(Cycles.withBudget(tokens(10)))
      expect(yield* counters).toEqual({ server: 4, run: 1 })
      expect(yield* books).toEqual(emptyBooks)
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("counts the denials of a run, charges it for the other calls, and asks the server about those only", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(300) })
      const calls = Effect.forEach([100, 500, 100, 150, 100], (amount) => spend(amount, amount / 2))
      yield* Run.within(calls, run)
      // As enforced: 100, 100, 150 and 100 fit, because only half of each is charged.
      expect(yield* amounts(run)).toEqual({ spent: 225, held: 0 })
      expect(yield* run.summary).toMatchObject({ calls: 4, denials: 0, wouldDeny: 1, uncertain: 0 })
      expect(yield* operations).toHaveLength(4)
    }).pipe(Effect.scoped, Effect.provide(shadow()))
  )

  it.effect("emits an event of the run for each denial", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(4_000) })
      const fiber = yield* Stream.runCollect(Stream.takeUntil(run.events, ({ _tag }) => _tag === "Charged")).pipe(
        Effect.forkChild
      )
      yield* settle
      yield* Effect.forEach([5_000, 3_500, 100], (amount) => Run.within(spend(amount), run))
      expect(
        (yield* Fiber.join(fiber)).map((event) => [event._tag, "amount" in event ? event.amount : undefined])
      ).toEqual([
        ["WouldDeny", tokens(5_000)],
        ["Opened", tokens(3_500)],
        ["WouldDeny", tokens(3_500)],
        ["Opened", tokens(100)],
        ["Charged", tokens(100)]
      ])
    }).pipe(Effect.scoped, Effect.provide(shadow()))
  )

  it.effect("doesn't cut a stream that exceeds the budget of its run, and counts it once", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(250) })
      const stream = Stream.rechunk(Stream.make(1, 2, 3, 4, 5, 6, 7, 8), 1).pipe(
        Cycles.withCyclesStream({ action, estimate: tokens(50), usage: () => tokens(60) })
      )
      expect(yield* Stream.runCollect(Run.withinStream(stream, run))).toHaveLength(8)
      expect(yield* run.summary).toMatchObject({ calls: 1, denials: 0, wouldDeny: 1 })
      expect(yield* amounts(run)).toEqual({ spent: 480, held: 0 })
      expect(yield* counters).toEqual({ run: 1 })
      expect(yield* books).toEqual(emptyBooks)
    }).pipe(Effect.scoped, Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("returns the hold of a run if the caller is interrupted or the server denies the call", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(10_000) })
      yield* Run.within(spend(5_000), run)
      expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
      yield* CyclesTest.inject("reserve", Fault.noResponse)
      const fiber = yield* Effect.forkChild(Run.within(spend(100), run))
      yield* settle
      expect(yield* amounts(run)).toEqual({ spent: 0, held: 100 })
      yield* Fiber.interrupt(fiber)
      expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
      expect(yield* run.summary).toMatchObject({ calls: 0, denials: 0, wouldDeny: 1 })
    }).pipe(Effect.scoped, Effect.provide(shadow()))
  )

  it.effect("settles with Unreserved, and shows a reservation without id and caps", () =>
    Effect.gen(function* () {
      const caps = { max_tokens: 5, tool_denylist: ["Search"], cooldown_ms: 60_000 }
      yield* (yield* CyclesServer.CyclesServer).setCaps("TOKENS", caps)
      const body = Effect.gen(function* () {
        const reservation = yield* Reservation.Reservation
        yield* reservation.add(tokens(5))
        return reservation
      })
      const seen: Array<Settlement.Settlement> = []
      const reservation = yield* Cycles.withCycles(body, {
        action,
        estimate: tokens(10),
        heartbeat: "cancel",
        onCrash: "recorded",
        onSettled: (settlement) => Effect.sync(() => seen.push(settlement))
      })
      expect(reservation).toMatchObject({ id: undefined, decision: "ALLOW", caps: undefined })
      expect(reservation.isToolAllowed("Search")).toBe(true)
      expect(seen).toEqual([new Settlement.Unreserved({ reason: "shadow" })])
      expect(yield* Cycles.flush()).toEqual({ isComplete: true, pending: 0 })
    }).pipe(Effect.provide(shadow()))
  )

  it.effect("doesn't enforce a dry run either, which uses nothing up", () =>
    Effect.gen(function* () {
      const dry = (amount: number) => settlementOf(Effect.void, { action, estimate: tokens(amount), dryRun: true })
      expect(yield* dry(3_000)).toMatchObject({ reason: "dry run" })
      yield* dry(5_000)
      yield* dry(11).pipe(Cycles.withBudget(tokens(10)))
      expect(yield* counters).toEqual({ server: 1, run: 1 })
      yield* spend(3_000)
      expect(yield* counters).toEqual({ server: 1, run: 1 })
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("doesn't use up caller-supplied keys: a later reserve with the same key is accepted", () =>
    Effect.gen(function* () {
      const keyed = Cycles.withCycles(Reservation.Reservation, {
        action,
        estimate: tokens(100),
        actual: tokens(30),
        idempotencyKey: "job-1"
      })
      yield* Effect.gen(function* () {
        expect((yield* keyed).idempotencyKey).toBe("job-1")
        yield* keyed
      }).pipe(Effect.provide(client({ mode: "shadow" }), { local: true }))
      expect(yield* books).toEqual(emptyBooks)
      yield* Effect.provide(keyed, client({}), { local: true })
      expect(yield* books).toEqual({ spent: 30, reserved: 0 })
    }).pipe(Effect.provide(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })))
  )

  it.effect("doesn't send an event, charges it to the run, and returns a response that charges nothing", () =>
    Effect.gen(function* () {
      yield* spend(1)
      const run = yield* Run.make({ budget: tokens(5_000) })
      const response = yield* Run.within(Cycles.event({ action, actual: tokens(2_900) }), run)
      expect(response).toMatchObject({ status: "APPLIED", eventId: "shadow", charged: tokens(0) })
      expect(yield* amounts(run)).toEqual({ spent: 2_900, held: 0 })
      expect(yield* operations).toEqual(["reserve"])
      yield* spend(100)
      expect(yield* counters).toEqual({ process: 1 })
      expect(yield* Cycles.decide({ action, estimate: tokens(5_000) })).toMatchObject({ decision: "DENY" })
    }).pipe(Effect.scoped, Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect.each([
    ["401", Fault.error(401, "UNAUTHORIZED")],
    ["403", Fault.error(403, "FORBIDDEN")],
    ["404 without a code", Fault.status(404)],
    ["429", Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "30" })],
    ["500", Fault.error(500, "INTERNAL_ERROR")],
    ["503", Fault.status(503)],
    ["garbage", Fault.response({ body: "<html></html>" })],
    ["another protocol", Fault.response({ body: { decision: 1 } })],
    ["a lost response", Fault.responseLost],
    ["a refused connection", Fault.connectionRefused],
    ["a transport that dies", Fault.make("dies", () => Effect.die("broken"))]
  ] as const)("runs the call once and warns once after %s", ([, fault]) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", fault)
      let bodies = 0
      const call = Cycles.withCycles(
        Effect.sync(() => void (bodies += 1)),
        { action, estimate: tokens(10), maxRetryAfter: "1 hour" }
      )
      const warnings = yield* warningsOf(Effect.andThen(call, call))
      expect(bodies).toBe(2)
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(/^Shadow mode: calls run unchecked/)
      expect(yield* counters).toEqual({ unchecked: 2 })
      expect(yield* operations).toEqual(["reserve", "reserve"])
      yield* TestClock.adjust("1 minute")
      expect(yield* warningsOf(call)).toHaveLength(1)
      yield* CyclesTest.clearFaults()
      expect(yield* books).toEqual(emptyBooks)
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("waits for a server that doesn't respond once, and then asks again every 10 seconds", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", Fault.noResponse)
      const first = yield* Effect.forkChild(spend(1))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(first)
      for (let i = 0; i < 5; i++) yield* spend(1)
      expect(yield* operations).toHaveLength(1)
      yield* TestClock.adjust("10 seconds")
      yield* CyclesTest.clearFaults()
      yield* spend(1)
      yield* spend(1)
      expect(yield* operations).toHaveLength(3)
      expect(yield* counters).toEqual({ unchecked: 6 })
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("runs a guard that rejects the guard around it, and warns of it", () =>
    Effect.gen(function* () {
      const inner = Cycles.withCycles(Effect.succeed(1), { action, estimate: tokens(10), nested: "reject" })
      const call = Cycles.withCycles(inner, { action, estimate: tokens(10) })
      const warnings = yield* warningsOf(Effect.map(call, (result) => expect(result).toBe(1)))
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toContain("nested")
      expect(yield* counters).toEqual({ unchecked: 1 })
      expect(yield* operations).toEqual(["reserve"])
    }).pipe(Effect.provide(shadow()), withOwnMetrics)
  )

  it.effect("runs a call with invalid options, and warns of it", () =>
    Effect.gen(function* () {
      const call = Cycles.withCycles(Effect.succeed(1), {
        action,
        estimate: tokens(1),
        subject: { agent: "not valid" },
        ttl: "0 seconds"
      })
      const warnings = yield* warningsOf(
        Effect.gen(function* () {
          expect(yield* call).toBe(1)
          yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(1), subject: { agent: "not valid" } })
          yield* Cycles.event({ action: { kind: "", name: "" }, actual: tokens(1) })
        })
      )
      expect(warnings).toHaveLength(3)
      expect(warnings[0]).toContain("ttl")
      expect(yield* operations).toEqual([])
    }).pipe(Effect.provide(shadow()))
  )

  it.effect("settles the journaled spend of an earlier client that enforced", () =>
    Effect.gen(function* () {
      const journal = yield* Layer.build(SettlementJournal.layerMemory)
      const clientOn = (mode: CyclesConfig.Mode) =>
        Layer.unwrap(
          Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
            Cycles.layer({ baseUrl, apiKey, subject: { tenant }, mode, flushTimeout: 0 })
          )
        ).pipe(Layer.provide(Layer.succeedContext(journal)))
      yield* CyclesTest.always("commit", Fault.status(503))
      yield* Effect.provide(spend(100, 40), clientOn("enforce"), { local: true })
      yield* CyclesTest.clearFaults()
      yield* Effect.provide(Cycles.flush(), clientOn("shadow"), { local: true })
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })))
  )

  it.effect("returns the failure, the defect and the interruption of the body unchanged", () =>
    Effect.gen(function* () {
      for (const body of [Effect.fail("failed"), Effect.die("died"), Effect.interrupt]) {
        const guarded = Cycles.withCycles(body, { action, estimate: tokens(9_000), onUnsettled: "fail" })
        expect(outcomeOf(yield* Effect.exit(guarded))).toBe(outcomeOf(yield* Effect.exit(body)))
      }
      expect(Exit.isSuccess(yield* Effect.exit(spend(9_000)))).toBe(true)
      expect(yield* books).toEqual(emptyBooks)
    }).pipe(Effect.provide(shadow()))
  )

  describe("guards that join", () => {
    /** An outer guard of 500 whose total is 90, with a call of 100 inside that costs 60 of it. */
    const outer = (estimate = 500) =>
      spendIn60.pipe(
        Cycles.withCycles({
          action: { kind: "agent.run", name: "outer" },
          estimate: tokens(estimate),
          actual: tokens(90)
        })
      )
    const spendIn60 = Cycles.withCycles(Effect.void, {
      action,
      estimate: tokens(100),
      actual: tokens(60),
      nested: "join"
    })

    it.effect.each<readonly [estimate: number, asked: number]>([
      [500, 1],
      [99, 2]
    ])(
      "take their estimate from the outer guard, and the run counts each amount once: an outer guard of %i, %i requests",
      ([estimate, asked]) =>
        Effect.gen(function* () {
          const run = yield* Run.make({ budget: tokens(estimate === 500 ? 500 : 199) })
          yield* Run.within(outer(estimate), run)
          expect(yield* amounts(run)).toEqual({ spent: 90, held: 0 })
          expect(yield* run.summary).toMatchObject({ wouldDeny: 0 })
          expect(yield* operations).toEqual(Array.from({ length: asked }, () => "reserve"))
        }).pipe(Effect.scoped, Effect.provide(shadow()))
    )

    it.effect("use up their spend in the balances of the outer guard", () =>
      Effect.gen(function* () {
        // 27 calls of 90 leave 570 of 3,000, 28 leave 480.
        for (let i = 0; i < 28; i++) yield* outer()
        expect(yield* counters).toEqual({})
        yield* outer()
        expect(yield* counters).toEqual({ process: 1 })
      }).pipe(withOwnMetrics, Effect.provide(shadow()))
    )

    it.effect("don't use up room for the calls of a run that would hold its budget", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(2_000), hold: true })
        for (let i = 0; i < 10; i++) yield* Run.within(spend(200), run)
        expect(yield* counters).toEqual({})
        expect(yield* amounts(run)).toEqual({ spent: 2_000, held: 0 })
        expect(yield* books).toEqual(emptyBooks)
      }).pipe(Effect.scoped, withOwnMetrics, Effect.provide(shadow()))
    )
  })
})
