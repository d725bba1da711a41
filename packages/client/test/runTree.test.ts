/** Runs within runs, the end of a run, and what a run reports. */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Amount, Cycles, Run } from "effect-cycles"
import { action, books, operations, tokens } from "./support/live.ts"
import { amounts, denialOf, remaining, rich, settle, spend, spendAfter, spendIn, warningsOf } from "./support/runs.ts"

const budget = (amount: number, options?: Omit<Run.Options<false>, "budget">) =>
  Run.make({ ...options, budget: tokens(amount) })

/** Makes a child of a run. */
const childOf = (run: Run.Run, amount: number, options?: Omit<Run.Options<false>, "budget">) =>
  Run.within(budget(amount, options), run)

/** Makes a run in its own scope. The effect in the result ends it. */
const closeable = <E>(make: Effect.Effect<Run.Run, E, Scope.Scope>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const run = yield* Effect.provideService(make, Scope.Scope, scope)
    return [run, Scope.close(scope, Exit.void)] as const
  })

describe("Run", () => {
  describe('share: "remaining"', () => {
    it.effect("limits a child by its budget and by the rest of the budget of its parent", () =>
      Effect.gen(function* () {
        const parent = yield* budget(1_000, { name: "parent" })
        yield* Run.within(spend(300), parent)
        const first = yield* childOf(parent, 600)
        const second = yield* childOf(parent, 600)
        expect([yield* remaining(first), yield* remaining(second)]).toEqual([600, 600])
        yield* Run.within(spend(400), first)
        expect(yield* remaining(second)).toBe(300)
        expect(yield* denialOf(Run.within(spend(301), second))).toMatchObject({ name: "parent", remaining: 300 })
        yield* Run.within(spend(300), second)
        expect(yield* amounts(parent)).toEqual({ spent: 1_000, held: 0 })
        expect(yield* denialOf(Run.within(spend(201), first))).toMatchObject({ name: "run", remaining: 200 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("counts a child without a budget in the budget of its parent", () =>
      Effect.gen(function* () {
        const parent = yield* budget(100)
        const child = yield* Run.within(Run.make({ name: "child" }), parent)
        expect(yield* remaining(child)).toBe(100)
        yield* Run.within(spend(60), child)
        expect(yield* denialOf(Run.within(spend(60), child))).toMatchObject({ remaining: 40 })
        expect(yield* parent.summary).toMatchObject({
          calls: 0,
          denials: 0,
          budgets: [{ charged: tokens(60), remaining: tokens(40) }],
          children: [{ name: "child", calls: 1, denials: 1, budgets: [{ charged: tokens(60), allocated: undefined }] }]
        })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe('share: "carve"', () => {
    it.effect("holds the budget of the child in the parent, and refuses a child that doesn't fit", () =>
      Effect.gen(function* () {
        const parent = yield* budget(700, { name: "parent" })
        const [child, end] = yield* closeable(childOf(parent, 600, { share: "carve" }))
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 600 })
        expect(yield* denialOf(Effect.scoped(childOf(parent, 600, { share: "carve" })))).toEqual({
          code: "RUN_BUDGET_EXCEEDED",
          scopes: ["run:parent"],
          remaining: 100,
          name: "parent"
        })
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 600 })
        yield* Run.within(spend(100), parent)
        expect(yield* remaining(child)).toBe(600)
        yield* Run.within(spend(250), child)
        expect(yield* amounts(parent)).toEqual({ spent: 350, held: 350 })
        yield* end
        expect(yield* amounts(parent)).toEqual({ spent: 350, held: 0 })
        expect(yield* parent.summary).toMatchObject({ denials: 1, children: [{ status: "ended" }] })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("holds what a child spends above its budget in the parent at once", () =>
      Effect.gen(function* () {
        const parent = yield* budget(1_000)
        const [child, end] = yield* closeable(childOf(parent, 100, { share: "carve" }))
        const reservation = yield* Run.within(Cycles.reserve({ action, estimate: tokens(100) }), child)
        yield* reservation.record({ actual: tokens(160) })
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 160 })
        yield* reservation.commit({ actual: tokens(170) })
        expect(yield* amounts(parent)).toEqual({ spent: 170, held: 0 })
        yield* end
        expect(yield* amounts(parent)).toEqual({ spent: 170, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("carves several units together or none", () =>
      Effect.gen(function* () {
        const parent = yield* Run.make({ budget: [tokens(100), Amount.credits(10)] })
        const carve = Run.make({ budget: [tokens(50), Amount.credits(11)], share: "carve" })
        expect(yield* denialOf(Effect.scoped(Run.within(carve, parent)))).toMatchObject({ remaining: 10 })
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("charges a call that outlives the child to the parent", () =>
      Effect.gen(function* () {
        const parent = yield* budget(1_000)
        const [child, end] = yield* closeable(childOf(parent, 300, { share: "carve" }))
        const latch = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(Run.within(spendAfter(latch, 100, 40), child))
        yield* settle
        yield* end
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 100 })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        expect(yield* amounts(parent)).toEqual({ spent: 40, held: 0 })
        expect(yield* amounts(child)).toEqual({ spent: 40, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("has no effect without a parent", () =>
      Effect.gen(function* () {
        yield* spend(100).pipe(Cycles.withBudget(tokens(100), { share: "carve" }))
        const alone = Cycles.withBudget(spend(100), tokens(100), { share: "carve", parent: "none" })
        yield* Cycles.withBudget(alone, tokens(1))
        expect(yield* books).toEqual({ spent: 200, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )
  })

  describe("end", () => {
    it.effect("denies calls that still carry the run, and counts the spend of calls that were open", () =>
      Effect.gen(function* () {
        const [run, end] = yield* closeable(budget(1_000, { name: "job" }))
        const [open, late] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const running = yield* Effect.forkChild(Run.within(spendAfter(open, 100, 70), run))
        const detached = yield* Effect.andThen(Deferred.await(late), denialOf(spend(1))).pipe(
          Run.within(run),
          Effect.forkChild
        )
        yield* settle
        yield* end
        yield* Deferred.succeed(late, undefined)
        expect(yield* Fiber.join(detached)).toEqual({
          code: "RUN_ENDED",
          scopes: ["run:job"],
          remaining: undefined,
          name: "job"
        })
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 100 })
        yield* Deferred.succeed(open, undefined)
        yield* Fiber.join(running)
        expect(yield* amounts(run)).toEqual({ spent: 70, held: 0 })
        expect(yield* run.summary).toMatchObject({ status: "ended", calls: 1, denials: 1 })
        expect(yield* operations).toEqual(["reserve", "commit"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("of a parent denies the calls of its children, and new carved children", () =>
      Effect.gen(function* () {
        const [parent, end] = yield* closeable(budget(1_000, { name: "parent" }))
        const carved = yield* childOf(parent, 100, { share: "carve" })
        const sharing = yield* childOf(parent, 100)
        yield* end
        for (const child of [carved, sharing]) {
          expect(yield* denialOf(Run.within(spend(1), child))).toMatchObject({ code: "RUN_ENDED", name: "parent" })
        }
        expect(yield* denialOf(childOf(parent, 1, { share: "carve" }))).toMatchObject({ code: "RUN_ENDED" })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe("raise", () => {
    it.effect("gives later calls more room, and leaves the parent as it is", () =>
      Effect.gen(function* () {
        const parent = yield* budget(250)
        const child = yield* childOf(parent, 100)
        yield* Run.within(spend(100), child)
        yield* denialOf(Run.within(spend(50), child))
        yield* child.raise(tokens(200))
        expect(yield* remaining(child)).toBe(150)
        yield* Run.within(spend(150), child)
        expect(yield* amounts(parent)).toEqual({ spent: 250, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("lets a denied call run again with the same caller-supplied key", () =>
      Effect.gen(function* () {
        const run = yield* budget(100)
        const call = Cycles.withCycles(Effect.void, { action, estimate: tokens(150), idempotencyKey: "key-1" })
        expect(yield* denialOf(Run.within(call, run))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
        yield* run.raise(tokens(50))
        yield* Run.within(call, run)
        expect(yield* amounts(run)).toEqual({ spent: 150, held: 0 })
        // The server has settled it, so it isn't charged again.
        expect(yield* Effect.flip(Run.within(call, yield* budget(500)))).toMatchObject({ _tag: "AlreadySettled" })
        expect(yield* books).toEqual({ spent: 150, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("takes the amount of a carved budget from the parent, and fails if it has no room", () =>
      Effect.gen(function* () {
        const parent = yield* budget(250, { name: "parent" })
        const child = yield* childOf(parent, 100, { share: "carve" })
        yield* child.raise(tokens(100))
        expect(yield* amounts(parent)).toEqual({ spent: 0, held: 200 })
        expect(yield* denialOf(child.raise(tokens(100)))).toMatchObject({ name: "parent", remaining: 50 })
        expect(yield* remaining(child)).toBe(200)
      }).pipe(Effect.scoped)
    )

    it.effect("dies if the run has no budget in the unit", () =>
      Effect.gen(function* () {
        const run = yield* budget(100)
        expect(yield* Effect.exit(run.raise(Amount.credits(1)))).toEqual(
          Exit.die(new RangeError("The run run has no budget in CREDITS to raise"))
        )
      }).pipe(Effect.scoped)
    )
  })

  describe("onThreshold", () => {
    it.effect("runs once for each threshold, by the charged amount, in the run and in its parent", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const onThreshold = ({ allocated, at, charged, run }: Run.Threshold) =>
          Effect.sync(() => void seen.push(`${run.name} ${at}: ${charged} of ${allocated}`))
        const parent = yield* budget(100, { name: "parent", onThreshold })
        const child = yield* childOf(parent, 200, { name: "child", thresholds: [0.4, 0.1, 0.4], onThreshold })
        yield* Run.within(spend(79, 19), child)
        yield* settle
        expect(seen).toEqual([])
        for (const amount of [60, 0, 1, 19]) yield* Run.within(spend(amount), child)
        yield* settle
        expect(seen.toSorted()).toEqual([
          "child 0.1: 79 TOKENS of 200 TOKENS",
          "child 0.4: 80 TOKENS of 200 TOKENS",
          "parent 0.8: 80 TOKENS of 100 TOKENS",
          "parent 0.95: 99 TOKENS of 100 TOKENS"
        ])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("logs a callback that dies, and changes nothing", () =>
      Effect.gen(function* () {
        for (const onThreshold of [
          () => Effect.die("bug"),
          () => {
            throw new Error("bug")
          }
        ]) {
          const warnings = yield* warningsOf(
            Effect.andThen(spend(100), settle).pipe(Cycles.withBudget(tokens(100), { thresholds: [1], onThreshold }))
          )
          expect(warnings).toEqual(["onThreshold of the run run died"])
        }
        expect(yield* books).toEqual({ spent: 200, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )
  })

  describe("make", () => {
    it.effect.each([
      {
        options: { budget: [tokens(1), tokens(2)] },
        problem: "budget: expected at most one for each unit, got two in TOKENS"
      },
      { options: { thresholds: [0.5, 0] }, problem: "thresholds: expected fractions greater than 0, got 0" },
      { options: { thresholds: [Number.NaN] }, problem: "thresholds: expected fractions greater than 0, got NaN" },
      {
        options: JSON.parse('{ "thresholds": { "at": 0.5 } }'),
        problem: "thresholds: expected fractions greater than 0, got object"
      },
      {
        options: JSON.parse('{ "thresholds": 0.5 }'),
        problem: "thresholds: expected fractions greater than 0, got number"
      },
      {
        options: JSON.parse('{ "budget": { "amount": 1 } }'),
        problem: "budget: expected amounts as Amount.usd and the like make them"
      },
      { options: JSON.parse('{ "name": 1 }'), problem: "name: expected a text" },
      { options: { id: "" }, problem: "id: expected at least one character, got none" },
      { options: { name: "" }, problem: "name: expected at least one character, got none" }
    ])("dies with a RangeError: $problem", ({ options, problem }) =>
      Effect.gen(function* () {
        expect(yield* Effect.exit(Effect.scoped(Run.make(options)))).toEqual(Exit.die(new RangeError(problem)))
      })
    )

    it.effect("generates a different id for each run", () =>
      Effect.gen(function* () {
        const [first, second] = [yield* Run.make({}), yield* Run.make({})]
        expect(first.id).toMatch(/^[0-9a-f-]{36}$/)
        expect(second.id).not.toBe(first.id)
      }).pipe(Effect.scoped)
    )
  })

  describe("within, withinStream and outside", () => {
    it.effect("set the run of the fibers inside", () =>
      Effect.gen(function* () {
        const run = yield* budget(100)
        yield* Run.within(Effect.flatMap(Effect.forkChild(spend(30)), Fiber.join), run)
        yield* spend(500).pipe(Run.outside, Run.within(run))
        const stream = Cycles.withCyclesStream(Stream.make(1), {
          action,
          estimate: tokens(20),
          usage: () => tokens(20)
        })
        yield* Stream.runDrain(stream)
        yield* Stream.runDrain(Run.withinStream(stream, run))
        expect(yield* amounts(run)).toEqual({ spent: 50, held: 0 })
        expect(yield* Run.CurrentRun).toBeUndefined()
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("work with a copy of a run", () =>
      Effect.gen(function* () {
        const run = yield* budget(100)
        yield* Run.within(spend(30), { ...run })
        expect(yield* amounts(run)).toEqual({ spent: 30, held: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe("Cycles.withBudget", () => {
    it.effect("limits the effect in every given unit, and keeps its result and its errors", () =>
      Effect.gen(function* () {
        const calls = Effect.andThen(spend(100), spendIn(Amount.credits(2)))
        const limited = Cycles.withBudget(calls, [tokens(100), Amount.credits(1)], { name: "both" })
        expect(yield* denialOf(limited)).toMatchObject({ scopes: ["run:both"], remaining: 1 })
        expect(yield* Effect.succeed(1).pipe(Cycles.withBudget(tokens(1)))).toBe(1)
        expect(yield* Effect.flip(Cycles.withBudget(Effect.fail("mine"), tokens(1)))).toBe("mine")
      }).pipe(Effect.provide(rich()))
    )

    it.effect("dies with a RangeError if the budget isn't one, and doesn't start the effect", () =>
      Effect.gen(function* () {
        const problem = new RangeError("budget: expected amounts as Amount.usd and the like make them")
        const started = Effect.fail("started")
        const noBudget = JSON.parse('{ "amount": 1 }')
        expect(yield* Effect.exit(Cycles.withBudget(started, noBudget))).toEqual(Exit.die(problem))
        expect(yield* Effect.exit(started.pipe(Cycles.withBudget(noBudget)))).toEqual(Exit.die(problem))
      })
    )

    it.effect("leaves a reservation by hand in the scope of the caller", () =>
      Effect.gen(function* () {
        const reserve = Cycles.reserve({ action, estimate: tokens(100) })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.withBudget(reserve, tokens(100))
            expect(yield* books).toEqual({ spent: 0, reserved: 100 })
            yield* reservation.commit({ actual: tokens(10) })
          })
        )
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("ends its run when the effect ends or is interrupted", () =>
      Effect.gen(function* () {
        const runOf = <A, E>(use: (run: Run.Run) => Effect.Effect<A, E>) =>
          Effect.gen(function* () {
            const context = yield* Effect.context<never>()
            const run = Context.get(context, Run.CurrentRun)
            if (run === undefined) return yield* Effect.die("no run")
            runs.push(run)
            return yield* use(run)
          }).pipe(Cycles.withBudget(tokens(1)))
        const runs: Array<Run.Run> = []
        yield* runOf(() => Effect.void)
        yield* Effect.exit(runOf(() => Effect.fail("mine")))
        const fiber = yield* Effect.forkChild(runOf(() => Effect.never))
        yield* settle
        yield* Fiber.interrupt(fiber)
        expect(Exit.isFailure(yield* Fiber.await(fiber))).toBe(true)
        const ended = yield* Effect.forEach(runs, ({ summary }) => Effect.map(summary, ({ status }) => status))
        expect(ended).toEqual(["ended", "ended", "ended"])
      })
    )
  })
})
