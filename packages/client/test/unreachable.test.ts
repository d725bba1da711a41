/**
 * `onUnreachable: "allow"`: calls run while the server is away, and are charged once when it is back.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Reservation, Run, SettlementJournal, Telemetry } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import { faultyJournal } from "./support/collaborators.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { amounts, denialOf, settle, spend, spendAfter, warningsOf } from "./support/runs.ts"
import { settlementOf, watchSettlements } from "./support/settled.ts"

const config = { onUnreachable: "allow", retry: CyclesConfig.retryPolicy({ jitter: false }) } as const

const stage = live(config)

const options = { action, estimate: tokens(100) }

/** The server is away. */
const outage = (fault = Fault.connectionRefused) => CyclesTest.always("any", fault)

/** The server is back, and everything is settled. */
const back = Effect.gen(function* () {
  yield* CyclesTest.clearFaults()
  yield* TestClock.adjust("10 minutes")
  expect(yield* Cycles.flush()).toEqual({ isComplete: true, pending: 0 })
  yield* CyclesTest.expectNothingReserved()
  return yield* books
})

const events = Effect.map(CyclesTest.requests("event"), (sent) => sent.map(({ body }): unknown => JSON.parse(body)))

describe('onUnreachable: "allow"', () => {
  it.effect("runs the call, journals its spend, and charges it when the server is back", () =>
    Effect.gen(function* () {
      const seen = yield* watchSettlements
      yield* outage()
      const warnings = yield* warningsOf(
        Effect.gen(function* () {
          const settlement = yield* settlementOf(Effect.void, { ...options, actual: tokens(30) })
          expect(settlement).toMatchObject({ _tag: "Pending", actual: tokens(30), isJournaled: true })
        })
      )
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toContain(
        "The Cycles server can't be reached: llm.completion openai:gpt-5 runs without a reservation of 100 TOKENS"
      )
      expect((yield* Metric.value(Telemetry.unreachableAllowedTotal)).count).toBe(1)
      expect(yield* Cycles.flush("0 seconds")).toMatchObject({ isComplete: false, pending: 1 })
      expect(yield* back).toEqual({ spent: 30, reserved: 0 })
      expect(seen).toMatchObject([{ _tag: "Recovered", actual: tokens(30), charged: tokens(30) }])
      const sent = yield* events
      expect(new Set(sent.map((event) => JSON.stringify(event)))).toHaveLength(1)
      expect(sent[0]).toMatchObject({
        actual: { unit: "TOKENS", amount: 30 },
        action,
        metadata: { recovery_reason: "reserve_unreachable" }
      })
      expect(sent[0]).not.toHaveProperty("metadata.recovered_reservation_id")
    }).pipe(Effect.provide(stage), (self) =>
      Effect.suspend(() => Effect.provideService(self, Metric.MetricRegistry, new Map()))
    )
  )

  it.effect.each([
    ["connection refused", Fault.connectionRefused],
    ["a lost request", Fault.requestLost],
    ["a lost response", Fault.responseLost],
    ["500", Fault.error(500, "INTERNAL_ERROR")],
    ["502 of a proxy", Fault.status(502)],
    ["503", Fault.status(503)]
  ] as const)("charges once after %s, and releases a reservation that may have been made", ([, fault]) =>
    Effect.gen(function* () {
      yield* outage(fault)
      yield* spend(100, 30)
      yield* TestClock.adjust("5 seconds")
      expect(yield* back).toEqual({ spent: 30, reserved: 0 })
      const { reservations } = yield* CyclesServer.CyclesServer
      for (const { status } of yield* reservations) expect(status).toBe("RELEASED")
    }).pipe(Effect.provide(stage))
  )

  it.effect.each([
    ["a denial", Fault.denied, "BudgetExceeded"],
    ["401", Fault.error(401, "UNAUTHORIZED"), "ApiError"],
    ["403", Fault.error(403, "FORBIDDEN"), "ApiError"],
    ["404", Fault.error(404, "NOT_FOUND"), "ApiError"],
    ["429", Fault.error(429, "LIMIT_EXCEEDED"), "ApiError"],
    ["a page with 404", Fault.status(404), "ApiError"],
    ["a page with 200", Fault.response({ body: "<html></html>" }), "ProtocolError"]
  ] as const)("fails after %s", ([, fault, tag]) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", fault)
      let hasRun = false
      const call = Cycles.withCycles(
        Effect.sync(() => void (hasRun = true)),
        options
      )
      expect(yield* Effect.flip(call)).toMatchObject({ _tag: tag })
      expect(hasRun).toBe(false)
    }).pipe(Effect.provide(stage))
  )

  it.effect("fails if the repeated request is refused, although the first response was lost", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.responseLost, Fault.error(429, "LIMIT_EXCEEDED"))
      expect(yield* Effect.exit(spend(100))).toSatisfy(Exit.isFailure)
      expect(yield* back).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("is an option of each guard, and fails by default", () =>
    Effect.gen(function* () {
      yield* outage()
      expect(yield* Effect.flip(spend(100))).toMatchObject({ _tag: "TransportError" })
      yield* Cycles.withCycles(Effect.void, { ...options, actual: tokens(5), onUnreachable: "allow" })
      expect(yield* back).toEqual({ spent: 5, reserved: 0 })
    }).pipe(Effect.provide(live({ retry: config.retry })))
  )

  it.effect("settles with Unreserved if nothing is spent, and sends nothing", () =>
    Effect.gen(function* () {
      yield* outage()
      const seen: Array<Settlement.Settlement> = []
      const guard = Cycles.withCycles({
        ...options,
        onSettled: (settlement) => Effect.sync(() => seen.push(settlement))
      })
      expect(yield* Effect.flip(guard(Effect.fail("failed")))).toBe("failed")
      yield* settlementOf(Effect.void, { ...options, actual: tokens(0) }).pipe(
        Effect.map((settlement) => seen.push(settlement))
      )
      expect(seen).toEqual([
        { _tag: "Unreserved", reason: "unreachable" },
        { _tag: "Unreserved", reason: "unreachable" }
      ])
      expect(yield* back).toEqual({ spent: 0, reserved: 0 })
      expect(yield* events).toEqual([])
    }).pipe(Effect.provide(stage))
  )

  it.effect("shows a reservation without id and caps", () =>
    Effect.gen(function* () {
      yield* outage()
      const reservation = yield* Cycles.withCycles(Reservation.Reservation, options)
      expect(reservation).toMatchObject({ id: undefined, decision: "ALLOW", caps: undefined })
      expect(yield* back).toEqual({ spent: 100, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("enforces the budget of a run, and counts the call as uncertain until it is charged", () =>
    Effect.gen(function* () {
      yield* outage()
      const run = yield* Run.make({ budget: tokens(250) })
      const latch = yield* Deferred.make<void>()
      const calls = [1, 2, 3].map(() => Effect.exit(spendAfter(latch, 100, 40)))
      const fiber = yield* Effect.all(calls, { concurrency: "unbounded" }).pipe(Run.within(run), Effect.forkChild)
      yield* settle
      expect(yield* amounts(run)).toEqual({ spent: 0, held: 200 })
      yield* Deferred.succeed(latch, undefined)
      expect((yield* Fiber.join(fiber)).filter(Exit.isSuccess)).toHaveLength(2)
      expect(yield* amounts(run)).toEqual({ spent: 80, held: 0 })
      expect(yield* denialOf(Run.within(spend(171), run))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
      expect(yield* run.summary).toMatchObject({ calls: 2, denials: 2, uncertain: 2 })
      expect(yield* back).toEqual({ spent: 80, reserved: 0 })
      expect(yield* run.summary).toMatchObject({ uncertain: 0 })
    }).pipe(Effect.scoped, Effect.provide(stage))
  )

  it.effect("cuts a stream that exceeds the budget of its run, and charges the used amount", () =>
    Effect.gen(function* () {
      yield* outage()
      const stream = Stream.rechunk(Stream.make(1, 2, 3, 4, 5, 6, 7, 8), 1).pipe(
        Cycles.withCyclesStream({ action, estimate: tokens(50), usage: () => tokens(60) })
      )
      const run = yield* Run.make({ budget: tokens(250) })
      expect(yield* denialOf(Stream.runDrain(Run.withinStream(stream, run)))).toMatchObject({
        code: "RUN_BUDGET_EXCEEDED"
      })
      expect(yield* back).toEqual({ spent: 300, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(stage))
  )

  it.effect(
    "charges a stream whose server goes away in the middle by its reservation, and one that starts then by an event",
    () =>
      Effect.gen(function* () {
        const guard = Cycles.withCyclesStream({ action, estimate: tokens(50), usage: () => tokens(10) })
        const first = Stream.make(1, 2, 3).pipe(
          Stream.rechunk(1),
          Stream.tap((i) => (i === 2 ? outage() : Effect.void))
        )
        yield* Stream.runDrain(guard(first))
        yield* Stream.runDrain(Stream.take(guard(Stream.rechunk(Stream.make(1, 2, 3), 1)), 2))
        expect(yield* back).toEqual({ spent: 50, reserved: 0 })
      }).pipe(Effect.provide(stage))
  )

  it.effect("charges a reservation by hand, also spend that is recorded after its settlement", () =>
    Effect.gen(function* () {
      yield* outage()
      const scope = yield* Scope.make()
      const reservation = yield* Cycles.reserve({ ...options, overagePolicy: "ALLOW_WITH_OVERDRAFT" }).pipe(
        Scope.provide(scope)
      )
      yield* reservation.extend("1 minute")
      yield* reservation.add(tokens(10))
      expect(yield* reservation.commit({ actual: tokens(20) })).toMatchObject({ _tag: "Pending" })
      expect(yield* Effect.flip(reservation.release())).toMatchObject({ _tag: "AlreadySettled" })
      yield* reservation.add(tokens(7))
      yield* Scope.close(scope, Exit.void)
      expect(yield* back).toEqual({ spent: 27, reserved: 0 })
      for (const event of yield* events) expect(event).toMatchObject({ overage_policy: "ALLOW_WITH_OVERDRAFT" })
    }).pipe(Effect.provide(stage))
  )

  it.effect("charges spend that is recorded after a settlement without spend", () =>
    Effect.gen(function* () {
      yield* outage()
      const body = Effect.gen(function* () {
        const { record } = yield* Reservation.Reservation
        yield* Effect.forkDetach(Effect.delay(record({ actual: tokens(9) }), "1 second"))
        return yield* Effect.fail("failed")
      })
      yield* Effect.exit(Cycles.withCycles(body, options))
      yield* TestClock.adjust("1 second")
      expect(yield* back).toEqual({ spent: 9, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect.each(["attempt", "wait", "background"] as const)("charges once with settle: %s", (settleBy) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", Fault.connectionRefused)
      const fiber = yield* Effect.forkChild(
        settlementOf(Effect.void, { ...options, actual: tokens(5), settle: settleBy })
      )
      yield* settle
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: settleBy === "wait" ? "Recovered" : "Pending" })
      expect(yield* back).toEqual({ spent: 5, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("charges each run of a job with a caller-supplied key, and releases its reservation", () =>
    Effect.gen(function* () {
      yield* outage(Fault.responseLost)
      const job = Cycles.withCycles(Effect.void, { ...options, actual: tokens(30), idempotencyKey: "job-1" })
      yield* job
      yield* job
      yield* TestClock.adjust("20 seconds")
      expect(yield* back).toEqual({ spent: 60, reserved: 0 })
      const { reservations } = yield* CyclesServer.CyclesServer
      expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
    }).pipe(Effect.provide(stage))
  )

  it.effect("waits for a server that doesn't respond once, and then asks again every 10 seconds", () =>
    Effect.gen(function* () {
      yield* outage(Fault.noResponse)
      const first = yield* Effect.forkChild(spend(1))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(first)
      const asked = (yield* operations).filter((operation) => operation === "reserve").length
      for (let i = 0; i < 5; i++) yield* spend(1)
      expect((yield* CyclesTest.requests("reserve")).length).toBe(asked)
      yield* CyclesTest.clearFaults()
      yield* TestClock.adjust("10 seconds")
      const reserves = (yield* CyclesTest.requests("reserve")).length
      yield* spend(1)
      yield* spend(1)
      expect((yield* CyclesTest.requests("reserve")).length).toBe(reserves + 2)
      expect(yield* back).toEqual({ spent: 8, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("runs a dry run unchecked, and charges nothing for it", () =>
    Effect.gen(function* () {
      yield* outage()
      expect(yield* settlementOf(Effect.void, { ...options, dryRun: true })).toMatchObject({ reason: "dry run" })
      expect(yield* back).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect.each(["die", "fail", "hang"] as const)("charges once if the journal can't be written: %s", (fault) => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* outage()
      journal.always("put", fault)
      const fiber = yield* Effect.forkChild(settlementOf(Effect.void, { ...options, actual: tokens(30) }))
      yield* settle
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "Pending", isJournaled: false })
      expect(yield* back).toEqual({ spent: 30, reserved: 0 })
    }).pipe(Effect.provide(live(config, { journal: journal.layer })))
  })

  it.effect("leaves the spend of a client that closes to the next client on the journal, and charges it once", () =>
    Effect.gen(function* () {
      const journal = Layer.succeedContext(yield* Layer.build(SettlementJournal.layerMemory))
      const client = Layer.unwrap(
        Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
          Cycles.layer({ ...config, baseUrl, apiKey, subject: { tenant }, flushTimeout: 0 })
        )
      ).pipe(Layer.provide(journal))
      yield* outage()
      yield* Effect.provide(spend(100, 30), client, { local: true })
      yield* CyclesTest.clearFaults()
      // Two clients at once find the record.
      const flush = Effect.provide(Cycles.flush("1 minute"), client, { local: true })
      yield* Effect.all([flush, flush], { concurrency: "unbounded" })
      expect(yield* books).toEqual({ spent: 30, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })))
  )
})
