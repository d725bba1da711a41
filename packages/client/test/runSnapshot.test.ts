import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { CyclesTest } from "@effect-cycles/testing"
import { Amount, Cycles, Run, RunLimits } from "effect-cycles"
import { action, operations, tokens } from "./support/live.ts"
import { amounts, denialOf, remaining, rich, settle, spend, spendAfter } from "./support/runs.ts"

/** Writes the snapshot of a run and reads it again, as another process does. */
const saved = (run: Run.Run) =>
  Effect.gen(function* () {
    const text = JSON.stringify(yield* run.snapshot)
    return yield* Schema.decodeUnknownEffect(Run.Snapshot)(JSON.parse(text))
  })

/** Runs an effect within a run that isn't a child, and returns the snapshot at its end. */
const snapshotOf = <A, E, R>(options: Run.Options, use: (run: Run.Run) => Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const run = yield* Run.make({ ...options, parent: "none" })
      yield* Run.within(use(run), run)
      return yield* saved(run)
    })
  )

/** A summary without its id and times. */
const spentOf = ({ budgets, calls, children, denials, lines }: Run.Summary): unknown => ({
  budgets,
  lines,
  calls,
  denials,
  children: children.map(spentOf)
})

describe("Run.snapshot", () => {
  it.effect("restores the spend, the lines, the counts and the time of a run", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf(
        { id: "job-1", name: "job", budget: [tokens(1_000), Amount.riskPoints(5)], limits: { steps: 3 } },
        () =>
          Effect.gen(function* () {
            yield* RunLimits.takeStep(action)
            yield* spend(100, 70)
            yield* denialOf(spend(2_000))
            yield* RunLimits.takeStep(action)
            yield* Cycles.event({ action, actual: Amount.credits(3) })
            yield* TestClock.adjust("90 seconds")
          })
      )
      const run = yield* Run.make({ id: "job-1", restore, limits: { steps: 3 } })
      const summary = yield* run.summary
      expect(summary).toMatchObject({
        id: "job-1",
        name: "job",
        status: "running",
        elapsedMs: 90_000,
        steps: 2,
        calls: 2,
        denials: 1,
        uncovered: ["CREDITS"],
        budgets: [
          { unit: "TOKENS", allocated: tokens(1_000), charged: tokens(70), held: tokens(0), remaining: tokens(930) },
          { unit: "RISK_POINTS", allocated: Amount.riskPoints(5), charged: Amount.riskPoints(0) },
          { unit: "CREDITS", allocated: undefined, charged: Amount.credits(3) }
        ],
        lines: [
          { unit: "TOKENS", calls: 1, denied: 1, charged: 70n, estimated: 100n },
          { unit: "CREDITS", calls: 1, charged: 3n }
        ]
      })
      yield* Run.within(spend(900, 30), run)
      expect(yield* amounts(run)).toEqual({ spent: 100, held: 0 })
      expect((yield* run.summary).lines[0]).toMatchObject({ calls: 2, charged: 100n, estimated: 1_000n })
      yield* Run.within(RunLimits.takeStep(action), run)
      expect(yield* denialOf(Run.within(RunLimits.takeStep(action), run))).toMatchObject({ code: "RUN_STEPS_EXCEEDED" })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("denies at once if the run was at its ceiling, and sends nothing", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(100) }, () => spend(100))
      const before = (yield* operations).length
      const run = yield* Run.make({ id: "job-1", restore })
      expect(yield* denialOf(Run.within(spend(1), run))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED", remaining: 0 })
      expect(yield* operations).toHaveLength(before)
      yield* run.raise(tokens(10))
      yield* Run.within(spend(10), run)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("counts the estimates of open calls as spent, in the budgets and in the lines", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(1_000) }, (run) =>
        Effect.gen(function* () {
          yield* spend(100, 20)
          yield* Effect.forkChild(spendAfter(yield* Deferred.make<void>(), 300), { startImmediately: true })
          yield* settle
          expect(yield* amounts(run)).toEqual({ spent: 20, held: 300 })
          const opened = yield* saved(run)
          // The snapshot of the run below is taken while the call is still open.
          expect(opened.budgets[0]).toMatchObject({ charged: "320" })
        })
      )
      const run = yield* Run.make({ restore })
      expect(yield* amounts(run)).toEqual({ spent: 320, held: 0 })
      expect((yield* run.summary).lines).toMatchObject([
        { calls: 2, open: 0, charged: 320n, estimated: 400n, uncertain: 1 }
      ])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("doesn't report the thresholds again that were reached before, and reports the others", () =>
    Effect.gen(function* () {
      const reached: Array<number> = []
      const onThreshold = ({ at }: Run.Threshold) => Effect.sync(() => void reached.push(at))
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(100), onThreshold }, () =>
        Effect.andThen(spend(85), settle)
      )
      expect(reached).toEqual([0.8])
      const run = yield* Run.make({ restore, onThreshold, thresholds: [0.5, 0.8, 0.9, 0.95] })
      yield* Run.within(spend(1), run)
      yield* settle
      expect(reached).toEqual([0.8])
      yield* Run.within(spend(9), run)
      yield* settle
      expect(reached).toEqual([0.8, 0.9, 0.95])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("restores a tree: the parent has the spend of its children once, and children continue", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(1_000) }, () =>
        Effect.gen(function* () {
          yield* spend(100, 50)
          yield* Cycles.withBudget(spend(100, 30), tokens(200), { id: "scout", name: "scout" })
          const carved = yield* Run.make({ id: "carved", name: "carved", budget: tokens(400), share: "carve" })
          yield* Run.within(spend(100, 60), carved)
        }).pipe(Effect.scoped)
      )
      const run = yield* Run.make({ restore })
      expect(yield* amounts(run)).toEqual({ spent: 140, held: 0 })
      const [scout, carved] = restore.children
      // A carved child holds the rest of its budget again.
      const again = yield* Run.within(Run.make({ id: "carved", share: "carve", restore: carved }), run)
      expect(yield* amounts(run)).toEqual({ spent: 140, held: 340 })
      expect(yield* amounts(again)).toEqual({ spent: 60, held: 0 })
      yield* Run.within(spend(100, 40), again)
      expect(yield* amounts(run)).toEqual({ spent: 180, held: 300 })
      expect((yield* run.summary).children).toMatchObject([
        { id: "scout", status: "ended", budgets: [{ charged: tokens(30) }], lines: [{ calls: 1, charged: 30n }] },
        { id: "carved", status: "running", budgets: [{ charged: tokens(100) }] }
      ])
      const child = yield* Run.within(Run.make({ restore: scout }), run)
      expect(yield* amounts(run)).toEqual({ spent: 180, held: 300 })
      expect(yield* remaining(child)).toBe(170)
      expect((yield* run.summary).children).toHaveLength(2)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("leaves the unspent part of a carved budget out of the spend of the parent", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const first = yield* Run.make({ id: "job-1", budget: tokens(1_000), parent: "none" })
      const carved = yield* Run.make({ id: "child", budget: tokens(600), share: "carve" }).pipe(
        Run.within(first),
        Scope.provide(scope)
      )
      yield* Run.within(spend(100, 60), carved)
      yield* Effect.forkChild(Run.within(spendAfter(yield* Deferred.make<void>(), 200), carved))
      yield* settle
      expect(yield* amounts(first)).toEqual({ spent: 60, held: 540 })
      const restore = yield* saved(first)
      expect(restore.budgets).toMatchObject([{ unit: "TOKENS", allocated: "1000", charged: "260" }])
      expect(restore.children).toMatchObject([{ budgets: [{ allocated: "600", charged: "260" }] }])
      const second = yield* Run.make({ restore, parent: "none" })
      const again = yield* Run.make({ share: "carve", restore: restore.children[0] }).pipe(Run.within(second))
      expect([yield* amounts(second), yield* remaining(again)]).toEqual([{ spent: 260, held: 340 }, 340])
      yield* Scope.close(scope, Exit.void)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("charges the spend of a restored child to a parent that doesn't include it", () =>
    Effect.gen(function* () {
      const child = { id: "child", budget: tokens(600), limits: { steps: 9 } }
      const restore = yield* snapshotOf(child, () => Effect.andThen(RunLimits.takeStep(action), spend(100)))
      for (const share of ["remaining", "carve"] as const) {
        const parent = yield* Run.make({ budget: tokens(1_000), parent: "none" })
        const run = yield* Run.make({ restore, share }).pipe(Run.within(parent))
        yield* Run.within(spend(10), run)
        expect(yield* amounts(parent)).toEqual({ spent: 110, held: share === "carve" ? 490 : 0 })
        expect((yield* parent.summary).steps).toBe(1)
      }
      const small = yield* Run.make({ budget: tokens(599), parent: "none" })
      yield* denialOf(Run.make({ restore, share: "carve" }).pipe(Run.within(small)))
      expect(yield* amounts(small)).toEqual({ spent: 0, held: 0 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("can be restored with larger or smaller budgets, and with more units", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(100) }, (run) =>
        Effect.andThen(run.raise(tokens(50)), spend(80))
      )
      const raised = yield* Run.make({ restore, parent: "none" })
      expect(yield* remaining(raised)).toBe(70)
      const smaller = yield* Run.make({ restore, parent: "none", budget: tokens(60) })
      expect(yield* denialOf(Run.within(spend(1), smaller))).toMatchObject({ remaining: -20 })
      const more = yield* Run.make({ restore, parent: "none", budget: [tokens(500), Amount.credits(1)] })
      expect([yield* remaining(more), yield* remaining(more, "CREDITS")]).toEqual([420, 1])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("dies with another id, without a budget of the snapshot, and with something that isn't a snapshot", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(100) }, () => spend(80))
      const problemOf = (options: Run.Options) =>
        Effect.map(Effect.exit(Run.make(options)), (exit) => (Exit.isFailure(exit) ? String(exit.cause) : "made"))
      expect(yield* problemOf({ restore, id: "job-2" })).toContain(
        "id: expected job-1, the id in the snapshot, got job-2"
      )
      expect(yield* problemOf({ restore, budget: Amount.credits(1) })).toContain("budget: expected an amount in TOKENS")
      const [first] = restore.budgets
      if (first === undefined) throw new Error("a snapshot without budgets")
      for (const charged of ["-1", "1.5", "", "x"]) {
        const broken = { ...restore, budgets: [{ ...first, charged }] }
        expect(yield* problemOf({ restore: broken })).toContain("restore: expected a snapshot")
        expect(Exit.isFailure(Schema.decodeUnknownExit(Run.Snapshot)(broken))).toBe(true)
      }
      expect(Exit.isFailure(Schema.decodeUnknownExit(Run.Snapshot)({ ...restore, version: 2 }))).toBe(true)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("sends the same requests for caller-supplied keys as the first process did", () =>
    Effect.gen(function* () {
      const keyed = Cycles.withCycles(Effect.void, { action, estimate: tokens(1), idempotencyKey: "key-1" })
      for (const id of [undefined, "job-1"]) {
        const restore = yield* snapshotOf({ id, budget: tokens(100) }, () => Effect.ignore(keyed))
        const run = yield* Run.make({ restore })
        yield* Effect.ignore(Run.within(keyed, run))
        const [first, second] = (yield* CyclesTest.requests("reserve")).slice(-2)
        expect(second?.body).toBe(first?.body)
      }
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("restores amounts up to 2^63-1, and the rate of the earlier process as baseline", () =>
    Effect.gen(function* () {
      const most = 2n ** 63n - 1n
      const restore = yield* snapshotOf({ id: "job-1", budget: Amount.tokens(most) }, () =>
        Effect.andThen(spend(1_000), TestClock.adjust("10 minutes"))
      )
      expect(restore.budgets[0]?.allocated).toBe("9223372036854775807")
      const run = yield* Run.make({ restore })
      expect(yield* run.remaining("TOKENS")).toMatchObject({ value: { amount: most - 1_000n } })
      expect(yield* Run.burnRate(run, "TOKENS")).toMatchObject({ perMinute: 0, baseline: 1_000 / 9 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("is the same after it was restored and taken again", () =>
    Effect.gen(function* () {
      const restore = yield* snapshotOf({ id: "job-1", budget: tokens(1_000), limits: { repeats: 3 } }, () =>
        Effect.gen(function* () {
          yield* spend(100, 50)
          yield* RunLimits.takeToolCall("Search", { q: 1 })
          yield* Cycles.withBudget(spend(100, 30), tokens(200), { id: "scout" })
        })
      )
      const run = yield* Run.make({ restore, limits: { repeats: 3 } })
      expect(yield* saved(run)).toEqual(restore)
      expect(spentOf(yield* run.summary)).toMatchObject({ calls: 1, children: [{ calls: 1 }] })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )
})
