/**
 * The maximum time for which callers wait, and the order in which waiting calls get slots.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, SettlementJournal } from "effect-cycles"
import { faultyJournal, provideUnclosed } from "../support/collaborators.ts"
import { action, live, tokens } from "../support/live.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const options = { action, estimate: tokens(100) }

const rich = { server: { budgets: [{ unit: "TOKENS", allocated: 100_000_000 }] } } as const

/** Starts an effect `count` times concurrently. */
const startAll = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.forkDetach(effect, { startImmediately: true }))

const waiting = <A, E>(fibers: ReadonlyArray<Fiber.Fiber<A, E>>) =>
  fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length

describe("a caller waits for at most one timeout, queueing included,", () => {
  const config = { retry, timeout: "1 second" } as const

  for (const count of [100, 600]) {
    it.effect(`for a commit, behind ${count} that hang`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("commit", Fault.noResponse)
        const body = Effect.sleep("10 seconds")
        const fibers = yield* startAll(count, Cycles.withCycles(body, { ...options, actual: tokens(42) }))
        yield* TestClock.adjust("10 seconds")
        yield* TestClock.adjust("3 seconds")
        expect(waiting(fibers)).toBe(0)
      }).pipe(provideUnclosed(live(config, rich)))
    )
  }

  it.effect("for a release, behind a hundred that hang", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("release", Fault.noResponse)
      const body = Effect.andThen(Effect.sleep("10 seconds"), Effect.fail("the body fails"))
      const fibers = yield* startAll(100, Cycles.withCycles(body, options))
      yield* TestClock.adjust("10 seconds")
      yield* TestClock.adjust("3 seconds")
      expect(waiting(fibers)).toBe(0)
    }).pipe(provideUnclosed(live(config, rich)))
  )

  it.effect("for a commit by hand, behind a hundred that hang", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("commit", Fault.noResponse)
      const run = Effect.scoped(
        Effect.flatMap(Cycles.reserve(options), (reservation) =>
          Effect.andThen(Effect.sleep("10 seconds"), reservation.commit({ actual: tokens(42) }))
        )
      )
      const fibers = yield* startAll(100, run)
      yield* TestClock.adjust("10 seconds")
      yield* TestClock.adjust("3 seconds")
      expect(waiting(fibers)).toBe(0)
    }).pipe(provideUnclosed(live(config, rich)))
  )

  it.effect("for a commit that has to rewrite its record in a slow journal that bounds its operations", () => {
    const journal = faultyJournal()
    journal.always("put", 1_900)
    const bounded = Layer.effect(
      SettlementJournal.SettlementJournal,
      Effect.map(SettlementJournal.SettlementJournal, (store) => ({ ...store, isBounded: true }))
    ).pipe(Layer.provide(journal.layer))
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "60" }))
      const fibers = yield* startAll(1, Cycles.withCycles(Effect.void, { ...options, actual: tokens(42) }))
      yield* TestClock.adjust(1_900)
      expect(waiting(fibers)).toBe(1)
      yield* TestClock.adjust("1 second")
      expect(waiting(fibers)).toBe(0)
    }).pipe(provideUnclosed(live(config, { journal: bounded })))
  })

  it.effect("for a decision, behind two hundred that hang", () =>
    Effect.gen(function* () {
      yield* Cycles.decide(options)
      yield* CyclesTest.always("decide", Fault.noResponse)
      const fibers = yield* startAll(200, Cycles.decide(options))
      yield* TestClock.adjust("1 second")
      expect(waiting(fibers)).toBe(0)
    }).pipe(provideUnclosed(live(config, rich)))
  )

  it.effect("for each of two attempts at a reserve, behind two hundred that hang", () =>
    Effect.gen(function* () {
      yield* Cycles.decide(options)
      yield* CyclesTest.always("reserve", Fault.noResponse)
      const fibers = yield* startAll(200, Cycles.withCycles(Effect.void, options))
      yield* TestClock.adjust("2 seconds")
      expect(waiting(fibers)).toBe(0)
    }).pipe(provideUnclosed(live(config, rich)))
  )
})

describe("leases", () => {
  it.effect("are kept if there are enough slots for all of them", () =>
    Effect.gen(function* () {
      // 200 extends of 440 ms in 8 slots take 11 s. With a fixed eighth of the slots they would take 88 s.
      yield* CyclesTest.always("extend", Fault.requestLate(440))
      const fibers = yield* startAll(
        200,
        Cycles.withCycles(Effect.sleep("3 minutes"), { ...options, ttl: "60 seconds", actual: tokens(1) })
      )
      yield* TestClock.adjust("4 minutes")
      expect(waiting(fibers)).toBe(0)
      const rows = yield* (yield* CyclesServer.CyclesServer).reservations
      const lost = rows.filter((row) => row.status !== "COMMITTED").length
      expect({ lost, events: (yield* CyclesTest.requests("event")).length }).toEqual({
        lost: 0,
        events: 0
      })
    }).pipe(provideUnclosed(live({ retry, maxConcurrency: 8 }, rich)))
  )

  it.effect("that start together aren't all extended together", () =>
    Effect.gen(function* () {
      yield* startAll(100, Cycles.withCycles(Effect.never, { ...options, ttl: "60 seconds" }))
      const extensions = Effect.map(CyclesTest.requests("extend"), (sent) => sent.length)
      let most = 0
      for (let second = 0; second < 60; second++) {
        const before = yield* extensions
        yield* TestClock.adjust("1 second")
        most = Math.max(most, (yield* extensions) - before)
      }
      expect(most).toBeLessThan(50)
    }).pipe(provideUnclosed(live({ retry }, rich)))
  )
})

describe("server that throttles", () => {
  const throttled = Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "10" })

  it.effect("gets no settlement request until its Retry-After has passed", () =>
    Effect.gen(function* () {
      yield* startAll(40, Cycles.withCycles(Effect.sleep("1 second"), { ...options, actual: tokens(1) }))
      yield* TestClock.adjust("500 millis")
      yield* CyclesTest.always("commit", throttled)
      yield* TestClock.adjust("9 seconds")
      const commits = (yield* CyclesTest.requests("commit")).length
      expect(commits).toBeLessThanOrEqual(8)
    }).pipe(provideUnclosed(live({ retry, maxConcurrency: 8 }, rich)))
  )
})
