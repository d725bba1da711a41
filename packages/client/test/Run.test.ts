import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, CyclesConfig, Run } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { amounts, denialOf, remaining, rich, settle, spend, spendAfter, spendIn, warningsOf } from "./support/runs.ts"
import { settlementOf } from "./support/settled.ts"

const budget = (amount: number, options?: Omit<Run.Options<false>, "budget">) =>
  Run.make({ ...options, budget: tokens(amount) })

describe("Run", () => {
  describe("reserve", () => {
    it.effect("admits 5 of 20 parallel calls of 100 in a budget of 500, and sends nothing for the others", () =>
      Effect.gen(function* () {
        const run = yield* budget(500, { name: "fan-out" })
        const latch = yield* Deferred.make<void>()
        const calls = Array.from({ length: 20 }, () => Effect.result(spendAfter(latch, 100)))
        const fiber = yield* Effect.all(calls, { concurrency: "unbounded" }).pipe(Run.within(run), Effect.forkChild)
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 500 })
        expect(yield* operations).toHaveLength(5)
        yield* Deferred.succeed(latch, undefined)
        const results = yield* Fiber.join(fiber)
        expect(results.filter(Result.isSuccess)).toHaveLength(5)
        expect(yield* denialOf(Run.within(spend(1), run))).toEqual({
          code: "RUN_BUDGET_EXCEEDED",
          scopes: ["run:fan-out"],
          remaining: 0,
          name: "fan-out"
        })
        expect(yield* amounts(run)).toEqual({ spent: 500, held: 0 })
        expect(yield* operations).toHaveLength(10)
        expect(yield* run.summary).toMatchObject({ calls: 5, denials: 16 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("puts the id of the run into the metadata of the reserve, and keeps the metadata of the caller", () =>
      Effect.gen(function* () {
        yield* spendIn(tokens(1)).pipe(Cycles.withBudget(tokens(10), { id: "job-1" }))
        yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(1), metadata: { step: 2 } }).pipe(
          Cycles.withBudget(tokens(10), { id: "job-2" })
        )
        yield* spendIn(tokens(1))
        // A repeated request must be the same as the first one, so it can't contain a random id.
        const keyed = (idempotencyKey: string) =>
          Cycles.withCycles(Effect.void, { action, estimate: tokens(1), idempotencyKey })
        yield* keyed("key-1").pipe(Cycles.withBudget(tokens(10)))
        expect(yield* Effect.flip(keyed("key-1").pipe(Cycles.withBudget(tokens(10))))).toMatchObject({
          _tag: "AlreadySettled"
        })
        yield* keyed("key-2").pipe(Cycles.withBudget(tokens(10), { id: "job-3" }))
        const bodies = (yield* CyclesTest.requests("reserve")).map(({ body }): unknown => JSON.parse(body))
        expect(bodies).toMatchObject([
          { metadata: { run_id: "job-1" } },
          { metadata: { run_id: "job-2", step: 2 } },
          expect.not.objectContaining({ metadata: expect.anything() }),
          expect.not.objectContaining({ metadata: expect.anything() }),
          expect.not.objectContaining({ metadata: expect.anything() }),
          { metadata: { run_id: "job-3" } }
        ])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("returns the hold and counts a denial if the server denies the reserve", () =>
      Effect.gen(function* () {
        const run = yield* budget(5_000)
        expect(yield* denialOf(Run.within(spend(2_000), run))).toMatchObject({
          code: "BUDGET_EXCEEDED",
          name: undefined
        })
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 0, denials: 1 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("returns the hold if the server can't be reached", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        yield* CyclesTest.always("reserve", Fault.connectionRefused)
        expect(yield* Effect.flip(Run.within(spend(100), run))).toMatchObject({ _tag: "TransportError" })
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 0, denials: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("returns the hold if the reserve is interrupted, also with a caller-supplied key", () =>
      Effect.gen(function* () {
        for (const idempotencyKey of [undefined, "key-1"]) {
          const run = yield* budget(500)
          yield* CyclesTest.inject("reserve", Fault.noResponse)
          const call =
            idempotencyKey === undefined
              ? spend(100)
              : Cycles.withCycles(Effect.void, { action, estimate: tokens(100), idempotencyKey })
          const fiber = yield* Effect.forkChild(Run.within(call, run))
          yield* settle
          expect(yield* amounts(run)).toEqual({ spent: 0, held: 100 })
          yield* Fiber.interrupt(fiber)
          expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        }
        yield* TestClock.adjust("1 hour")
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("checks a dry run and holds nothing for it", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        const dry = (estimate: number) =>
          Run.within(Cycles.withCycles(Effect.void, { action, estimate: tokens(estimate), dryRun: true }), run)
        yield* dry(500)
        expect(yield* denialOf(dry(501))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED", remaining: 500 })
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 0, denials: 1 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("holds the estimate of Cycles.reserve until it is settled", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        const scope = yield* Scope.make()
        const reserve = Cycles.reserve({ action, estimate: tokens(200) }).pipe(Scope.provide(scope), Run.within(run))
        const committed = yield* reserve
        yield* reserve
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 400 })
        expect(yield* denialOf(reserve)).toMatchObject({ code: "RUN_BUDGET_EXCEEDED", remaining: 100 })
        yield* committed.commit({ actual: tokens(150) })
        expect(yield* amounts(run)).toEqual({ spent: 150, held: 200 })
        yield* Scope.close(scope, Exit.void)
        expect(yield* amounts(run)).toEqual({ spent: 150, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies every positive estimate with a budget of 0", () =>
      Effect.gen(function* () {
        expect(yield* denialOf(Cycles.withBudget(spend(1), tokens(0)))).toMatchObject({ remaining: 0, name: "run" })
        expect(yield* operations).toEqual([])
      }).pipe(Effect.provide(rich()))
    )
  })

  describe("settlement", () => {
    it.effect("returns the hold and charges the actual amount before the commit is sent", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        yield* CyclesTest.inject("commit", Fault.noResponse)
        const fiber = yield* Effect.forkChild(Run.within(spend(500, 40), run))
        yield* settle
        expect(fiber.pollUnsafe()).toBeUndefined()
        expect(yield* amounts(run)).toEqual({ spent: 40, held: 0 })
        expect(yield* remaining(run)).toBe(460)
        yield* TestClock.adjust("1 hour")
        yield* Fiber.join(fiber)
        expect(yield* amounts(run)).toEqual({ spent: 40, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("charges the actual amount, even if the server charges less", () =>
      Effect.gen(function* () {
        const run = yield* budget(5_000)
        yield* Run.within(spend(1_000, 1_500), run)
        expect(yield* books).toEqual({ spent: 1_000, reserved: 0 })
        expect(yield* amounts(run)).toEqual({ spent: 1_500, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(live({ overagePolicy: "ALLOW_IF_AVAILABLE" })))
    )

    it.effect("counts a pending charge as uncertain until it is confirmed, and keeps a rejected one", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        yield* CyclesTest.inject("commit", Fault.status(503))
        yield* Run.within(spend(100), run)
        expect(yield* run.summary).toMatchObject({ uncertain: 1, calls: 1 })
        expect(yield* amounts(run)).toEqual({ spent: 100, held: 0 })
        yield* TestClock.adjust("1 hour")
        expect(yield* run.summary).toMatchObject({ uncertain: 0 })
        yield* CyclesTest.inject("commit", Fault.error(404, "NOT_FOUND"))
        yield* CyclesTest.inject("getReservation", Fault.error(404, "NOT_FOUND"))
        const rejected = yield* settlementOf(Effect.void, { action, estimate: tokens(100) }).pipe(Run.within(run))
        expect(rejected).toMatchObject({ _tag: "Rejected" })
        expect(yield* run.summary).toMatchObject({ uncertain: 1 })
        expect(yield* amounts(run)).toEqual({ spent: 200, held: 0 })
        // A settlement in the background is unconfirmed until its commit has succeeded.
        yield* CyclesTest.inject("commit", Fault.noResponse)
        yield* Run.within(Cycles.withCycles(Effect.void, { action, estimate: tokens(100), settle: "background" }), run)
        expect(yield* run.summary).toMatchObject({ uncertain: 2 })
        yield* TestClock.adjust("1 hour")
        expect(yield* run.summary).toMatchObject({ uncertain: 1 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("counts a charge as uncertain until a scan of the journal confirms it after the last retry", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        yield* CyclesTest.inject("commit", Fault.responseLost, Fault.responseLost)
        yield* Run.within(spend(100), run)
        yield* TestClock.adjust("5 seconds")
        expect(yield* run.summary).toMatchObject({ uncertain: 1 })
        yield* TestClock.adjust("2 minutes")
        expect(yield* run.summary).toMatchObject({ uncertain: 0 })
        expect(yield* books).toEqual({ spent: 100, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich({ retry: CyclesConfig.retryPolicy({ times: 1 }) })))
    )

    it.effect("charges spend that is recorded after the settlement was decided", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        const reservation = yield* Run.within(Cycles.reserve({ action, estimate: tokens(100) }), run)
        yield* reservation.commit({ actual: tokens(80) })
        yield* reservation.add(tokens(30))
        expect(yield* amounts(run)).toEqual({ spent: 110, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("charges an event after success, and nothing if it fails", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        yield* Run.within(Cycles.event({ action, actual: tokens(42) }), run)
        yield* CyclesTest.always("event", Fault.error(400, "INVALID_REQUEST"))
        yield* Effect.flip(Run.within(Cycles.event({ action, actual: tokens(42) }), run))
        expect(yield* amounts(run)).toEqual({ spent: 42, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 1 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("returns every hold if the run is interrupted", () =>
      Effect.gen(function* () {
        const run = yield* budget(500)
        const calls = Effect.all(
          [1, 2, 3].map(() => Cycles.withCycles(Effect.never, { action, estimate: tokens(100) })),
          {
            concurrency: "unbounded"
          }
        )
        const fiber = yield* Effect.forkChild(Run.within(calls, run))
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 300 })
        yield* Fiber.interrupt(fiber)
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe("spend above the estimate", () => {
    const elements = Stream.rechunk(Stream.fromIterable([1, 2, 3, 4, 5, 6, 7, 8]), 1)
    const options = { action, estimate: tokens(50), usage: () => tokens(60) }

    it.effect.each(["partial", "release", "estimate"] as const)(
      "cuts a stream after the chunk that exceeds the budget, and charges the usage (onFailure: %s)",
      (onFailure) =>
        Effect.gen(function* () {
          const run = yield* budget(250, { name: "stream" })
          const seen: Array<readonly [element: number, held: number]> = []
          let pulled = 0
          const stream = Stream.tap(elements, () => Effect.sync(() => void (pulled += 1))).pipe(
            Cycles.withCyclesStream({ ...options, onFailure }),
            Stream.mapEffect((element) =>
              Effect.map(amounts(run), ({ held }) => void seen.push([element, held] as const))
            ),
            Stream.runDrain
          )
          expect(yield* denialOf(Run.within(stream, run))).toEqual({
            code: "RUN_BUDGET_EXCEEDED",
            scopes: ["run:stream"],
            remaining: 10,
            name: "stream"
          })
          expect(seen).toEqual([
            [1, 60],
            [2, 120],
            [3, 180],
            [4, 240],
            [5, 300]
          ])
          expect(pulled).toBe(5)
          expect(yield* amounts(run)).toEqual({ spent: 300, held: 0 })
          expect(yield* books).toEqual({ spent: 300, reserved: 0 })
          expect(yield* run.summary).toMatchObject({ calls: 1, denials: 1 })
        }).pipe(Effect.scoped, Effect.provide(rich({ overagePolicy: "ALLOW_WITH_OVERDRAFT" })))
    )

    it.effect("denies a call beside the stream, because the stream holds its usage", () =>
      Effect.gen(function* () {
        const run = yield* budget(250)
        const stream = Cycles.withCyclesStream(Stream.take(elements, 3), options).pipe(
          Stream.mapEffect((element) => (element === 3 ? denialOf(spend(71)) : Effect.void)),
          Stream.runCollect
        )
        expect(yield* Run.within(stream, run)).toMatchObject([undefined, undefined, { remaining: 70 }])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("grows the hold with the recorded total of an effect, which isn't cut", () =>
      Effect.gen(function* () {
        const run = yield* budget(100)
        const reservation = yield* Run.within(Cycles.reserve({ action, estimate: tokens(50) }), run)
        yield* reservation.record({ actual: tokens(80) })
        yield* reservation.add(tokens(40))
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 120 })
        expect(yield* remaining(run)).toBe(0)
        yield* reservation.commit({ actual: tokens(120) })
        expect(yield* denialOf(Run.within(spend(1), run))).toMatchObject({ remaining: -20 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("cuts a stream that journals its usage", () =>
      Effect.gen(function* () {
        const run = yield* budget(250)
        const stream = Cycles.withCyclesStream(elements, { ...options, onCrash: "recorded" })
        yield* denialOf(Run.within(Stream.runDrain(stream), run))
        expect(yield* amounts(run)).toEqual({ spent: 300, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe("units", () => {
    it.effect("denies tokens in a budget of dollars only, and dollars in one of tokens", () =>
      Effect.gen(function* () {
        const call = Cycles.withBudget(spend(1), Amount.usd("1.00"), { name: "job" })
        expect(yield* denialOf(call)).toEqual({
          code: "RUN_UNCOVERED",
          scopes: ["run:job"],
          remaining: undefined,
          name: "job"
        })
        expect((yield* Effect.flip(call)).message).toBe(
          "Budget denied: reserve 1 TOKENS for llm.completion openai:gpt-5 on run:job (RUN_UNCOVERED); " +
            'the run has no budget in TOKENS: add one, or set uncovered to "allow"'
        )
        const dollars = Cycles.withBudget(spendIn(Amount.usdMicrocents(1)), tokens(10))
        expect(yield* denialOf(dollars)).toMatchObject({ code: "RUN_UNCOVERED" })
        expect(yield* operations).toEqual([])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("accepts a budget in the unit anywhere in the chain", () =>
      Effect.gen(function* () {
        yield* spend(1).pipe(Cycles.withBudget(tokens(10)), Cycles.withBudget(Amount.usd("1.00")))
        yield* spend(1).pipe(Cycles.withBudget(Amount.usd("1.00")), Cycles.withBudget(tokens(10)))
        expect(yield* books).toEqual({ spent: 2, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )

    it.effect('uncovered: "allow" applies to the budgets of its run only, and not to those of the parent', () =>
      Effect.gen(function* () {
        yield* spend(1).pipe(Cycles.withBudget(Amount.usd("1.00"), { uncovered: "allow" }))
        const inChild = spend(1).pipe(
          Cycles.withBudget(Amount.usd("0.50"), { uncovered: "allow" }),
          Cycles.withBudget(Amount.usd("1.00"), { name: "parent" })
        )
        expect(yield* denialOf(inChild)).toMatchObject({ code: "RUN_UNCOVERED", name: "parent" })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("counts other units without a budget, lists them, and warns once for each run and unit", () =>
      Effect.gen(function* () {
        const run = yield* budget(500, { name: "job", id: "job-1" })
        const warnings = yield* warningsOf(
          Effect.gen(function* () {
            yield* spendIn(Amount.riskPoints(3))
            yield* spendIn(Amount.riskPoints(3))
            yield* Cycles.event({ action, actual: Amount.credits(5) })
            yield* Cycles.event({ action, actual: Amount.credits(5) })
            yield* spend(10)
          }).pipe(Run.within(run))
        )
        expect(warnings).toEqual(
          ["RISK_POINTS", "CREDITS"].map(
            (unit) => `The run job (job-1) has no budget in ${unit}: spend in this unit is counted and not limited`
          )
        )
        expect(yield* run.summary).toMatchObject({
          uncovered: ["RISK_POINTS", "CREDITS"],
          budgets: [
            { unit: "TOKENS", allocated: tokens(500), charged: tokens(10), held: tokens(0), remaining: tokens(490) },
            { unit: "RISK_POINTS", allocated: undefined, charged: Amount.riskPoints(6), remaining: undefined },
            { unit: "CREDITS", charged: Amount.credits(10) }
          ]
        })
        expect(yield* run.remaining("CREDITS")).toEqual(Option.none())
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })
})
