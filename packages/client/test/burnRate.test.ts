import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Run } from "effect-cycles"
import { action, tokens } from "./support/live.ts"
import { rich, spend, spendAfter } from "./support/runs.ts"

/** Spends an amount every 6 seconds. */
const spendFor = (minutes: number, every6Seconds: number) =>
  Effect.forEach(
    Array.from({ length: minutes * 10 }),
    () => Effect.andThen(Cycles.event({ action, actual: tokens(every6Seconds) }), TestClock.adjust("6 seconds")),
    { discard: true }
  )

const millis = (exhaustedIn: Option.Option<Duration.Duration>) =>
  Option.getOrUndefined(Option.map(exhaustedIn, Duration.toMillis))

describe("Run.burnRate", () => {
  it.effect("compares a minute of 11,000 with a baseline of 1,000 that excludes this minute", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(42_000) })
      yield* Run.within(spendFor(9, 100), run)
      const calm = yield* Run.burnRate(run, "TOKENS")
      expect(calm).toMatchObject({ perMinute: 1_000, baseline: 1_000 })
      expect(millis(calm.exhaustedIn)).toBe(33 * 60_000)
      yield* Run.within(spendFor(1, 1_100), run)
      const wild = yield* Run.burnRate(run, "TOKENS")
      expect(wild).toMatchObject({ perMinute: 11_000, baseline: 1_000 })
      expect(millis(wild.exhaustedIn)).toBe(2 * 60_000)
      // The whole run as the window: nothing is left for the baseline.
      expect(yield* Run.burnRate(run, "TOKENS", { window: "10 minutes" })).toMatchObject({
        perMinute: 2_000,
        baseline: 0
      })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("has no forecast if nothing was spent in the window, or without a budget", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(1_000) })
      expect(yield* Run.burnRate(run, "TOKENS")).toEqual({ perMinute: 0, baseline: 0, exhaustedIn: Option.none() })
      yield* Run.within(spend(100), run)
      yield* TestClock.adjust("2 minutes")
      expect(yield* Run.burnRate(run, "TOKENS")).toEqual({ perMinute: 0, baseline: 100, exhaustedIn: Option.none() })
      const free = yield* Run.make({ parent: "none" })
      yield* Run.within(spend(100), free)
      expect((yield* Run.burnRate(free, "TOKENS")).exhaustedIn).toEqual(Option.none())
      expect(yield* Run.burnRate(free, "CREDITS")).toMatchObject({ perMinute: 0, baseline: 0 })
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("measures a young run since its start, and at least over 5 seconds", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: tokens(1_000) })
      yield* Run.within(spend(100), run)
      expect(yield* Run.burnRate(run, "TOKENS")).toMatchObject({ perMinute: 1_200, baseline: 0 })
      yield* TestClock.adjust("30 seconds")
      const { exhaustedIn, ...rates } = yield* Run.burnRate(run, "TOKENS")
      expect(rates).toEqual({ perMinute: 200, baseline: 0 })
      expect(millis(exhaustedIn)).toBe(270_000)
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("includes children, excludes open calls, and forecasts by the smallest remaining budget", () =>
    Effect.gen(function* () {
      const latch = yield* Deferred.make<void>()
      const run = yield* Run.make({ budget: tokens(1_000) })
      const child = yield* Run.within(Run.make({ budget: tokens(400) }), run)
      yield* Effect.forkChild(Run.within(spendAfter(latch, 100), run), { startImmediately: true })
      yield* Run.within(spend(100), child)
      yield* TestClock.adjust("1 minute")
      const [outer, inner] = [yield* Run.burnRate(run, "TOKENS"), yield* Run.burnRate(child, "TOKENS")]
      expect([outer.perMinute, millis(outer.exhaustedIn)]).toEqual([100, 8 * 60_000])
      expect([inner.perMinute, millis(inner.exhaustedIn)]).toEqual([100, 3 * 60_000])
    }).pipe(Effect.scoped, Effect.provide(rich()))
  )

  it.effect("keeps the whole spend in the baseline of a long run, and stays the same after the end", () =>
    Effect.gen(function* () {
      const run = yield* Effect.scoped(
        Effect.gen(function* () {
          const run = yield* Run.make({})
          yield* Run.within(spendFor(180, 10), run)
          return run
        })
      )
      yield* TestClock.adjust("1 hour")
      for (const window of ["1 hour", "5 minutes", "1 minute"] as const) {
        expect(yield* Run.burnRate(run, "TOKENS", { window })).toMatchObject({ perMinute: 100, baseline: 100 })
      }
    }).pipe(Effect.provide(rich()))
  )

  it.effect("dies if the window is out of range", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({})
      for (const window of ["4 seconds", "61 minutes", Number.NaN] as const) {
        const exit = yield* Effect.exit(Run.burnRate(run, "TOKENS", { window }))
        expect(Exit.isFailure(exit) && String(exit.cause)).toContain("window must be 5s to 1h")
      }
    }).pipe(Effect.scoped)
  )
})
