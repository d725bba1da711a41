/**
 * Runs that hold their budgets on the server.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Reservation, Run } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { amounts, rich, settle, spend, spendAfter, spendIn, warningsOf } from "./support/runs.ts"

const bodiesOf = (operation: "reserve" | "commit" | "event") =>
  Effect.map(CyclesTest.requests(operation), (sent) => sent.map(({ body }): unknown => JSON.parse(body)))

describe("Run with hold", () => {
  it.effect("sends two requests for 12 calls in a run of 700, of which 9 pass", () =>
    Effect.gen(function* () {
      const calls = Array.from({ length: 12 }, () => Effect.result(spend(100, 70)))
      const results = yield* Effect.all(calls).pipe(Cycles.withBudget(tokens(700), { hold: true, name: "many" }))
      expect(results.filter(Result.isSuccess)).toHaveLength(9)
      expect(yield* operations).toEqual(["reserve", "commit"])
      expect(yield* bodiesOf("reserve")).toMatchObject([
        {
          action: { kind: "agent.run", name: "many" },
          estimate: { unit: "TOKENS", amount: 700 },
          metadata: { run_id: expect.any(String) }
        }
      ])
      expect(yield* bodiesOf("commit")).toMatchObject([
        {
          actual: { unit: "TOKENS", amount: 630 },
          metadata: { joined_calls: { "llm.completion openai:gpt-5": { calls: 9, actual: 630 } } }
        }
      ])
      expect(yield* books).toEqual({ spent: 630, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("fails with the denial of the server, and releases nothing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Cycles.withBudget(spend(1), tokens(1_001), { hold: true }))
      expect(error).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_EXCEEDED", action: { kind: "agent.run" } })
      expect(yield* books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("releases its reservation if nothing was spent, also if the job fails", () =>
    Effect.gen(function* () {
      yield* Cycles.withBudget(Effect.void, tokens(100), { hold: true })
      yield* Effect.exit(Cycles.withBudget(Effect.fail("failed"), tokens(100), { hold: true }))
      expect(yield* operations).toEqual(["reserve", "release", "reserve", "release"])
    }).pipe(Effect.provide(live({ onFailure: "estimate" })))
  )

  it.effect("commits the drawn amount if the job fails or is interrupted", () =>
    Effect.gen(function* () {
      yield* Effect.exit(
        Cycles.withBudget(Effect.andThen(spend(30), Effect.fail("failed")), tokens(100), { hold: true })
      )
      const hanging = Cycles.withCycles(Effect.andThen(Reservation.record({ actual: tokens(20) }), Effect.never), {
        action,
        estimate: tokens(50),
        onFailure: "partial"
      })
      const fiber = yield* Effect.forkChild(Cycles.withBudget(hanging, tokens(100), { hold: true }))
      yield* settle
      yield* Fiber.interrupt(fiber)
      expect(yield* books).toEqual({ spent: 50, reserved: 0 })
    }).pipe(Effect.provide(live({ onFailure: "release" })))
  )

  it.effect("holds one reservation for each unit, and leaves other units alone", () =>
    Effect.gen(function* () {
      yield* Effect.all([spend(10), spendIn(Amount.credits(5)), spendIn(Amount.riskPoints(3))]).pipe(
        Cycles.withBudget([tokens(100), Amount.credits(100)], { hold: true })
      )
      expect((yield* operations).toSorted()).toEqual(["commit", "commit", "commit", "reserve", "reserve", "reserve"])
      expect(yield* books).toEqual({ spent: 10, reserved: 0 })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("draws for nested guards once, whatever their option nested is", () =>
    Effect.gen(function* () {
      const nested = (nested: "independent" | "join") =>
        Cycles.withCycles(
          Cycles.withCycles(Effect.void, { action, estimate: tokens(50), actual: tokens(30), nested }),
          { action: { kind: "tool.call", name: "outer" }, estimate: tokens(100), actual: tokens(70) }
        )
      const run = yield* Run.make({ budget: tokens(500), hold: true })
      yield* Run.within(nested("join"), run)
      expect(yield* amounts(run)).toEqual({ spent: 70, held: 0 })
      yield* Run.within(nested("independent"), run)
      expect(yield* amounts(run)).toEqual({ spent: 170, held: 0 })
      expect(yield* operations).toEqual(["reserve"])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("lets children, carved ones too, draw on the nearest run that holds", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(500), hold: true })
      yield* Effect.gen(function* () {
        yield* Cycles.withBudget(spend(100, 60), tokens(200))
        yield* Cycles.withBudget(spend(100, 50), tokens(200), { share: "carve" })
        yield* Cycles.withBudget(spend(100, 40), tokens(200), { share: "carve", hold: true })
      }).pipe(Run.within(run))
      expect(yield* amounts(run)).toEqual({ spent: 150, held: 0 })
      expect(yield* operations).toEqual(["reserve"])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("charges a call that outlives the run as an event", () =>
    Effect.gen(function* () {
      const latch = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const run = yield* Run.make({ budget: tokens(500), hold: true }).pipe(Scope.provide(scope))
      const fiber = yield* Effect.forkChild(Run.within(spendAfter(latch, 100, 60), run))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(latch, undefined)
      yield* Fiber.join(fiber)
      expect(yield* operations).toEqual(["reserve", "release", "event"])
      expect(yield* books).toEqual({ spent: 60, reserved: 0 })
      expect(yield* amounts(run)).toEqual({ spent: 60, held: 0 })
      expect(yield* Effect.flip(Run.within(spend(1), run))).toMatchObject({ code: "RUN_ENDED" })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("doesn't take over the scope of the body", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) }).pipe(
        Cycles.withBudget(tokens(500), { hold: true }),
        Scope.provide(scope)
      )
      yield* reservation.commit({ actual: tokens(40) })
      yield* Scope.close(scope, Exit.void)
      expect(yield* operations).toEqual(["reserve", "release", "event"])
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("keeps its lease for 110 minutes with the 10 extensions of a tenant", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(
        Cycles.withBudget(Effect.andThen(Effect.sleep("100 minutes"), spend(10)), tokens(100), { hold: true })
      )
      yield* TestClock.adjust("100 minutes")
      yield* Fiber.join(fiber)
      const sent = yield* operations
      expect(sent.filter((operation) => operation === "extend").length).toBeLessThanOrEqual(10)
      expect(sent.filter((operation) => operation !== "extend")).toEqual(["reserve", "commit"])
      expect(yield* books).toEqual({ spent: 10, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("lets guards make their own reservations after its lease was lost, and charges the drawn amount", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("extend", Fault.error(410, "RESERVATION_EXPIRED"))
      const job = Effect.andThen(spend(30), Effect.andThen(Effect.sleep("10 minutes"), spend(20)))
      const fiber = yield* Effect.forkChild(Cycles.withBudget(job, tokens(100), { hold: true }))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)
      expect((yield* operations).filter((operation) => operation !== "extend")).toEqual([
        "reserve",
        "reserve",
        "commit",
        "commit"
      ])
      expect(yield* books).toEqual({ spent: 50, reserved: 0 })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("reserves nothing for a raised budget: calls beyond the reservation reserve on their own", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(100), hold: true })
      yield* Run.within(spend(100), run)
      yield* run.raise(tokens(50))
      yield* Run.within(spend(50), run)
      expect(yield* operations).toEqual(["reserve", "reserve", "commit"])
      expect(yield* amounts(run)).toEqual({ spent: 150, held: 0 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("needs no journal, and warns about none", () =>
    Effect.gen(function* () {
      expect(yield* warningsOf(Cycles.withBudget(spend(10), tokens(100), { hold: true }))).toEqual([])
    }).pipe(Effect.provide(rich()))
  )

  it.effect('is not a guard around its calls, so nested: "reject" passes', () =>
    Effect.gen(function* () {
      const rejecting = Cycles.withCycles(Effect.void, { action, estimate: tokens(10), nested: "reject" })
      yield* Cycles.withBudget(rejecting, tokens(100), { hold: true })
      expect(yield* operations).toEqual(["reserve", "commit"])
    }).pipe(Effect.provide(rich()))
  )

  it.effect("can be interrupted while it waits for its reservation", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.noResponse)
      const fiber = yield* Effect.forkChild(Cycles.withBudget(Effect.void, tokens(100), { hold: true }))
      yield* settle
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      expect(yield* books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(rich()))
  )
})
