import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Cycles, Run } from "effect-cycles"
import { action, tokens } from "./support/live.ts"
import { denialOf, rich, settle, spend } from "./support/runs.ts"

/** An event in a few words. */
const text = (event: Run.Event): string => {
  const { run } = event
  switch (event._tag) {
    case "Opened":
    case "Paused":
    case "Resumed":
    case "Charged":
      return `${run.name}: ${event._tag} ${event.amount.amount}`
    case "Denied":
      return `${run.name}: Denied ${event.amount?.amount ?? event.denial.code} by ${event.denial.run?.name ?? "the server"}`
    case "WouldDeny":
      return `${run.name}: WouldDeny ${event.amount?.amount}, ${event.denial._tag}`
    case "Threshold":
      return `${run.name}: Threshold ${event.at} of ${event.allocated.amount}`
    case "Ended":
      return `${run.name}: Ended`
  }
}

/** Starts to read the events of a run. */
const read = (run: Run.Run) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Stream.runCollect(Stream.map(run.events, text)))
    yield* settle
    return fiber
  })

/** Makes a run, reads its events while `use` runs, and ends it. */
const eventsOf = <A, E, R>(options: Run.Options, use: (run: Run.Run) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const run = yield* Scope.provide(Run.make(options), scope)
    const fiber = yield* read(run)
    yield* use(run)
    yield* Scope.close(scope, Exit.void)
    return yield* Fiber.join(fiber)
  })

