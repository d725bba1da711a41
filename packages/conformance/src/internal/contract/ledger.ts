/** The contract of a server: idempotency, decisions, events, queries and errors. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Limits from "@effect-cycles/protocol/Limits"
import { describe, expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Declare } from "./fixture.ts"
import { action, both, codeOf, make, newKey, one, clientWithUnknownKey, unknownId } from "./fixture.ts"

const { tokens } = Amount

const { maxInt64 } = Limits

/** Declares these tests. */
export const ledger = ({ test }: Declare): void => {
  describe("idempotency", () => {
    test(
      "applies a repeated request once and returns the same response, even if six are concurrent",
      one(100),
      ({ balanceAt, client, reserve }) =>
        Effect.gen(function* () {
          const idempotencyKey = newKey()
          const responses = yield* Effect.forEach(Array.from({ length: 6 }), () => reserve(10, { idempotencyKey }), {
            concurrency: 6
          })
          expect(new Set(responses.map((response) => response.reservationId)).size).toBe(1)
          expect((yield* balanceAt()).reserved).toBe(10n)
          const id = responses[0]?.reservationId ?? (yield* unknownId)
          const commit = { idempotencyKey: newKey(), actual: tokens(7) }
          const first = yield* client.commit(id, commit)
          expect({ ...(yield* client.commit(id, commit)), meta: 0 }).toEqual({ ...first, meta: 0 })
          expect(yield* balanceAt()).toMatchObject({ spent: 7n, reserved: 0n })
        })
    )

    test("refuses a different request under the same key", one(100), ({ balanceAt, client, reserveId, reserve }) =>
      Effect.gen(function* () {
        const idempotencyKey = newKey()
        const id = yield* reserveId(10, { idempotencyKey })
        expect(yield* codeOf(reserve(11, { idempotencyKey }))).toBe("IDEMPOTENCY_MISMATCH")
        yield* client.commit(id, { idempotencyKey, actual: tokens(1) })
        expect(yield* codeOf(client.commit(id, { idempotencyKey, actual: tokens(2) }))).toBe("IDEMPOTENCY_MISMATCH")
        expect(yield* balanceAt()).toMatchObject({ spent: 1n, reserved: 0n })
      })
    )

    test(
      "doesn't store a refusal: the same request succeeds after the budget is funded",
      one(5),
      ({ manage, reserve }) =>
        Effect.gen(function* () {
          const idempotencyKey = newKey()
          expect(yield* codeOf(reserve(10, { idempotencyKey }))).toBe("BUDGET_EXCEEDED")
          yield* manage("fund", {
            operation: "CREDIT",
            amount: { unit: "TOKENS", amount: 5 },
            idempotency_key: newKey()
          })
          expect((yield* reserve(10, { idempotencyKey })).decision).toBe("ALLOW")
        })
    )

    test("settles two reservations under the same key", one(100), ({ balanceAt, client, reserveId }) =>
      Effect.gen(function* () {
        const commit = { idempotencyKey: newKey(), actual: tokens(3) }
        yield* client.commit(yield* reserveId(10), commit)
        yield* client.commit(yield* reserveId(10), commit)
        expect((yield* balanceAt()).spent).toBe(6n)
      })
    )
  })

  describe("decide", () => {
    test("returns the decision of a reserve, and reserves nothing", one(10), ({ balanceAt, client, tenant }) =>
      Effect.gen(function* () {
        const decide = (amount: number) =>
          client.decide({ idempotencyKey: newKey(), subject: { tenant }, action, estimate: tokens(amount) })
        expect(yield* decide(10)).toMatchObject({ decision: "ALLOW" })
        expect(yield* decide(11)).toMatchObject({ decision: "DENY", reasonCode: "BUDGET_EXCEEDED" })
        expect((yield* balanceAt()).reserved).toBe(0n)
      })
    )
  })

  describe("events", () => {
    test(
      "charge immediately, once for each key, by the policy of the request",
      [{ allocated: 10, overdraftLimit: 5 }],
      ({ balanceAt, client, event, tenant }) =>
        Effect.gen(function* () {
          const request = { idempotencyKey: newKey(), subject: { tenant }, action, actual: tokens(4) }
          const first = yield* client.event(request)
          expect(first.status).toBe("APPLIED")
          expect((yield* client.event(request)).eventId).toBe(first.eventId)
          expect(yield* balanceAt()).toMatchObject({ spent: 4n, remaining: 6n })
          expect(yield* codeOf(event(7, "REJECT"))).toBe("BUDGET_EXCEEDED")
          expect(yield* codeOf(event(12, "ALLOW_WITH_OVERDRAFT"))).toBe("OVERDRAFT_LIMIT_EXCEEDED")
          yield* event(8, "ALLOW_WITH_OVERDRAFT")
          expect(yield* balanceAt()).toMatchObject({ spent: 10n, debt: 2n, remaining: -2n })
        })
    )

    test(
      "charge at most the remaining amount under ALLOW_IF_AVAILABLE, and return it",
      one(10),
      ({ balanceAt, event }) =>
        Effect.gen(function* () {
          expect((yield* event(10, "ALLOW_IF_AVAILABLE")).charged).toBeUndefined()
          expect((yield* event(1, "ALLOW_IF_AVAILABLE")).charged).toEqual(tokens(0))
          expect(yield* balanceAt()).toMatchObject({ spent: 10n, isOverLimit: true })
        })
    )
  })

  describe("amounts", () => {
    test("are exact to the last digit of 64 bits", one(maxInt64), ({ balanceAt, client, reserveId, reserve }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(maxInt64 - 1n)
        expect(yield* codeOf(reserve(2))).toBe("BUDGET_EXCEEDED")
        yield* client.commit(id, { idempotencyKey: newKey(), actual: tokens(maxInt64 - 2n) })
        expect(yield* balanceAt()).toMatchObject({ allocated: maxInt64, spent: maxInt64 - 2n, remaining: 2n })
      })
    )
  })

  describe("queries", () => {
    test(
      "return each balance once across pages",
      Array.from({ length: 5 }, (_, i) => ({ scope: `agent:a${i}`, allocated: 1 })),
      ({ client, tenant }) =>
        Effect.gen(function* () {
          const rows = yield* Stream.runCollect(client.streamBalances({ tenant, limit: 2 }))
          expect(rows.map((row) => row.scope).toSorted()).toEqual([
            "agent:a0",
            "agent:a1",
            "agent:a2",
            "agent:a3",
            "agent:a4"
          ])
        })
    )

    test("return each reservation once across pages, in the requested order", one(100), ({ client, reserveId }) =>
      Effect.gen(function* () {
        for (const amount of [3, 1, 2, 5, 4]) yield* reserveId(amount)
        for (const sortDir of ["asc", "desc"] as const) {
          const rows = yield* Stream.runCollect(client.streamReservations({ sortBy: "reserved", sortDir, limit: 2 }))
          const amounts = rows.map((row) => Number(row.reserved.amount))
          expect(amounts).toEqual(sortDir === "asc" ? [1, 2, 3, 4, 5] : [5, 4, 3, 2, 1])
        }
      })
    )

    test("find reservations by status, subject and key", both(100, 100), ({ client, reserveId }) =>
      Effect.gen(function* () {
        const idempotencyKey = newKey()
        const keyed = yield* reserveId(1, { idempotencyKey })
        const agents = yield* reserveId(1, { agent: "a" })
        const done = yield* reserveId(1)
        yield* client.commit(done, { idempotencyKey: newKey(), actual: tokens(1) })
        const ids = (query: Parameters<typeof client.streamReservations>[0]) =>
          Effect.map(Stream.runCollect(client.streamReservations(query)), (rows) =>
            rows.map((row) => row.reservationId)
          )
        expect(yield* ids({ idempotencyKey })).toEqual([keyed])
        expect(yield* ids({ agent: "a" })).toEqual([agents])
        expect(yield* ids({ status: "COMMITTED" })).toEqual([done])
        expect((yield* ids({ status: "ACTIVE" })).toSorted()).toEqual([keyed, agents].toSorted())
      })
    )

    test("return a reservation with the metadata of its user", one(10), ({ client, reserveId, tenant }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(2, { metadata: { run: "r1", deep: { list: [1, "2", null] } } })
        expect(yield* client.getReservation(id)).toMatchObject({
          reservationId: id,
          status: "ACTIVE",
          subject: { tenant },
          action,
          reserved: tokens(2),
          metadata: { run: "r1", deep: { list: [1, "2", null] } }
        })
      })
    )
  })

  describe("errors", () => {
    test(
      "return 401 for an invalid key, and a request id and trace id with every response",
      one(10),
      ({ client, reserve, tenant }) =>
        Effect.gen(function* () {
          const other = yield* clientWithUnknownKey(client.baseUrl)
          expect(yield* Effect.flip(other.balances({ tenant }))).toMatchObject({
            status: 401,
            code: "UNAUTHORIZED"
          })
          const { meta } = yield* reserve(1)
          expect(meta.requestId).toMatch(/./)
          expect(meta.traceId).toMatch(/^[0-9a-f]{32}$/)
          expect(yield* Effect.flip(reserve(11))).toMatchObject({ requestId: expect.any(String) })
        })
    )

    test("refuse access to the reservations of another tenant", one(10), ({ admin, client, reserveId }) =>
      Effect.gen(function* () {
        const id = yield* reserveId(1)
        const other = yield* make({ baseUrl: client.baseUrl, admin }, one(10))
        expect(yield* codeOf(other.client.getReservation(id))).toBe("FORBIDDEN")
        const commit = { idempotencyKey: newKey(), actual: tokens(1) }
        expect(yield* codeOf(other.client.commit(id, commit))).toBe("FORBIDDEN")
        expect(yield* Stream.runCollect(other.client.streamReservations())).toEqual([])
      })
    )
  })
}
