import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Heartbeat, Reservation } from "effect-cycles"
import { action, books, live, tokens } from "./support/live.ts"
import { withSettlement } from "./support/settled.ts"

const exact = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

/** A body that takes some time. */
const slow = (
  duration: Duration.Input,
  options?: { readonly ttl?: Duration.Input; readonly extendBy?: Duration.Input }
) =>
  Effect.sleep(duration).pipe(
    withSettlement({ action, estimate: tokens(100), actual: () => tokens(42), ...options }),
    Effect.forkChild({ startImmediately: true })
  )

/** Delays every timer, because real timers are late. */
const late =
  (byMs: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) =>
      Effect.provideService(effect, Clock.Clock, {
        ...clock,
        sleep: (duration) => clock.sleep(Duration.sum(duration, Duration.millis(byMs)))
      })
    )

const extendsOf = CyclesTest.requests("extend")

describe("Heartbeat", () => {
  it.effect("extends before the lease ends, at the millisecond derived from remaining_ttl_ms", () =>
    Effect.gen(function* () {
      const fiber = yield* slow("2 minutes")
      // 60 s less two attempts of 10 s and a margin of 1 s.
      yield* TestClock.adjust(38_999)
      expect(yield* extendsOf).toHaveLength(0)
      yield* TestClock.adjust(1)
      const [first] = yield* extendsOf
      expect(JSON.parse(first?.body ?? "")).toMatchObject({ extend_by_ms: 60_000 })
      yield* TestClock.adjust("81 seconds")
      expect((yield* Fiber.join(fiber))[0]).toMatchObject({ _tag: "Committed" })
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect("keeps a lease of 2 s alive for a minute", () =>
    Effect.gen(function* () {
      const fiber = yield* slow("1 minute", { ttl: "2 seconds", extendBy: "10 seconds" })
      yield* TestClock.adjust("1 minute")
      expect((yield* Fiber.join(fiber))[0]).toMatchObject({ _tag: "Committed" })
    }).pipe(Effect.provide(exact))
  )

  it.effect("CR-CORE-003: retries a lost extend with the same key, and sends the next one with a new key", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("extend", Fault.responseLost)
      const fiber = yield* slow("2 minutes")
      yield* TestClock.adjust("60 seconds")
      const keys = (yield* extendsOf).map((sent) => sent.idempotencyKey)
      expect(keys).toHaveLength(2)
      expect(keys[0]).toBe(keys[1])
      yield* TestClock.adjust("60 seconds")
      yield* Fiber.join(fiber)
      expect(new Set((yield* extendsOf).map((sent) => sent.idempotencyKey)).size).toBeGreaterThan(1)
    }).pipe(Effect.provide(exact))
  )

  it.effect.each([
    { ttl: 2_000, before: [Fault.none] },
    { ttl: 4_000, before: [] },
    { ttl: 8_000, before: [] },
    { ttl: 20_000, before: [] },
    { ttl: 60_000, before: [] }
  ])(
    "CR-CORE-003: keeps a lease of $ttl ms after one extend without a response, even if timers are late",
    ({ before, ttl }) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("extend", ...before, Fault.noResponse)
        const fiber = yield* Effect.sleep(3 * ttl).pipe(
          withSettlement({
            action,
            estimate: tokens(100),
            actual: () => tokens(42),
            ttl,
            heartbeat: "failOnFinalize"
          }),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(3 * ttl + 1_000)
        expect((yield* Fiber.join(fiber))[0]).toMatchObject({ _tag: "Committed" })
        const keys = (yield* extendsOf).map((sent) => sent.idempotencyKey).slice(before.length)
        expect(keys.length).toBeGreaterThan(2)
        expect(keys[1]).toBe(keys[0])
        expect(new Set(keys).size).toBe(keys.length - 1)
      }).pipe(Effect.provide(exact), late(40))
  )

  it.effect("ends an extend that was queued in time for its retry", () =>
    Effect.gen(function* () {
      // No response has arrived for so long that the first call is an idle probe, and the other call waits for it.
      yield* CyclesTest.inject("extend", Fault.noResponse, Fault.noResponse)
      const fibers = yield* Effect.forEach([1, 2], () => slow("6 minutes", { ttl: "5 minutes" }))
      yield* TestClock.adjust("6 minutes")
      yield* Effect.forEach(fibers, Fiber.join)
      expect(yield* extendsOf).toHaveLength(4)
      expect(yield* books).toEqual({ spent: 84, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect.each([
    { name: "in its first lease", diesAtMs: 40_000, pauseMs: 17_000 },
    { name: "when the response to its reserve has no time left", diesAtMs: 100_000, pauseMs: 20_000 }
  ])("extends a repeated run under a caller-supplied key like the first run, $name", ({ diesAtMs, pauseMs }) =>
    Effect.gen(function* () {
      const job = Effect.sleep("3 minutes").pipe(
        withSettlement({
          action,
          estimate: tokens(100),
          actual: () => tokens(42),
          idempotencyKey: "job-7",
          heartbeat: "failOnFinalize"
        }),
        Effect.forkChild({ startImmediately: true })
      )
      // A dead process sends no release, so this release is lost.
      yield* CyclesTest.always("release", Fault.requestLost)
      const first = yield* job
      yield* TestClock.adjust(diesAtMs)
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(pauseMs)
      const before = (yield* extendsOf).length
      expect(before).toBeGreaterThan(0)
      const second = yield* job
      yield* TestClock.adjust("3 minutes")
      expect((yield* Fiber.join(second))[0]).toMatchObject({ _tag: "Committed" })
      const keys = (yield* extendsOf).map((sent) => sent.idempotencyKey)
      expect(keys.length).toBeGreaterThan(before)
      expect(new Set(keys).size).toBe(keys.length)
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect.each([
    "RESERVATION_EXPIRED",
    "RESERVATION_FINALIZED",
    "MAX_EXTENSIONS_EXCEEDED",
    "TENANT_CLOSED",
    "NOT_FOUND"
  ])("stops on %s while the body continues", (code) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, code))
      const fiber = yield* slow("50 seconds")
      yield* TestClock.adjust("50 seconds")
      expect((yield* Fiber.join(fiber))[0]).toMatchObject({ _tag: "Committed" })
      expect(yield* extendsOf).toHaveLength(1)
    }).pipe(Effect.provide(exact))
  )

  it.effect("continues during the settlement, and stops when it ends", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.error(503, "INTERNAL_ERROR", { "retry-after": "100" }))
      yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(100), actual: () => tokens(42) }))
      yield* TestClock.adjust("100 seconds")
      const during = (yield* extendsOf).length
      expect(during).toBeGreaterThan(0)
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      yield* TestClock.adjust("10 minutes")
      expect((yield* extendsOf).length).toBe(during)
    }).pipe(Effect.provide(exact))
  )

  it.effect("doesn't delay other leases when an extend is slow", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("extend", Fault.noResponse)
      const fibers = yield* Effect.forEach([1, 2, 3], () => slow("90 seconds"))
      yield* TestClock.adjust("90 seconds")
      yield* Effect.forEach(fibers, Fiber.join)
      expect(new Set((yield* extendsOf).map((sent) => sent.path)).size).toBe(3)
      expect(yield* books).toEqual({ spent: 126, reserved: 0 })
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(exact))
  )

  it.effect("cancel interrupts the body, commits the recorded spend, and fails with LeaseLost", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
      const fiber = yield* Reservation.record({ actual: tokens(5) }).pipe(
        Effect.andThen(Effect.never),
        Cycles.withCycles({ action, estimate: tokens(100), heartbeat: "cancel" }),
        Effect.exit,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("39 seconds")
      const exit = yield* Fiber.join(fiber)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBeInstanceOf(Heartbeat.LeaseLost)
      expect(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)).toBe(false)
      expect(yield* books).toEqual({ spent: 5, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect("cancel keeps an interrupt of the caller as an interrupt", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.never.pipe(
        Cycles.withCycles({ action, estimate: tokens(100), heartbeat: "cancel" }),
        Effect.forkChild({ startImmediately: true })
      )
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
      expect(yield* books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect("failOnFinalize lets the body finish, commits it, then fails with LeaseLost", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
      const fiber = yield* Effect.sleep("50 seconds").pipe(
        Cycles.withCycles({
          action,
          estimate: tokens(100),
          actual: () => tokens(42),
          heartbeat: "failOnFinalize"
        }),
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("50 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "LeaseLost", reason: "MAX_EXTENSIONS_EXCEEDED" })
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect("cancel ends a guarded stream and commits its usage", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
      const fiber = yield* Stream.concat(Stream.make(1, 2), Stream.never).pipe(
        Cycles.withCyclesStream({
          action,
          estimate: tokens(100),
          usage: (n) => tokens(n),
          heartbeat: "cancel"
        }),
        Stream.runDrain,
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("40 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "LeaseLost" })
      expect(yield* books).toEqual({ spent: 3, reserved: 0 })
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(exact))
  )

  it.effect("failOnFinalize commits a finished stream without usage, then fails with LeaseLost", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
      const fiber = yield* Stream.fromEffect(Effect.sleep("50 seconds")).pipe(
        Cycles.withCyclesStream({ action, estimate: tokens(100), heartbeat: "failOnFinalize" }),
        Stream.runDrain,
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("50 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "LeaseLost" })
      expect(yield* books).toEqual({ spent: 100, reserved: 0 })
    }).pipe(Effect.provide(exact))
  )

  it.effect("extends once on the server for each heartbeat", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("extend", Fault.responseLost, Fault.none)
      const fiber = yield* slow("70 seconds")
      yield* TestClock.adjust("60 seconds")
      const server = yield* CyclesServer.CyclesServer
      expect((yield* server.reservations).map((row) => row.extensions)).toEqual([1])
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(exact))
  )
})
