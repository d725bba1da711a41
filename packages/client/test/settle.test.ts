/**
 * Edge cases of settlement: one millisecond on each side of each timeout, and the charge for every way in which a body
 * ends.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Amount } from "effect-cycles"
import { Cycles, CyclesConfig, Reservation, SettlementJournal } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { settlementOf, withSettlement } from "./support/settled.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const exact = live({ retry })

const options = { action, estimate: tokens(100) }

const guardedCall = settlementOf(Effect.void, { ...options, actual: () => tokens(42) })

/** The number of requests of an operation. */
const count = (operation: string) => Effect.map(operations, (all) => all.filter((one) => one === operation).length)

/** The parsed requests of an operation. */
const sent = (operation: string) =>
  Effect.map(CyclesTest.requests(), (requests) =>
    requests.flatMap((one) => (one.operation === operation ? [JSON.parse(one.body)] : []))
  )

/** Asserts that the next attempt of an operation is sent after `ms`, and not a millisecond earlier. */
const nextAfter = (operation: string, ms: number) =>
  Effect.gen(function* () {
    const before = yield* count(operation)
    yield* TestClock.adjust(ms - 1)
    expect([ms, (yield* count(operation)) - before]).toEqual([ms, 0])
    yield* TestClock.adjust(1)
    expect([ms, (yield* count(operation)) - before]).toEqual([ms, 1])
  })

