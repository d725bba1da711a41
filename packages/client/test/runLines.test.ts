import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Reservation, Run } from "effect-cycles"
import { action, tokens } from "./support/live.ts"
import { denialOf, rich, settle, spend, spendIn } from "./support/runs.ts"

const search = { kind: "tool.call", name: "Search", tags: ["web"] }

const tokensOf = (run: Run.Run) =>
  Effect.map(run.summary, ({ lines }) =>
    lines.find((line) => line.unit === "TOKENS" && line.action.name === action.name)
  )

describe("Run.summary", () => {
  it.effect("has a line for each action and unit, in the order of their first calls", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: [tokens(1_000), Amount.usd("0.01")] })
      yield* Effect.gen(function* () {
        yield* spend(100, 60)
        yield* spend(100, 70)
        yield* Cycles.withCycles(Effect.void, { action: search, estimate: Amount.riskPoints(5) })
        yield* spendIn(Amount.usd("0.001"))
        yield* Cycles.withCycles(Effect.void, { action: { ...search, tags: [] }, estimate: Amount.riskPoints(5) })
      }).pipe(Run.within(run))
      const none = { denied: 0, wouldDeny: 0, open: 0, uncertain: 0, latencyMs: 0, maxLatencyMs: 0 }
      const { kind, name } = action
      expect((yield* run.summary).lines).toEqual([
        { action: { kind, name }, unit: "TOKENS", calls: 2, estimated: 200n, charged: 130n, ...none },
        {
          action: { kind: "tool.call", name: "Search" },
          unit: "RISK_POINTS",
          calls: 2,
          estimated: 10n,
          charged: 10n,
          ...none
        },
        { action: { kind, name }, unit: "USD_MICROCENTS", calls: 1, estimated: 100_000n, charged: 100_000n, ...none }
      ])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("keeps lines apart whose kinds and names are joined to the same text", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({})
      for (const [kind, name] of [["a", "b c"] as const, ["a b", "c"] as const]) {
        yield* Cycles.withCycles(Effect.void, { action: { kind, name }, estimate: tokens(1) }).pipe(Run.within(run))
      }
      expect((yield* run.summary).lines.map(({ action, calls }) => [action.kind, action.name, calls])).toEqual([
        ["a", "b c", 1],
        ["a b", "c", 1]
      ])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("shows open calls, how long ended calls took, and the time since the start until the end", () =>
    Effect.gen(function* () {
      const run = yield* Effect.scoped(
        Effect.gen(function* () {
          const run = yield* Run.make({ budget: tokens(500) })
          yield* TestClock.adjust("1 second")
          const slow = spendFor("4 seconds").pipe(Run.within(run))
          const fast = spendFor("1 second").pipe(Run.within(run))
          const fibers = yield* Effect.forEach([slow, fast], (call) => Effect.forkChild(call))
          yield* settle
          yield* TestClock.adjust("2 seconds")
          expect(yield* run.summary).toMatchObject({ status: "running", elapsedMs: 3_000 })
          expect(yield* tokensOf(run)).toMatchObject({
            calls: 2,
            open: 1,
            estimated: 200n,
            charged: 100n,
            latencyMs: 1_000,
            maxLatencyMs: 1_000
          })
          yield* TestClock.adjust("2 seconds")
          yield* Effect.forEach(fibers, Fiber.join)
          return run
        })
      )
      yield* TestClock.adjust("1 minute")
      expect(yield* run.summary).toMatchObject({ status: "ended", elapsedMs: 5_000 })
      expect(yield* tokensOf(run)).toMatchObject({ calls: 2, open: 0, latencyMs: 5_000, maxLatencyMs: 4_000 })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("shows the spend of a call that ends after its run", () =>
    Effect.gen(function* () {
      const latch = yield* Deferred.make<void>()
      const { fiber, run } = yield* Effect.scoped(
        Effect.gen(function* () {
          const run = yield* Run.make({})
          const call = Effect.gen(function* () {
            const reservation = yield* Reservation.Reservation
            yield* Deferred.await(latch)
            yield* reservation.record({ actual: tokens(30) })
          }).pipe(Cycles.withCycles({ action, estimate: tokens(100) }), Run.within(run))
          const fiber = yield* Effect.forkDetach(call)
          yield* settle
          return { fiber, run }
        })
      )
      expect(yield* tokensOf(run)).toMatchObject({ calls: 1, open: 1, charged: 0n })
      yield* Deferred.succeed(latch, undefined)
      yield* Fiber.join(fiber)
      expect(yield* tokensOf(run)).toMatchObject({ calls: 1, open: 0, charged: 30n })
    }).pipe(Effect.provide(rich()))
  )

  it.effect("counts denials of the run and of the server, and cut streams, and no calls that weren't admitted", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(150) })
      yield* denialOf(Run.within(spend(200), run))
      yield* CyclesTest.inject("reserve", Fault.denied)
      yield* denialOf(Run.within(spend(100), run))
      expect(yield* tokensOf(run)).toMatchObject({ calls: 0, denied: 2, open: 0, estimated: 0n, charged: 0n })
      const stream = Stream.rechunk(Stream.make(1, 2, 3, 4), 1).pipe(
        Cycles.withCyclesStream({ action, estimate: tokens(100), usage: () => tokens(60) }),
        Run.withinStream(run)
      )
      yield* denialOf(Stream.runDrain(stream))
      expect(yield* tokensOf(run)).toMatchObject({ calls: 1, denied: 3, open: 0, estimated: 100n, charged: 180n })
      const unused = yield* Run.make({})
      yield* CyclesTest.always("reserve", Fault.connectionRefused)
      yield* Effect.flip(Run.within(spend(100), unused))
      expect(yield* tokensOf(unused)).toMatchObject({ calls: 0, denied: 0, open: 0, estimated: 0n, charged: 0n })
      expect(yield* run.summary).toMatchObject({ calls: 1, denials: 3 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("counts charged events and uncertain calls", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({})
      yield* Cycles.event({ action, actual: tokens(7) }).pipe(Run.within(run))
      yield* CyclesTest.inject("commit", Fault.status(503))
      yield* spend(100, 40).pipe(Run.within(run))
      expect(yield* tokensOf(run)).toMatchObject({ calls: 2, estimated: 100n, charged: 47n, uncertain: 1 })
      yield* TestClock.adjust("1 hour")
      expect(yield* tokensOf(run)).toMatchObject({ calls: 2, charged: 47n, uncertain: 0 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("has the spend of a child in the lines of the child and in the budgets of the parent", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(1_000) })
      yield* Effect.andThen(
        spend(100, 10),
        Cycles.withBudget(spend(100, 30), tokens(500), { name: "child", share: "carve" })
      ).pipe(Run.within(run))
      expect(yield* run.summary).toMatchObject({
        budgets: [{ charged: tokens(40) }],
        lines: [{ calls: 1, charged: 10n }],
        children: [{ budgets: [{ charged: tokens(30) }], lines: [{ calls: 1, charged: 30n }] }]
      })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )
})

/** A guarded call of 100 tokens that takes some time. */
const spendFor = (duration: "1 second" | "4 seconds") =>
  Cycles.withCycles(Effect.sleep(duration), { action, estimate: tokens(100) })
