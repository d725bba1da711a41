/**
 * Reserves whose result is ambiguous: no reservation leaks, and no caller loses its reservation.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"

const exact = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

const options = { action, estimate: tokens(100), actual: () => tokens(42) }

const guardedCall = Effect.void.pipe(Cycles.withCycles(options))

const job = Effect.void.pipe(Cycles.withCycles({ ...options, idempotencyKey: "job-1" }))

const lost: Fault.Fault = Fault.responseLost

const html = (status: number): Fault.Fault => Fault.replaced({ status, body: "<html>gone</html>" })

describe("acquire", () => {
  describe("decision DENY", () => {
    it.effect.each([
      ["without a reservation id", {}],
      ["with a reservation id", { reservation_id: "r1" }]
    ] as const)("fails with BudgetExceeded and its reason code, and the body doesn't run: %s", ([, more]) =>
      Effect.gen(function* () {
        const body = { decision: "DENY", reason_code: "ACTION_KIND_DENIED", affected_scopes: ["tenant:acme"], ...more }
        yield* CyclesTest.inject("reserve", Fault.response({ status: 200, body }))
        const call = Effect.die("the body runs").pipe(Cycles.withCycles(options))
        expect(yield* Effect.flip(call)).toMatchObject({
          _tag: "BudgetExceeded",
          code: "ACTION_KIND_DENIED",
          scopes: ["tenant:acme"]
        })
        yield* TestClock.adjust("1 minute")
        expect(yield* operations).toEqual(["reserve"])
      }).pipe(Effect.provide(exact))
    )
  })

  describe("ambiguous reserve", () => {
    it.effect.each<readonly [string, Fault.Fault]>([
      ["429", Fault.error(429, "LIMIT_EXCEEDED")],
      ["401", Fault.error(401, "UNAUTHORIZED")],
      ["the page of a proxy", html(404)]
    ])("releases the possible reservation of a lost response if the retry gets %s", ([, second]) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", lost, second)
        yield* Effect.exit(guardedCall)
        yield* TestClock.adjust(0)
        expect(yield* operations).toEqual(["reserve", "reserve", "reserve", "release"])
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("stops after a refusal with a code, since a repeated request would return the first result", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.requestLost, Fault.error(409, "BUDGET_EXCEEDED"))
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "BudgetExceeded" })
        yield* TestClock.adjust("1 minute")
        expect((yield* operations).filter((operation) => operation === "reserve")).toEqual(["reserve", "reserve"])
      }).pipe(Effect.provide(exact))
    )

    it.effect("continues to look for the possible reservation after a 401", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", lost, lost, Fault.error(401, "UNAUTHORIZED"))
        yield* Effect.exit(guardedCall)
        yield* TestClock.adjust(500)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("retries after the decision ALLOW without a reservation id", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(
          "reserve",
          Fault.replaced({ status: 200, body: '{"decision":"ALLOW","affected_scopes":[],"reservation_id":null}' })
        )
        yield* guardedCall
        expect(yield* operations).toEqual(["reserve", "reserve", "commit"])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )
  })

  describe("caller-supplied key", () => {
    it.effect("keeps the reservation for a caller that tries again", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", lost, lost)
        expect(yield* Effect.flip(job)).toMatchObject({ _tag: "TransportError" })
        const again = yield* Effect.sleep("30 seconds").pipe(
          Cycles.withCycles({ ...options, idempotencyKey: "job-1" }),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(again)
        expect(yield* operations).not.toContain("release")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("releases the reservation after one timeout, to the millisecond, if no caller tries again", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", lost, lost)
        yield* Effect.exit(job)
        yield* TestClock.adjust(9_999)
        expect(yield* operations).toEqual(["reserve", "reserve"])
        yield* TestClock.adjust(1)
        expect(yield* operations).toEqual(["reserve", "reserve", "reserve", "release"])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("reads the reservation if the response has no remaining_ttl_ms", () =>
      Effect.gen(function* () {
        yield* job
        expect((yield* CyclesTest.requests("reserve"))[0]?.body).toContain("job-1")
        const id = /reservations\/([^/]+)\/commit/.exec((yield* CyclesTest.requests())[1]?.path ?? "")?.[1] ?? ""
        yield* CyclesTest.inject(
          "reserve",
          Fault.response({ status: 200, body: { decision: "ALLOW", affected_scopes: [], reservation_id: id } })
        )
        expect(yield* Effect.flip(job)).toMatchObject({ _tag: "AlreadySettled", by: "earlier run" })
        expect(yield* operations).toEqual(["reserve", "commit", "reserve", "getReservation"])
      }).pipe(Effect.provide(exact))
    )
  })

  describe("maxRetryAfter", () => {
    it.effect("waits at least 100 ms, and at most maxRetryAfter in total", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("reserve", Fault.error(503, "INTERNAL_ERROR", { "retry-after": "0" }))
        const fiber = yield* Effect.void.pipe(
          Cycles.withCycles({ ...options, maxRetryAfter: "1 second" }),
          Effect.exit,
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(1_000)
        expect(Exit.isFailure(yield* Fiber.join(fiber))).toBe(true)
        const reserves = yield* CyclesTest.requests("reserve")
        // Ten waits, and the retry after an ambiguous response.
        expect(reserves.length).toBeLessThanOrEqual(14)
      }).pipe(Effect.provide(exact))
    )

    it.effect("applies to decide", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("decide", Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "2" }))
        const fiber = yield* Effect.forkChild(Cycles.decide({ action, estimate: tokens(1) }), {
          startImmediately: true
        })
        yield* TestClock.adjust(1_999)
        expect(fiber.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(yield* Fiber.join(fiber)).toMatchObject({ decision: "ALLOW" })
      }).pipe(Effect.provide(live({ maxRetryAfter: "5 seconds" })))
    )
  })
})
