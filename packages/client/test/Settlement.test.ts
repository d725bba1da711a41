import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Settlement, SettlementJournal } from "effect-cycles"
import { noJournal } from "./support/journal.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { settlementOf, watchSettlements, withSettlement } from "./support/settled.ts"

/** Without jitter, so that the delays are known: 0.5, 1, 2, 4, 8 s. */
const exact = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

const guardedCall = settlementOf(Effect.void, { action, estimate: tokens(100), actual: () => tokens(42) })

/** A journal that can't be written. */
const broken = Layer.succeed(SettlementJournal.SettlementJournal, {
  [SettlementJournal.TypeId]: SettlementJournal.TypeId,
  isDurable: true,
  open: () =>
    Effect.succeed({
      ...noJournal,
      put: () => Effect.fail(new SettlementJournal.JournalError({ operation: "put", problem: "the disk is full" }))
    })
})

/** Another client of the same tenant, over the same transport and journal. */
const another = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant }, retry: CyclesConfig.retryPolicy({ jitter: false }) })
  )
)

describe("Settlement", () => {
  describe("reserve", () => {
    it.effect.each<readonly [string, Fault.Fault]>([
      ["a lost request", Fault.requestLost],
      ["a lost response", Fault.responseLost],
      ["a 500", Fault.error(500, "INTERNAL_ERROR")],
      ["a garbled 200", Fault.replaced({ body: "<html>" })],
      ["a 200 without its required fields", Fault.replaced({ body: "{}" })],
      ["another success status", Fault.replaced({ body: "{}", status: 202 })]
    ])("retries %s once, immediately, with the same key", ([, fault]) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", fault)
        expect(yield* guardedCall).toMatchObject({ _tag: "Committed" })
        const keys = (yield* CyclesTest.requests("reserve")).map((sent) => sent.idempotencyKey)
        expect(keys).toHaveLength(2)
        expect(new Set(keys).size).toBe(1)
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )

    it.effect("returns to the caller after a second ambiguous response, and releases in the background", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.responseLost, Fault.responseLost)
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "TransportError", mayHaveArrived: true })
        yield* Effect.yieldNow
        expect(yield* operations).toEqual(["reserve", "reserve", "reserve", "release"])
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )

    it.effect("doesn't let an invalid request hide that the first attempt may have reserved", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.responseLost, Fault.error(400, "INVALID_REQUEST"))
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "TransportError", mayHaveArrived: true })
        yield* Effect.yieldNow
        expect(yield* operations).toEqual(["reserve", "reserve", "reserve", "release"])
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("returns to an interrupted caller immediately without a response, and releases", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.noResponse)
        const fiber = yield* Effect.forkChild(guardedCall, { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
        yield* Effect.yieldNow
        expect(yield* operations).toEqual(["reserve", "reserve", "release"])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )

    it.effect("doesn't retry a refusal", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.error(403, "FORBIDDEN"))
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "ApiError", status: 403, code: "FORBIDDEN" })
        expect(yield* operations).toEqual(["reserve"])
      }).pipe(Effect.provide(live()))
    )

    it.effect("fails immediately on 429 by default, and waits for Retry-After up to maxRetryAfter", () =>
      Effect.gen(function* () {
        const busy = Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "3" })
        yield* CyclesTest.inject("reserve", busy)
        expect(yield* Effect.flip(guardedCall)).toMatchObject({ _tag: "ApiError", status: 429 })
        yield* CyclesTest.inject("reserve", busy)
        const fiber = yield* Effect.void.pipe(
          Cycles.withCycles({ action, estimate: tokens(1), maxRetryAfter: "5 seconds" }),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(2_999)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(2)
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(3)
      }).pipe(Effect.provide(live()))
    )

    it.effect("fails after its timeout, to the millisecond", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("reserve", Fault.noResponse)
        const fiber = yield* Effect.forkChild(Effect.exit(guardedCall), { startImmediately: true })
        yield* TestClock.adjust(19_999)
        expect(fiber.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))).toMatchObject({
          _tag: "TransportError",
          kind: "timeout"
        })
        // The client continues until it knows the id, and then releases the reservation.
        yield* CyclesTest.clearFaults("reserve")
        yield* TestClock.adjust("11 seconds")
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )
  })

  describe("commit", () => {
    it.effect.each<readonly [string, Fault.Fault]>([
      ["CR-CORE-001: a lost response", Fault.responseLost],
      ["a lost request", Fault.requestLost],
      ["CR-CORE-004: a wrong success status", Fault.replaced({ body: "{}", status: 201 })],
      ["CR-CORE-004: a body that doesn't match the schema", Fault.replaced({ body: '{"status":"COMMITTED"}' })],
      ["a page of HTML with 200", Fault.replaced({ body: "<html>" })],
      ["500", Fault.error(500, "INTERNAL_ERROR")],
      ["a page of HTML with 502", Fault.response({ status: 502, body: {} })],
      ["429 without a delay", Fault.error(429, "LIMIT_EXCEEDED")],
      ["401", Fault.error(401, "UNAUTHORIZED")],
      ["403", Fault.error(403, "FORBIDDEN")],
      ["400 without a code", Fault.response({ status: 400, body: {} })],
      ["409 with an unknown code", Fault.error(409, "SOMETHING_NEW")],
      ["a redirect", Fault.response({ status: 302, body: {}, headers: { location: "http://elsewhere" } })]
    ])("is retried with the same key after %s", ([, fault]) =>
      Effect.gen(function* () {
        const seen = yield* watchSettlements
        yield* CyclesTest.inject("commit", fault)
        expect(yield* guardedCall).toMatchObject({ _tag: "Pending", isJournaled: true, actual: tokens(42) })
        yield* TestClock.adjust(499)
        expect(yield* CyclesTest.requests("commit")).toHaveLength(1)
        yield* TestClock.adjust(1)
        expect(seen).toMatchObject([{ _tag: "Committed", charged: tokens(42) }])
        const commits = yield* CyclesTest.requests("commit")
        expect(commits).toHaveLength(2)
        expect({ ...commits[0], fault: undefined }).toEqual(commits[1])
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect.each(["RESERVATION_EXPIRED", undefined])(
      "CR-CORE-002: charges an event with the same key after the lease has ended (410 %s)",
      (code) =>
        Effect.gen(function* () {
          yield* CyclesTest.inject(
            "commit",
            Fault.response({
              status: 410,
              body: code === undefined ? {} : { error: code, message: "", request_id: "" }
            })
          )
          // Without a code, the client reads the reservation first.
          if (code === undefined) yield* CyclesTest.inject("getReservation", Fault.error(410, "RESERVATION_EXPIRED"))
          expect(yield* guardedCall).toMatchObject({ _tag: "Recovered", charged: tokens(42), shortfall: tokens(0) })
          const commit = (yield* CyclesTest.requests("commit"))[0]
          const event = (yield* CyclesTest.requests()).at(-1)
          expect(event?.operation).toBe("event")
          expect(event?.idempotencyKey).toBe(commit?.idempotencyKey)
          expect(JSON.parse(event?.body ?? "")).toMatchObject({
            subject: { tenant: "acme" },
            action,
            actual: { unit: "TOKENS", amount: 42 },
            metadata: { recovery_reason: "commit_after_reservation_expired" }
          })
        }).pipe(Effect.provide(exact))
    )

    it.effect("recovers spend by an event after the lease has ended on the server", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
        const fiber = yield* Effect.sleep("70 seconds").pipe(
          withSettlement({ action, estimate: tokens(100), actual: () => tokens(42) }),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust("70 seconds")
        const [settlement] = yield* Fiber.join(fiber)
        expect(settlement).toMatchObject({ _tag: "Recovered", charged: tokens(42) })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect.each(["RESERVATION_FINALIZED", "IDEMPOTENCY_MISMATCH"])(
      "reads the reservation after %s, and is Committed if this client committed it",
      (code) =>
        Effect.gen(function* () {
          const seen = yield* watchSettlements
          yield* CyclesTest.inject("commit", Fault.responseLost, Fault.error(409, code))
          yield* guardedCall
          yield* TestClock.adjust(500)
          expect(seen).toMatchObject([{ _tag: "Committed", isReadBack: true, charged: tokens(42) }])
          expect((yield* operations).slice(-2)).toEqual(["commit", "getReservation"])
        }).pipe(Effect.provide(exact))
    )

    it.effect("charges an event if another client has released the reservation", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
            const server = yield* CyclesServer.CyclesServer
            yield* server.handle({
              method: "POST",
              url: `/v1/reservations/${reservation.id}/release`,
              headers: { "x-cycles-api-key": Redacted.value(server.apiKey), "content-type": "application/json" },
              body: JSON.stringify({ idempotency_key: "other" })
            })
            expect(yield* reservation.commit({ actual: tokens(9) })).toMatchObject({ _tag: "Recovered" })
          })
        )
        expect(yield* operations).toEqual(["reserve", "commit", "getReservation", "event"])
        expect(yield* books).toEqual({ spent: 9, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("keeps a dead letter if another commit has charged another amount", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(409, "RESERVATION_FINALIZED"))
        yield* CyclesTest.inject(
          "getReservation",
          Fault.response({
            status: 200,
            body: {
              reservation_id: "r",
              status: "COMMITTED",
              subject: {},
              action,
              reserved: { unit: "TOKENS", amount: 100 },
              committed: { unit: "TOKENS", amount: 7 },
              created_at_ms: 0,
              expires_at_ms: 0,
              scope_path: "",
              affected_scopes: []
            }
          })
        )
        expect(yield* guardedCall).toMatchObject({ _tag: "Rejected", code: "RESERVATION_FINALIZED" })
        expect(yield* Stream.runCollect(Cycles.deadLetters)).toHaveLength(1)
      }).pipe(Effect.provide(exact))
    )

    it.effect.each([
      [400, "INVALID_REQUEST"],
      [409, "BUDGET_EXCEEDED"],
      [409, "BUDGET_FROZEN"],
      [409, "BUDGET_CLOSED"],
      [400, "UNIT_MISMATCH"],
      [409, "OVERDRAFT_LIMIT_EXCEEDED"],
      [409, "DEBT_OUTSTANDING"],
      [409, "MAX_EXTENSIONS_EXCEEDED"],
      [409, "TENANT_CLOSED"]
    ] as const)("keeps a dead letter and releases nothing on %s %s", ([status, code]) =>
      Effect.gen(function* () {
        const seen = yield* watchSettlements
        yield* CyclesTest.inject("commit", Fault.error(status, code))
        expect(yield* guardedCall).toMatchObject({ _tag: "Rejected", code, actual: tokens(42) })
        expect(seen).toMatchObject([{ _tag: "Rejected" }])
        const letters = yield* Stream.runCollect(Cycles.deadLetters)
        expect(letters.map((letter) => letter.reason.split(":")[0])).toEqual([code])
        expect(yield* operations).not.toContain("release")
      }).pipe(Effect.provide(exact))
    )

    it.effect("keeps a dead letter if the reservation doesn't exist", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(404, "NOT_FOUND"))
        yield* CyclesTest.inject("getReservation", Fault.error(404, "NOT_FOUND"))
        expect(yield* guardedCall).toMatchObject({ _tag: "Rejected", code: "NOT_FOUND" })
      }).pipe(Effect.provide(exact))
    )

    it.effect("waits exactly for Retry-After", () =>
      Effect.gen(function* () {
        const seen = yield* watchSettlements
        yield* CyclesTest.inject("commit", Fault.error(503, "INTERNAL_ERROR", { "retry-after": "20" }))
        yield* guardedCall
        yield* TestClock.adjust(19_999)
        expect(seen).toEqual([])
        yield* TestClock.adjust(1)
        expect(seen).toMatchObject([{ _tag: "Committed" }])
      }).pipe(Effect.provide(exact))
    )

    it.effect("is Pending and stays in the journal after the last attempt", () =>
      Effect.gen(function* () {
        const seen = yield* watchSettlements
        yield* CyclesTest.always("commit", Fault.requestLost)
        yield* guardedCall
        yield* TestClock.adjust(15_500)
        expect(seen).toMatchObject([{ _tag: "Pending", isJournaled: true }])
        expect(yield* CyclesTest.requests("commit")).toHaveLength(6)
        yield* CyclesTest.clearFaults("commit")
        expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: true, pending: 0 })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("flush retries a settlement immediately instead of after its backoff", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.requestLost)
        yield* guardedCall
        expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: true, pending: 0 })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("is charged once if the network delivers it twice", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("commit", Fault.duplicated)
        yield* CyclesTest.always("reserve", Fault.duplicated)
        yield* guardedCall
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("lets the caller wait until it is final, or not at all", () =>
      Effect.gen(function* () {
        const options = { action, estimate: tokens(10), actual: () => tokens(4) }
        yield* CyclesTest.inject("commit", Fault.requestLost)
        const waiting = yield* Effect.void
          .pipe(withSettlement({ ...options, settle: "wait" }))
          .pipe(Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust(500)
        expect((yield* Fiber.join(waiting))[0]).toMatchObject({ _tag: "Committed" })
        yield* CyclesTest.inject("commit", Fault.noResponse)
        const [settlement] = yield* Effect.void.pipe(withSettlement({ ...options, settle: "background" }))
        expect(settlement).toMatchObject({ _tag: "Pending", isJournaled: true })
        yield* TestClock.adjust(10_500)
        expect(yield* books).toEqual({ spent: 8, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )

    it.effect("fails with the settlement if onUnsettled is fail", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(409, "BUDGET_FROZEN"))
        const error = yield* Effect.void.pipe(
          Cycles.withCycles({ action, estimate: tokens(10), onUnsettled: "fail" }),
          Effect.flip
        )
        expect(error).toBeInstanceOf(Settlement.Unsettled)
      }).pipe(Effect.provide(exact))
    )

    it.effect("settles without a journal that fails, and logs it", () =>
      Effect.gen(function* () {
        expect(yield* guardedCall).toMatchObject({ _tag: "Committed" })
        yield* CyclesTest.inject("commit", Fault.requestLost)
        expect(yield* guardedCall).toMatchObject({ _tag: "Pending", isJournaled: false })
        yield* Cycles.flush("1 second")
        expect(yield* books).toEqual({ spent: 84, reserved: 0 })
      }).pipe(Effect.provide(live({ retry: CyclesConfig.retryPolicy({ jitter: false }) }, { journal: broken })))
    )
  })

  describe("release", () => {
    it.effect("is retried with the same key until it is confirmed", () =>
      Effect.gen(function* () {
        const seen = yield* watchSettlements
        yield* CyclesTest.inject("release", Fault.responseLost, Fault.error(503, "INTERNAL_ERROR"))
        yield* Effect.fail("x").pipe(Cycles.withCycles({ action, estimate: tokens(10) }), Effect.exit)
        yield* TestClock.adjust(1_500)
        expect(seen).toMatchObject([{ _tag: "Released", isConfirmed: true, reason: "body_failed" }])
        const keys = (yield* CyclesTest.requests("release")).map((sent) => sent.idempotencyKey)
        expect([keys.length, new Set(keys).size]).toEqual([3, 1])
      }).pipe(Effect.provide(exact))
    )
  })

  describe("layer", () => {
    it.effect("settles open reservations before it closes", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.requestLost)
        yield* guardedCall.pipe(Effect.provide(Layer.fresh(another)))
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(exact))
    )
  })
})