describe("settle", () => {
  describe("timeouts", () => {
    it.effect.each([
      ["commit", guardedCall],
      ["release", Effect.fail("x").pipe(Cycles.withCycles(options), Effect.exit)]
    ] as const)("the caller waits 10 s for a %s without a response, and then continues", ([operation, guardedCall]) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(operation, Fault.noResponse)
        const fiber = yield* Effect.forkChild(guardedCall, { startImmediately: true })
        yield* TestClock.adjust(9_999)
        expect(fiber.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(fiber.pollUnsafe()).toMatchObject({ _tag: "Success" })
        yield* TestClock.adjust(500)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("a commit is retried after 0.5, 1, 2, 4 and 8 s, and then left to the journal", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("commit", Fault.requestLost)
        yield* guardedCall
        for (const ms of [500, 1_000, 2_000, 4_000, 8_000]) yield* nextAfter("commit", ms)
        yield* TestClock.adjust("30 seconds")
        expect(yield* count("commit")).toBe(6)
      }).pipe(Effect.provide(exact))
    )

    it.effect("Retry-After is a minimum delay for one attempt: a longer delay of the schedule stays", () =>
      Effect.gen(function* () {
        const soon = Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "1" })
        yield* CyclesTest.inject("commit", soon, soon, soon, Fault.requestLost)
        yield* guardedCall
        for (const ms of [1_000, 1_000, 2_000, 4_000]) yield* nextAfter("commit", ms)
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("a Retry-After of more than an hour counts as an hour", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(503, "INTERNAL_ERROR", { "retry-after": "7200" }))
        yield* guardedCall
        yield* nextAfter("commit", 3_600_000)
      }).pipe(Effect.provide(live({ retry, ttl: "24 hours" })))
    )

    it.effect("a reserve waits for a Retry-After up to maxRetryAfter, and not longer", () =>
      Effect.gen(function* () {
        const busy = Fault.error(503, "INTERNAL_ERROR", { "retry-after": "5" })
        yield* CyclesTest.inject("reserve", busy)
        const fiber = yield* Effect.void.pipe(
          Cycles.withCycles({ ...options, maxRetryAfter: "5 seconds" }),
          Effect.forkChild({ startImmediately: true })
        )
        yield* nextAfter("reserve", 5_000)
        yield* Fiber.join(fiber)
        yield* CyclesTest.inject("reserve", Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "5" }))
        expect(
          yield* Effect.void.pipe(Cycles.withCycles({ ...options, maxRetryAfter: 4_999 }), Effect.flip)
        ).toMatchObject({ _tag: "ApiError", status: 429 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("an abandoned reserve is retried after 0.5, 1 and 2 s, and released", () =>
      Effect.gen(function* () {
        // Two attempts of the caller, then the attempts in the background.
        yield* CyclesTest.inject("reserve", ...Array.from({ length: 5 }, () => Fault.responseLost))
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "TransportError" })
        for (const ms of [500, 1_000, 2_000]) yield* nextAfter("reserve", ms)
        const keys = (yield* sent("reserve")).map((body) => body.idempotency_key)
        expect([keys.length, new Set(keys).size]).toEqual([6, 1])
        expect(yield* sent("release")).toMatchObject([{ reason: "reserve_abandoned" }])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect.each([
      ["60 s and ten extensions of 60 s ends after 11 minutes and 5 s of grace", undefined, 660_000],
      ["60 s and ten extensions of 10 minutes ends after 101 minutes and 5 s of grace", "10 minutes", 6_060_000]
    ] as const)("a lease of %s", ([, extendBy, lifeMs]) =>
      Effect.gen(function* () {
        const end = (ms: number) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.sleep(ms).pipe(
              withSettlement({ ...options, extendBy }),
              Effect.forkChild({ startImmediately: true })
            )
            yield* TestClock.adjust(ms)
            return (yield* Fiber.join(fiber))[0]._tag
          })
        expect(yield* end(lifeMs + 5_000)).toBe("Committed")
        expect(yield* count("extend")).toBe(11)
        expect(yield* end(lifeMs + 5_001)).toBe("Recovered")
      }).pipe(Effect.provide(exact))
    )
  })

  describe("spend of a body that did not succeed", () => {
    const recorded = Reservation.record({ actual: tokens(7) })

    it.effect.each([
      ["fails", Effect.fail("x")],
      ["dies", Effect.die("x")],
      ["is interrupted", Effect.interrupt]
    ] as const)("the recorded amount is charged when the body %s, unless onFailure is release", ([, end]) =>
      Effect.gen(function* () {
        const body = Effect.andThen(recorded, end)
        const run = (onFailure: CyclesConfig.OnFailure | undefined) =>
          Effect.exit(Cycles.withCycles(body, { ...options, onFailure }))
        expect(Exit.isFailure(yield* run(undefined))).toBe(true)
        expect(yield* books).toEqual({ spent: 7, reserved: 0 })
        yield* run("estimate")
        expect(yield* books).toEqual({ spent: 14, reserved: 0 })
        yield* run("release")
        expect(yield* books).toEqual({ spent: 14, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("onFailure applies to streams too", () =>
      Effect.gen(function* () {
        const stream = Stream.concat(Stream.make(1, 2), Stream.fail("x"))
        const run = (onFailure: CyclesConfig.OnFailure) =>
          stream.pipe(
            Cycles.withCyclesStream({ ...options, onFailure, usage: (n) => tokens(n) }),
            Stream.runDrain,
            Effect.exit
          )
        yield* run("partial")
        expect(yield* books).toEqual({ spent: 3, reserved: 0 })
        yield* run("release")
        expect(yield* books).toEqual({ spent: 3, reserved: 0 })
        yield* Stream.fail("x").pipe(
          Cycles.withCyclesStream({ ...options, onFailure: "estimate" }),
          Stream.runDrain,
          Effect.exit
        )
        expect(yield* books).toEqual({ spent: 103, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("a release doesn't contain the user's error", () =>
      Effect.gen(function* () {
        const secret = "the prompt was: ".concat("x".repeat(300))
        yield* Effect.fail({ message: secret }).pipe(Cycles.withCycles(options), Effect.exit)
        yield* Effect.die(secret).pipe(Cycles.withCycles(options), Effect.exit)
        yield* Effect.interrupt.pipe(Cycles.withCycles(options), Effect.exit)
        const reasons = (yield* sent("release")).map((body) => body.reason)
        expect(reasons).toEqual(["body_failed", "body_died", "body_interrupted"])
        yield* Effect.scoped(Effect.flatMap(Cycles.reserve(options), (held) => held.release("y".repeat(300))))
        expect((yield* sent("release")).at(-1)?.reason).toBe("y".repeat(256))
      }).pipe(Effect.provide(exact))
    )
  })

  describe("defects of user callbacks", () => {
    it.effect("commit the estimate, marked as estimated, before the guard dies", () =>
      Effect.gen(function* () {
        const bug = new Error("user bug")
        const thrower = () => {
          throw bug
        }
        yield* Effect.void.pipe(Cycles.withCycles({ ...options, actual: thrower }), Effect.exit)
        yield* Stream.make(1).pipe(
          Cycles.withCyclesStream({ ...options, usage: thrower }),
          Stream.runDrain,
          Effect.exit
        )
        yield* Effect.void.pipe(Cycles.withCycles({ ...options, metrics: thrower }), Effect.exit)
        const commits = yield* sent("commit")
        expect(commits).toHaveLength(3)
        for (const commit of commits) {
          expect(commit).toMatchObject({
            actual: { unit: "TOKENS", amount: 100 },
            metadata: { actual_source: "estimate" }
          })
        }
        yield* guardedCall
        expect((yield* sent("commit")).at(-1)?.metadata?.actual_source).toBeUndefined()
      }).pipe(Effect.provide(exact))
    )
  })

  describe("known amount", () => {
    // A program without type checks can pass an amount that wasn't made by a constructor.
    const plain: Amount.Amount<"TOKENS"> = Object.assign(JSON.parse('{"unit":"TOKENS"}'), { amount: 42n })

    it.effect("is committed if it is a plain object with the same fields", () =>
      Effect.gen(function* () {
        yield* Effect.void.pipe(Cycles.withCycles({ ...options, actual: () => plain }))
        yield* Effect.scoped(
          Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.commit({ actual: plain }))
        )
        expect((yield* sent("commit")).map(({ actual }) => actual.amount)).toEqual([42, 42])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect.each([
      ["contain a fraction", () => ({ latencyMs: 12.34 })],
      ["contain too long a text", () => ({ modelVersion: "v".repeat(129) })],
      [
        "throw",
        () => {
          throw new Error("user bug")
        }
      ]
    ] as const)("is charged without metrics that %s, and then the guard dies", ([, metrics]) =>
      Effect.gen(function* () {
        const exit = yield* Effect.void.pipe(
          Cycles.withCycles({ ...options, actual: () => tokens(42), metrics }),
          Effect.exit
        )
        expect(Exit.isFailure(exit) && exit.cause.reasons).toMatchObject([{ _tag: "Die" }])
        expect(yield* sent("commit")).toMatchObject([{ actual: { amount: 42 } }])
        expect((yield* sent("commit"))[0].metadata).toBeUndefined()
      }).pipe(Effect.provide(exact))
    )

    it.effect("is charged as recorded, whatever metrics were recorded with it", () =>
      Effect.gen(function* () {
        yield* Effect.flatMap(Reservation.Reservation, (reservation) =>
          reservation.record({ actual: tokens(7), metrics: { latencyMs: 1.5 } })
        ).pipe(Cycles.withCycles(options), Effect.exit)
        expect(yield* sent("commit")).toMatchObject([{ actual: { amount: 7 } }])
      }).pipe(Effect.provide(exact))
    )
  })

  describe("concurrency", () => {
    it.effect("the commits of one scope take as long as the slowest one", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.scoped(
          Effect.gen(function* () {
            for (let i = 0; i < 5; i++) {
              const held = yield* Cycles.reserve({ ...options, estimate: tokens(10) })
              yield* held.record({ actual: tokens(3) })
            }
            yield* CyclesTest.always("commit", Fault.requestLate(50))
          })
        ).pipe(Effect.timed, Effect.forkChild)
        yield* Effect.yieldNow
        yield* TestClock.adjust(50)
        const [elapsed] = yield* Fiber.join(fiber)
        expect(Duration.toMillis(elapsed)).toBe(50)
        expect(yield* books).toEqual({ spent: 15, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )
  })

  describe("keys", () => {
    it.effect.each([
      ["short", "job-1"],
      ["long", "k".repeat(256)]
    ] as const)("are derived from a %s caller-supplied key", ([, key]) =>
      Effect.gen(function* () {
        yield* Effect.void.pipe(Cycles.withCycles({ ...options, idempotencyKey: key }))
        yield* Effect.fail("x").pipe(Cycles.withCycles({ ...options, idempotencyKey: `2${key.slice(1)}` }), Effect.exit)
        const keys = (yield* CyclesTest.requests()).map((one) => one.idempotencyKey)
        expect(keys[0]).toBe(key)
        expect(new Set(keys).size).toBe(4)
        for (const one of keys) expect((one ?? "").length).toBeLessThanOrEqual(256)
        // The same job in another run has the same keys.
        yield* Effect.void.pipe(Cycles.withCycles({ ...options, idempotencyKey: key }), Effect.exit)
        expect((yield* CyclesTest.requests()).findLast((sent) => sent.operation === "reserve")?.idempotencyKey).toBe(
          key
        )
      }).pipe(Effect.provide(exact))
    )
  })

  describe("without a journal", () => {
    it.effect("a pending commit is retried from memory by each scan", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("commit", Fault.requestLost)
        expect(yield* guardedCall).toMatchObject({ _tag: "Pending", isJournaled: false })
        yield* TestClock.adjust("30 seconds")
        expect(yield* count("commit")).toBe(6)
        yield* CyclesTest.clearFaults("commit")
        yield* TestClock.adjust("2 minutes")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(live({ retry }, { journal: SettlementJournal.layerNone })))
    )
  })
})
