/**
 * Guarded calls that wait for room in a run: `whenHeld` and `whenExhausted`.
 */
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Run } from "effect-cycles"
import { action, books, operations, tokens } from "./support/live.ts"
import { amounts, rich, settle, spend, spendAfter } from "./support/runs.ts"

const waiting = (budget: number, options?: Omit<Run.Options<false>, "budget">) =>
  Run.make({ budget: tokens(budget), whenHeld: { wait: "1 minute" }, ...options })

const pausing = (budget: number, options?: Omit<Run.Options<false>, "budget">) =>
  Run.make({ budget: tokens(budget), whenExhausted: "pause", ...options })

/** A guarded call that lasts, and reports when its body starts. */
const lasting = (estimate: number, actual: number, ms: number, onStart: () => void = () => {}) =>
  Cycles.withCycles(Effect.andThen(Effect.sync(onStart), Effect.sleep(ms)), {
    action,
    estimate: tokens(estimate),
    actual: tokens(actual)
  })

const statusOf = (run: Run.Run) => Effect.map(run.summary, ({ status }) => status)

describe("Run", () => {
  describe("whenHeld", () => {
    it.effect("runs all of 20 parallel calls of 100 that cost 10 in a budget of 500", () =>
      Effect.gen(function* () {
        const run = yield* waiting(500)
        const calls = Array.from({ length: 20 }, () => lasting(100, 10, 1_000))
        const fiber = yield* Effect.all(calls, { concurrency: "unbounded" }).pipe(Run.within(run), Effect.forkChild)
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 500 })
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(fiber)
        expect(yield* amounts(run)).toEqual({ spent: 200, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 20, denials: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies a call after the given time, and sends nothing for it", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        const latch = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(Run.within(spendAfter(latch, 100), run))
        yield* settle
        const second = yield* Effect.forkChild(Effect.flip(Run.within(spend(50), run)))
        yield* TestClock.adjust("59 seconds")
        expect(yield* run.summary).toMatchObject({ denials: 0 })
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(second)).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(first)
        expect(yield* run.summary).toMatchObject({ calls: 1, denials: 1 })
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(1)
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies a call at once that doesn't fit into the budget at all", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        yield* Run.within(spend(60), run)
        expect(yield* Effect.flip(Run.within(spend(50), run))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies a waiting call as soon as the held amounts are spent", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        const first = yield* Effect.forkChild(Run.within(lasting(60, 60, 1_000), run))
        yield* settle
        const second = yield* Effect.forkChild(Effect.flip(Run.within(spend(50), run)))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(first)
        expect(yield* Fiber.join(second)).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("admits calls in order: small calls don't starve a large one", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        const order: Array<string> = []
        const start = (name: string, estimate: number) =>
          Effect.forkChild(
            Run.within(
              lasting(estimate, 0, 1_000, () => order.push(name)),
              run
            ),
            { startImmediately: true }
          )
        const fibers = [yield* start("first", 60), yield* start("large", 100)]
        for (let small = 0; small < 5; small++) fibers.push(yield* start(`small ${small}`, 10))
        yield* settle
        expect(order).toEqual(["first"])
        yield* TestClock.adjust("1 second")
        expect(order).toEqual(["first", "large"])
        yield* TestClock.adjust("10 seconds")
        yield* Effect.forEach(fibers, Fiber.join)
        expect(order).toEqual(["first", "large", "small 0", "small 1", "small 2", "small 3", "small 4"])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies a call inside an open guard at once, so that guards can't wait for each other", () =>
      Effect.gen(function* () {
        const run = yield* waiting(500)
        const latch = yield* Deferred.make<void>()
        const nested = Cycles.withCycles(Effect.andThen(Deferred.await(latch), Effect.result(spend(200))), {
          action,
          estimate: tokens(200),
          actual: tokens(10)
        })
        const fiber = yield* Effect.all([nested, nested], { concurrency: 2 }).pipe(Run.within(run), Effect.forkChild)
        yield* settle
        yield* Deferred.succeed(latch, undefined)
        const results = yield* Fiber.join(fiber)
        expect(results.filter(Result.isFailure)).not.toHaveLength(0)
        expect((yield* amounts(run)).held).toBe(0)
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("holds nothing for an interrupted call, and lets the next one go on", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        const first = yield* Effect.forkChild(Run.within(lasting(60, 10, 1_000), run))
        yield* settle
        const large = yield* Effect.forkChild(Run.within(spend(90), run))
        yield* settle
        const small = yield* Effect.forkChild(Run.within(spend(40), run))
        yield* settle
        yield* Fiber.interrupt(large)
        yield* Fiber.join(small)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(first)
        expect(yield* amounts(run)).toEqual({ spent: 50, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("waits for a run around it, by the option of that run", () =>
      Effect.gen(function* () {
        const run = yield* waiting(100)
        const first = yield* Effect.forkChild(Run.within(lasting(60, 10, 1_000), run))
        yield* settle
        const second = yield* Effect.forkChild(Run.within(Cycles.withBudget(spend(90), tokens(90)), run))
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 60 })
        yield* TestClock.adjust("1 second")
        yield* Effect.forEach([first, second], Fiber.join)
        expect(yield* amounts(run)).toEqual({ spent: 100, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("dies with a RangeError if the time isn't a duration", () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Run.make({ whenHeld: { wait: -1 } }))
        expect(String(Exit.isFailure(exit) && exit.cause)).toContain("whenHeld")
      }).pipe(Effect.scoped)
    )

    const Call = Schema.Struct({
      estimate: Schema.Literals([0, 10, 60, 100]),
      percent: Schema.Literals([0, 50, 100]),
      startsAfter: Schema.Literals([0, 100, 500]),
      lasts: Schema.Literals([0, 300, 5_000]),
      interruptedAfter: Schema.Literals([50, 700, 1_000_000]),
      run: Schema.Literals([0, 1, 2]),
      nests: Schema.Boolean
    })

    it.effect.prop(
      "never exceeds a budget, loses no wake-up and ends (150 programs)",
      { calls: Schema.Array(Call).check(Schema.isMaxLength(12)) },
      ({ calls }) =>
        Effect.gen(function* () {
          const root = yield* waiting(100)
          const child = yield* waiting(60).pipe(Effect.provideService(Run.CurrentRun, root))
          const carved = yield* waiting(40, { share: "carve" }).pipe(Effect.provideService(Run.CurrentRun, root))
          const runs = [root, child, carved]
          const fibers = yield* Effect.forEach(calls, (call) => {
            const actual = (call.estimate * call.percent) / 100
            const one = lasting(call.estimate, actual, call.lasts)
            const body = call.nests
              ? Cycles.withCycles(Effect.exit(one), { action, estimate: tokens(10), actual: tokens(0) })
              : one
            return Effect.forkChild(
              Effect.andThen(Effect.sleep(call.startsAfter), Run.within(body, runs[call.run] ?? root)).pipe(
                Effect.timeoutOption(call.interruptedAfter),
                Effect.exit
              )
            )
          })
          for (let turn = 0; turn < 40; turn++) {
            yield* TestClock.adjust("500 millis")
            for (const run of runs) {
              const summary = yield* run.summary
              for (const { allocated, charged, held } of summary.budgets) {
                expect(charged.amount + held.amount).toBeLessThanOrEqual(allocated?.amount ?? 0n)
              }
            }
          }
          yield* TestClock.adjust("1 hour")
          yield* Effect.forEach(fibers, Fiber.join)
          expect((yield* amounts(child)).held).toBe(0)
          expect((yield* amounts(carved)).held).toBe(0)
          const { reserved, spent } = yield* books
          expect({ reserved, spent }).toEqual({ reserved: 0, spent: (yield* amounts(root)).spent })
        }).pipe(Effect.scoped, Effect.provide(rich())),
      { arbitrary: { runs: Number(process.env["CYCLES_TREES"] ?? 150) }, timeout: 120_000 }
    )
  })

  describe("whenExhausted", () => {
    it.effect("pauses a call until the budget is raised", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100)
        yield* Run.within(spend(80), run)
        const fiber = yield* Effect.forkChild(Run.within(spend(50), run))
        yield* TestClock.adjust("1 day")
        expect(yield* statusOf(run)).toBe("paused")
        expect(yield* amounts(run)).toEqual({ spent: 80, held: 0 })
        expect(yield* operations).toEqual(["reserve", "commit"])
        yield* run.raise(tokens(20))
        yield* settle
        expect(yield* statusOf(run)).toBe("paused")
        yield* run.raise(tokens(10))
        yield* Fiber.join(fiber)
        expect(yield* statusOf(run)).toBe("running")
        expect(yield* amounts(run)).toEqual({ spent: 130, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 2, denials: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("lets smaller calls go on meanwhile", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100)
        const fiber = yield* Effect.forkChild(Run.within(spend(150), run))
        yield* settle
        yield* Run.within(spend(60), run)
        expect(yield* amounts(run)).toEqual({ spent: 60, held: 0 })
        yield* Fiber.interrupt(fiber)
        expect(yield* statusOf(run)).toBe("running")
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("frees a paused call that is interrupted: nothing is held, and nothing is sent", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100)
        const fiber = yield* Effect.forkChild(Run.within(spend(150), run))
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* run.raise(tokens(1_000))
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 0 })
        expect(yield* operations).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("denies paused calls with RUN_ENDED at the end of the run, in children as well", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const run = yield* Scope.provide(pausing(100), scope)
        const own = yield* Effect.forkChild(Effect.flip(Run.within(spend(150), run)))
        const child = yield* Effect.forkChild(
          Effect.flip(Run.within(Cycles.withBudget(spend(60), tokens(50), { whenExhausted: "pause" }), run))
        )
        yield* settle
        yield* Scope.close(scope, Exit.void)
        expect(yield* Fiber.join(own)).toMatchObject({ code: "RUN_ENDED" })
        expect(yield* Fiber.join(child)).toMatchObject({ code: "RUN_ENDED" })
        expect(yield* run.summary).toMatchObject({ status: "ended", denials: 1 })
        expect(yield* operations).toEqual([])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("keeps the order of paused calls, and keeps the rest paused if a raise admits only one", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100)
        yield* Run.within(spend(100), run)
        const order: Array<string> = []
        const start = (name: string) =>
          Effect.forkChild(
            Run.within(
              lasting(50, 50, 1_000, () => order.push(name)),
              run
            ),
            { startImmediately: true }
          )
        const fibers = [yield* start("first"), yield* start("second")]
        yield* run.raise(tokens(50))
        yield* TestClock.adjust("5 seconds")
        expect(order).toEqual(["first"])
        expect(yield* statusOf(run)).toBe("paused")
        yield* run.raise(tokens(50))
        yield* TestClock.adjust("5 seconds")
        yield* Effect.forEach(fibers, Fiber.join)
        expect(order).toEqual(["first", "second"])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("emits Paused and Resumed", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100)
        const seen: Array<string> = []
        yield* Effect.forkChild(
          Stream.runForEach(run.events, ({ _tag }) => Effect.sync(() => seen.push(_tag))),
          { startImmediately: true }
        )
        const fiber = yield* Effect.forkChild(Run.within(spend(150), run))
        yield* settle
        yield* run.raise(tokens(50))
        yield* Fiber.join(fiber)
        yield* settle
        expect(seen.slice(0, 4)).toEqual(["Paused", "Resumed", "Opened", "Charged"])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("is denied at once if the budget of a carved child doesn't fit", () =>
      Effect.gen(function* () {
        const run = yield* pausing(100, { whenHeld: { wait: "1 minute" } })
        const error = yield* Effect.flip(
          Run.within(Cycles.withBudget(Effect.void, tokens(101), { share: "carve" }), run)
        )
        expect(error).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
        expect(yield* CyclesTest.requests()).toHaveLength(0)
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })
})