describe("Run.events", () => {
  it.effect("emits the events of calls, denials and thresholds in order, and the end last", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf({ name: "job", budget: tokens(100), thresholds: [0.5, 0.9] }, (run) =>
        Effect.gen(function* () {
          yield* spend(60)
          yield* denialOf(spend(50))
          yield* CyclesTest.inject("reserve", Fault.denied)
          yield* denialOf(spend(10))
          yield* Cycles.event({ action, actual: tokens(30) })
          yield* Effect.flip(
            Cycles.withCycles(Effect.fail("nothing was spent"), { action, estimate: tokens(10), onFailure: "release" })
          )
        }).pipe(Run.within(run))
      )
      expect(events).toEqual([
        "job: Opened 60",
        "job: Charged 60",
        "job: Threshold 0.5 of 100",
        "job: Denied 50 by job",
        "job: Opened 10",
        "job: Denied 10 by the server",
        "job: Charged 30",
        "job: Threshold 0.9 of 100",
        "job: Opened 10",
        "job: Charged 0",
        "job: Ended"
      ])
    }).pipe(Effect.provide(rich()))
  )

  it.effect("emits the actions, and the error of a denied call", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ name: "job", id: "job-1", budget: tokens(100) })
      const fiber = yield* Effect.forkChild(Stream.runCollect(Stream.take(run.events, 3)))
      yield* settle
      yield* Run.within(spend(60, 40), run)
      const denial = yield* Effect.flip(Run.within(spend(70), run))
      const reference = { id: "job-1", name: "job" }
      expect(yield* Fiber.join(fiber)).toEqual([
        { _tag: "Opened", run: reference, step: 0, action, amount: tokens(60) },
        { _tag: "Charged", run: reference, step: 0, action, amount: tokens(40) },
        { _tag: "Denied", run: reference, action, amount: tokens(70), denial }
      ])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("ends each call that opened, also if the reserve fails or a stream is cut", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf({ name: "job", budget: tokens(100) }, (run) =>
        Effect.gen(function* () {
          const stream = Stream.rechunk(Stream.make(1, 2, 3), 1).pipe(
            Cycles.withCyclesStream({ action, estimate: tokens(50), usage: () => tokens(60) })
          )
          yield* denialOf(Stream.runDrain(stream))
          yield* run.raise(tokens(1_000))
          yield* CyclesTest.always("reserve", Fault.connectionRefused)
          yield* Effect.flip(spend(20))
        }).pipe(Run.within(run))
      )
      expect(events).toEqual([
        "job: Opened 50",
        "job: Denied 120 by job",
        "job: Charged 120",
        "job: Threshold 0.8 of 100",
        "job: Threshold 0.95 of 100",
        "job: Opened 20",
        "job: Charged 0",
        "job: Ended"
      ])
    }).pipe(Effect.provide(rich()))
  )

  it.effect("has the events of children with the run that they happened in, and their ends", () =>
    Effect.gen(function* () {
      const events = yield* eventsOf({ name: "parent", budget: tokens(100) }, (run) =>
        Effect.gen(function* () {
          yield* Cycles.withBudget(spend(30), tokens(30), { name: "child", share: "carve" })
          yield* denialOf(Cycles.withBudget(spend(1), tokens(80), { name: "large", share: "carve" }))
          yield* Cycles.withBudget(denialOf(spend(80)), tokens(80), { name: "other" })
        }).pipe(Run.within(run))
      )
      expect(events).toEqual([
        "child: Opened 30",
        "child: Charged 30",
        "child: Threshold 0.8 of 30",
        "child: Threshold 0.95 of 30",
        "child: Ended",
        "parent: Denied 80 by parent",
        "other: Denied 80 by parent",
        "other: Ended",
        "parent: Ended"
      ])
    }).pipe(Effect.provide(rich()))
  )

  it.effect("emits the threshold of a parent at 80 % while the child that reached it is at 30 %", () =>
    Effect.gen(function* () {
      const reached: Array<string> = []
      const onThreshold = ({ at, run }: Run.Threshold) => Effect.sync(() => void reached.push(`${run.name} ${at}`))
      const events = yield* eventsOf({ name: "parent", budget: tokens(1_000), onThreshold }, (run) =>
        Effect.gen(function* () {
          yield* spend(650)
          yield* Cycles.withBudget(Effect.andThen(spend(150), settle), tokens(500), { name: "child", onThreshold })
        }).pipe(Run.within(run))
      )
      expect(reached).toEqual(["parent 0.8"])
      expect(events.filter((event) => event.includes("Threshold"))).toEqual(["parent: Threshold 0.8 of 1000"])
    }).pipe(Effect.provide(rich()))
  )

  it.effect(
    "ends for a slow reader of 10,000 calls, which keeps the newest events",
    () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const run = yield* Scope.provide(Run.make({ name: "job" }), scope)
        const slow = yield* Effect.forkChild(
          Stream.runCollect(Stream.tap(Stream.map(run.events, text), () => Deferred.await(latch)))
        )
        const fast = yield* Effect.forkChild(Stream.runCount(run.events))
        yield* settle
        const call = Cycles.event({ action, actual: tokens(1) })
        yield* Effect.forEach(Array.from({ length: 10_000 }), () => call, { concurrency: 100, discard: true }).pipe(
          Run.within(run)
        )
        yield* Run.within(Cycles.event({ action, actual: tokens(77) }), run)
        yield* Scope.close(scope, Exit.void)
        yield* Deferred.succeed(latch, undefined)
        const events = yield* Fiber.join(slow)
        expect(events.slice(-2)).toEqual(["job: Charged 77", "job: Ended"])
        expect(events.length).toBeLessThan(1_200)
        expect(yield* Fiber.join(fast)).toBe(10_002)
        expect((yield* run.summary).calls).toBe(10_001)
      }).pipe(Effect.provide(rich())),
    60_000
  )

  it.effect("has only the end for a reader that starts after it, and nothing of calls that end later", () =>
    Effect.gen(function* () {
      const latch = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const run = yield* Scope.provide(Run.make({ name: "job" }), scope)
      const early = yield* read(run)
      const call = Cycles.withCycles(Deferred.await(latch), { action, estimate: tokens(5) })
      const late = yield* Effect.forkChild(Run.within(call, run))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(latch, undefined)
      yield* Fiber.join(late)
      expect(yield* Fiber.join(early)).toEqual(["job: Opened 5", "job: Ended"])
      expect(yield* Stream.runCollect(Stream.map(run.events, text))).toEqual(["job: Ended"])
      expect((yield* run.summary).lines).toMatchObject([{ charged: 5n }])
    }).pipe(Effect.provide(rich()))
  )
})
