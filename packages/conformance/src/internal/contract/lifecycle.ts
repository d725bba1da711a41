/** The contract of a server: reserve, commit and overage, release, extend and expiry. */
import * as Amount from "@effect-cycles/protocol/Amount"
import { describe, expect } from "@effect/vitest"
import type { CyclesError } from "effect-cycles/CyclesError"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type { Declare } from "./fixture.ts"
import { both, codeOf, newKey, one, unknownId } from "./fixture.ts"

const { tokens } = Amount

/** Declares these tests. */
export const lifecycle = ({ test, timed }: Declare): void => {
  describe("reserve", () => {
    test("reserves the estimate on every scope of the subject", both(100, 50), ({ balanceAt, reserve, tenant }) =>
      Effect.gen(function* () {
        const response = yield* reserve(20, { agent: "a" })
        expect(response).toMatchObject({
          decision: "ALLOW",
          reserved: tokens(20),
          affectedScopes: [`tenant:${tenant}`, `tenant:${tenant}/agent:a`],
          scopePath: `tenant:${tenant}/agent:a`
        })
        expect(response.reservationId).toBeDefined()
        expect([(yield* balanceAt()).remaining, (yield* balanceAt("agent:a")).remaining]).toEqual([80n, 30n])
      })
    )

    test("reserves nothing if one scope has too little", both(100, 10), ({ balanceAt, reserve }) =>
      Effect.gen(function* () {
        expect(yield* codeOf(reserve(11, { agent: "a" }))).toBe("BUDGET_EXCEEDED")
        expect([(yield* balanceAt()).reserved, (yield* balanceAt("agent:a")).reserved]).toEqual([0n, 0n])
        yield* reserve(10, { agent: "a" })
        expect([(yield* balanceAt()).reserved, (yield* balanceAt("agent:a")).reserved]).toEqual([10n, 10n])
      })
    )

    test(
      "never reserves more than the budget, however many requests are concurrent",
      one(100),
      ({ balanceAt, reserve }) =>
        Effect.gen(function* () {
          const asked = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.result(reserve(10)), {
            concurrency: 20
          })
          expect(asked.filter((result) => result._tag === "Success").length).toBe(10)
          expect(yield* balanceAt()).toMatchObject({ reserved: 100n, remaining: 0n })
        })
    )

    test("has a TTL of one minute by default", one(10), ({ client, reserveId }) =>
      Effect.gen(function* () {
        const { createdAtMs, expiresAtMs } = yield* client.getReservation(yield* reserveId(1))
        expect(expiresAtMs - createdAtMs).toBe(60_000)
      })
    )

    test(
      "limits the TTL to the tenant's maximum",
      one(10),
      ({ client, reserveId }) =>
        Effect.gen(function* () {
          const { createdAtMs, expiresAtMs } = yield* client.getReservation(yield* reserveId(1, { ttlMs: 60_000 }))
          expect(expiresAtMs - createdAtMs).toBe(5_000)
        }),
      { max_reservation_ttl_ms: 5_000, default_reservation_ttl_ms: 5_000 }
    )

    test("reserves nothing in a dry run, and returns DENY instead of an error", one(10), ({ balanceAt, reserve }) =>
      Effect.gen(function* () {
        expect(yield* reserve(10, { dryRun: true })).toMatchObject({ decision: "ALLOW" })
        expect(yield* reserve(11, { dryRun: true })).toMatchObject({
          decision: "DENY",
          reasonCode: "BUDGET_EXCEEDED"
        })
        expect((yield* balanceAt()).reserved).toBe(0n)
      })
    )

    test("fails if there is no budget, or none in this unit", one(10), ({ client, reserve, tenant }) =>
      Effect.gen(function* () {
        expect(yield* codeOf(reserve(1, { estimate: Amount.credits(1) }))).toBe("UNIT_MISMATCH")
        expect(yield* codeOf(reserve(1, { subject: { agent: "a" } }))).toBe("NOT_FOUND")
        expect(yield* codeOf(reserve(1, { subject: { tenant: `${tenant}-other` } }))).toBe("FORBIDDEN")
        expect(yield* codeOf(client.getReservation(yield* unknownId))).toBe("NOT_FOUND")
      })
    )

    test(
      "is refused by a frozen budget, which still accepts commits",
      one(10),
      ({ client, reserveId, manage, reserve }) =>
        Effect.gen(function* () {
          const id = yield* reserveId(5)
          yield* manage("freeze", {})
          expect(yield* codeOf(reserve(1))).toBe("BUDGET_FROZEN")
          yield* client.commit(id, { idempotencyKey: newKey(), actual: tokens(5) })
          yield* manage("unfreeze", {})
          yield* reserve(1)
        })
    )
  })

  describe("commit", () => {
    test("charges the actual amount and returns the rest", both(100, 50), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(20, { agent: "a" })
        const response = yield* client.commit(id, {
          idempotencyKey: newKey(),
          actual: tokens(15),
          metadata: { note: "n" }
        })
        expect(response).toMatchObject({ status: "COMMITTED", charged: tokens(15), released: tokens(5) })
        for (const scope of [undefined, "agent:a"]) {
          expect(yield* balanceAt(scope)).toMatchObject({ spent: 15n, reserved: 0n, debt: 0n })
        }
        expect(yield* client.getReservation(id)).toMatchObject({ status: "COMMITTED", committed: tokens(15) })
      })
    )

    test("accepts an amount of 0, and the whole reserved amount", one(10), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const nothing = yield* client.commit(yield* reserveId(10), { idempotencyKey: newKey(), actual: tokens(0) })
        expect(nothing.released).toEqual(tokens(10))
        const all = yield* client.commit(yield* reserveId(10), { idempotencyKey: newKey(), actual: tokens(10) })
        expect(all.released).toBeUndefined()
        expect(yield* balanceAt()).toMatchObject({ spent: 10n, remaining: 0n })
      })
    )

    test("is final: later settlements are refused and change nothing", one(10), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(10)
        yield* client.commit(id, { idempotencyKey: newKey(), actual: tokens(4) })
        const later = [
          client.commit(id, { idempotencyKey: newKey(), actual: tokens(4) }),
          client.release(id, { idempotencyKey: newKey() }),
          client.extend(id, { idempotencyKey: newKey(), extendByMs: 1_000 })
        ]
        for (const call of later) {
          expect(yield* Effect.flip<unknown, CyclesError, never>(call)).toMatchObject({
            status: 409,
            code: "RESERVATION_FINALIZED"
          })
        }
        expect(yield* balanceAt()).toMatchObject({ spent: 4n, reserved: 0n })
      })
    )

    test("is refused in another unit, and for an unknown reservation", one(10), ({ client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(10)
        const credits = { idempotencyKey: newKey(), actual: Amount.credits(1) }
        expect(yield* codeOf(client.commit(id, credits))).toBe("UNIT_MISMATCH")
        const one = { idempotencyKey: newKey(), actual: tokens(1) }
        expect(yield* codeOf(client.commit(yield* unknownId, one))).toBe("NOT_FOUND")
      })
    )
  })

  describe("overage", () => {
    test("is refused under REJECT, and the reservation stays active", one(100), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(10, { overagePolicy: "REJECT" })
        const commit = (amount: number) => client.commit(id, { idempotencyKey: newKey(), actual: tokens(amount) })
        expect(yield* codeOf(commit(11))).toBe("BUDGET_EXCEEDED")
        expect(yield* balanceAt()).toMatchObject({ spent: 0n, reserved: 10n })
        yield* commit(10)
        expect(yield* balanceAt()).toMatchObject({ spent: 10n, reserved: 0n })
      })
    )

    test(
      "charges the remaining amount under ALLOW_IF_AVAILABLE, and blocks new reservations until the budget is funded",
      one(15),
      ({ balanceAt, client, reserveId, manage, reserve }) =>
        Effect.gen(function* () {
          const id = yield* reserveId(10, { overagePolicy: "ALLOW_IF_AVAILABLE" })
          const { charged } = yield* client.commit(id, { idempotencyKey: newKey(), actual: tokens(20) })
          expect(charged).toEqual(tokens(15))
          expect(yield* balanceAt()).toMatchObject({ spent: 15n, debt: 0n, remaining: 0n, isOverLimit: true })
          expect(yield* codeOf(reserve(0))).toBe("OVERDRAFT_LIMIT_EXCEEDED")
          yield* manage("fund", {
            operation: "CREDIT",
            amount: { unit: "TOKENS", amount: 5 },
            idempotency_key: newKey()
          })
          yield* reserve(5)
          expect(yield* balanceAt()).toMatchObject({ remaining: 0n, isOverLimit: false })
        })
    )

    test(
      "creates debt up to the limit under ALLOW_WITH_OVERDRAFT, and none beyond it",
      [{ allocated: 10, overdraftLimit: 5 }],
      ({ balanceAt, client, reserveId, reserve }) =>
        Effect.gen(function* () {
          const id = yield* reserveId(10, { overagePolicy: "ALLOW_WITH_OVERDRAFT" })
          const commit = (amount: number) => client.commit(id, { idempotencyKey: newKey(), actual: tokens(amount) })
          expect(yield* codeOf(commit(16))).toBe("OVERDRAFT_LIMIT_EXCEEDED")
          expect(yield* balanceAt()).toMatchObject({ spent: 0n, reserved: 10n, debt: 0n })
          yield* commit(15)
          expect(yield* balanceAt()).toMatchObject({ spent: 10n, debt: 5n, remaining: -5n })
          expect(yield* codeOf(reserve(1))).toBe("BUDGET_EXCEEDED")
        })
    )

    test(
      "follows the tenant's policy if the request has none",
      one(100),
      ({ client, event, reserveId }) =>
        Effect.gen(function* () {
          const commit = { idempotencyKey: newKey(), actual: tokens(11) }
          expect(yield* codeOf(client.commit(yield* reserveId(10), commit))).toBe("BUDGET_EXCEEDED")
          expect(yield* codeOf(event(91))).toBe("BUDGET_EXCEEDED")
        }),
      { default_commit_overage_policy: "REJECT" }
    )
  })

  describe("release", () => {
    test("returns the whole amount, also for the administrator", both(10, 10), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const agentReservation = yield* reserveId(4, { agent: "a" })
        const other = yield* reserveId(6, { agent: "a" })
        const release = { idempotencyKey: newKey(), reason: "no longer needed" }
        expect((yield* client.release(agentReservation, release)).released).toEqual(tokens(4))
        expect((yield* client.release(other, release, { as: "admin" })).released).toEqual(tokens(6))
        for (const scope of [undefined, "agent:a"]) {
          expect(yield* balanceAt(scope)).toMatchObject({ spent: 0n, reserved: 0n, remaining: 10n })
        }
        expect((yield* client.getReservation(agentReservation)).status).toBe("RELEASED")
      })
    )
  })

  describe("extend", () => {
    test("extends from the current end, once for each key", one(10), ({ client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(1, { ttlMs: 30_000 })
        const before = (yield* client.getReservation(id)).expiresAtMs
        const extend = { idempotencyKey: newKey(), extendByMs: 10_000 }
        expect((yield* client.extend(id, extend)).expiresAtMs).toBe(before + 10_000)
        expect((yield* client.extend(id, extend)).expiresAtMs).toBe(before + 10_000)
        expect((yield* client.extend(id, { ...extend, idempotencyKey: newKey() })).expiresAtMs).toBe(before + 20_000)
      })
    )

    test(
      "is refused after the tenant's maximum number of extensions",
      one(10),
      ({ client, reserveId }) =>
        Effect.gen(function* () {
          const id = yield* reserveId(1)
          const extend = () => client.extend(id, { idempotencyKey: newKey(), extendByMs: 1 })
          yield* extend()
          expect(yield* codeOf(extend())).toBe("MAX_EXTENSIONS_EXCEEDED")
        }),
      { max_reservation_extensions: 1 }
    )
  })

  describe("expiry", () => {
    timed(
      "returns exactly the reserved amount after the grace period",
      both(10, 10),
      ({ balanceAt, client, reserveId }) =>
        Effect.gen(function* () {
          const id = yield* reserveId(7, { agent: "a", ttlMs: 1_000, gracePeriodMs: 500 })
          yield* TestClock.adjust(1_500)
          expect((yield* balanceAt()).reserved).toBe(7n)
          yield* TestClock.adjust(1)
          for (const scope of [undefined, "agent:a"]) expect((yield* balanceAt(scope)).remaining).toBe(10n)
          const late = { idempotencyKey: newKey(), actual: tokens(7) }
          expect(yield* codeOf(client.commit(id, late))).toBe("RESERVATION_EXPIRED")
          expect(yield* codeOf(client.getReservation(id))).toBe("RESERVATION_EXPIRED")
          const [row] = (yield* client.listReservations({ status: "EXPIRED" })).reservations
          expect(row?.reservationId).toBe(id)
        })
    )

    timed("allows a settlement in the grace period, but no extension", one(20), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(7, { ttlMs: 1_000, gracePeriodMs: 500 })
        const other = yield* reserveId(7, { ttlMs: 1_000, gracePeriodMs: 500 })
        yield* TestClock.adjust(1_400)
        const extend = { idempotencyKey: newKey(), extendByMs: 1_000 }
        expect(yield* codeOf(client.extend(id, extend))).toBe("RESERVATION_EXPIRED")
        yield* client.commit(id, { idempotencyKey: newKey(), actual: tokens(7) })
        yield* client.release(other, { idempotencyKey: newKey() })
        expect(yield* balanceAt()).toMatchObject({ spent: 7n, reserved: 0n })
      })
    )

    timed("is recomputed in the response to a repeated reserve", one(20), ({ reserve }) =>
      Effect.gen(function* () {
        const request = { idempotencyKey: newKey(), ttlMs: 10_000, gracePeriodMs: 0 }
        const first = yield* reserve(1, request)
        yield* TestClock.adjust(4_000)
        const again = yield* reserve(1, request)
        expect([first.remainingTtlMs, again.remainingTtlMs]).toEqual([10_000, 6_000])
        expect(again.expiresAtMs).toBe(first.expiresAtMs)
        yield* TestClock.adjust(6_001)
        expect((yield* reserve(1, request)).remainingTtlMs).toBe(0)
      })
    )
  })
}
