/**
 * What any Cycles server has to do, seen through our client alone: one suite for the embedded server's stores, and for the
 * server behind an address.
 *
 * Each test makes a tenant of its own by the administrator's calls, so that a server with a history serves as well as a new
 * one. Time is the server's: what has to expire is waited for.
 *
 * Source: the protocol; MUST where it says so.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateRequest } from "@effect-cycles/protocol/Reservation"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as CyclesClient from "effect-cycles/CyclesClient"
import type { ClientConfig } from "effect-cycles/CyclesConfig"
import * as UndiciHttpClient from "effect-cycles/node/UndiciHttpClient"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Where a server is, and how its administrator is known. */
export interface Place {
  readonly baseUrl: string
  readonly adminUrl: string
  readonly adminKey: Redacted.Redacted
}

/** The server that the suite runs on. */
export class Target extends Context.Service<Target, Place>()("@effect-cycles/conformance/Target") {}

// ---------------------------------------------------------------------------------------------------------------------
// suite
// ---------------------------------------------------------------------------------------------------------------------

/** Registers the suite for a server. */
export const suite = <E>(name: string, server: Layer.Layer<Target, E>): void => {
  describe(`the contract of a Cycles server: ${name}`, () => {
    it.layer(server, { excludeTestServices: true, timeout: 60_000 })((it) => {
      describe("reserve", () => {
        it.effect("MUST hold the estimate on every scope that has a budget, or on none", () =>
          Effect.gen(function* () {
            const { client, reserve, tenant } = yield* tenantWith([
              { amount: 1_000 },
              { amount: 100, scope: "agent:planner" }
            ])
            const answer = yield* client.createReservation(reserve(60, { agent: "planner" }))
            expect(answer.decision).toBe("ALLOW")
            expect(answer.affectedScopes).toEqual([`tenant:${tenant}`, `tenant:${tenant}/agent:planner`])
            const refused = yield* Effect.flip(client.createReservation(reserve(60, { agent: "planner" })))
            expect(refused).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_EXCEEDED" })
            expect(yield* books(client, tenant)).toEqual([
              { scope: `tenant:${tenant}`, reserved: 60, spent: 0, remaining: 940 },
              { scope: `tenant:${tenant}/agent:planner`, reserved: 60, spent: 0, remaining: 40 }
            ])
          })
        )

        it.effect("MUST answer a repeated key as before, and hold once", () =>
          Effect.gen(function* () {
            const { client, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const request = reserve(60)
            const [first, again] = [yield* client.createReservation(request), yield* client.createReservation(request)]
            expect(again.reservationId).toBe(first.reservationId)
            expect(yield* books(client, tenant)).toMatchObject([{ reserved: 60 }])
          })
        )

        it.effect("MUST refuse a repeated key with another body", () =>
          Effect.gen(function* () {
            const { client, reserve } = yield* tenantWith([{ amount: 1_000 }])
            const request = reserve(60)
            yield* client.createReservation(request)
            const error = yield* Effect.flip(client.createReservation({ ...request, estimate: Amount.tokens(61) }))
            expect(error).toMatchObject({ _tag: "ApiError", status: 409, code: "IDEMPOTENCY_MISMATCH" })
          })
        )

        it.effect("MUST hold nothing in a dry run, and still decide", () =>
          Effect.gen(function* () {
            const { client, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            expect((yield* client.createReservation({ ...reserve(60), dryRun: true })).decision).toBe("ALLOW")
            const denied = yield* client.createReservation({ ...reserve(6_000), dryRun: true })
            expect(denied).toMatchObject({ decision: "DENY", reasonCode: "BUDGET_EXCEEDED" })
            expect(yield* books(client, tenant)).toEqual([
              { scope: `tenant:${tenant}`, reserved: 0, spent: 0, remaining: 1_000 }
            ])
          })
        )

        it.effect("says which budget is missing", () =>
          Effect.gen(function* () {
            const { client, reserve } = yield* tenantWith([])
            const error = yield* Effect.flip(client.createReservation(reserve(1)))
            expect(error).toMatchObject({ _tag: "ApiError", status: 404 })
          })
        )

        it.effect("MUST let at most what there is through, however many ask at once", () =>
          Effect.gen(function* () {
            const { client, reserve, tenant } = yield* tenantWith([{ amount: 100 }])
            const asked = Array.from({ length: 30 }, () => Effect.exit(client.createReservation(reserve(9))))
            const exits = yield* Effect.all(asked, { concurrency: "unbounded" })
            expect(exits.filter((exit) => exit._tag === "Success").length).toBe(11)
            expect(yield* books(client, tenant)).toMatchObject([{ reserved: 99, remaining: 1 }])
          })
        )
      })

      describe("commit", () => {
        it.effect("MUST charge the actual amount once and give the rest back", () =>
          Effect.gen(function* () {
            const { client, key, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* client.createReservation(reserve(60))
            const request = { idempotencyKey: key(), actual: Amount.tokens(42) }
            const [first, again] = [yield* client.commit(id, request), yield* client.commit(id, request)]
            expect(first).toMatchObject({ status: "COMMITTED", charged: Amount.tokens(42) })
            expect(again.charged).toEqual(first.charged)
            expect(yield* books(client, tenant)).toMatchObject([{ reserved: 0, spent: 42, remaining: 958 }])
          })
        )

        it.effect("MUST refuse a second commit under another key", () =>
          Effect.gen(function* () {
            const { client, key, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* client.createReservation(reserve(60))
            yield* client.commit(id, { idempotencyKey: key(), actual: Amount.tokens(42) })
            const error = yield* Effect.flip(client.commit(id, { idempotencyKey: key(), actual: Amount.tokens(1) }))
            expect(error).toMatchObject({ _tag: "ApiError", status: 409, code: "RESERVATION_FINALIZED" })
            expect(yield* books(client, tenant)).toMatchObject([{ spent: 42 }])
          })
        )

        it.effect("MUST refuse another unit", () =>
          Effect.gen(function* () {
            const { client, key, reserve } = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* client.createReservation(reserve(60))
            const request = { idempotencyKey: key(), actual: Amount.credits(1) }
            expect(yield* Effect.flip(client.commit(id, request))).toMatchObject({ code: "UNIT_MISMATCH" })
          })
        )

        const overages = [
          ["REJECT", "BUDGET_EXCEEDED", 0, 0],
          ["ALLOW_IF_AVAILABLE", 100, 100, 0],
          ["ALLOW_WITH_OVERDRAFT", 130, 100, 30]
        ] as const
        it.effect.each(overages)("charges more than was reserved by the policy %s", ([policy, outcome, spent, debt]) =>
          Effect.gen(function* () {
            const { client, key, reserve, tenant } = yield* tenantWith([{ amount: 100, overdraft: 50 }])
            const request = { ...reserve(60), overagePolicy: policy }
            const { reservationId: id = missing() } = yield* client.createReservation(request)
            const commit = client.commit(id, { idempotencyKey: key(), actual: Amount.tokens(130) })
            if (typeof outcome === "string") {
              expect(yield* Effect.flip(commit)).toMatchObject({ _tag: "BudgetExceeded", code: outcome })
            } else expect((yield* commit).charged).toEqual(Amount.tokens(outcome))
            const [balance] = yield* Stream.runCollect(client.balances({ tenant }))
            expect([Number(balance?.spent?.amount), Number(balance?.debt?.amount ?? 0n)]).toEqual([spent, debt])
          })
        )
      })

      describe("release and extend", () => {
        it.effect("MUST give everything back, once", () =>
          Effect.gen(function* () {
            const { client, key, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* client.createReservation(reserve(60))
            expect(yield* client.release(id, { idempotencyKey: key() })).toMatchObject({ status: "RELEASED" })
            const error = yield* Effect.flip(client.release(id, { idempotencyKey: key() }))
            expect(error).toMatchObject({ status: 409, code: "RESERVATION_FINALIZED" })
            expect(yield* books(client, tenant)).toMatchObject([{ reserved: 0, spent: 0 }])
          })
        )

        it.effect("extends from the old end, once for each key", () =>
          Effect.gen(function* () {
            const { client, key, reserve } = yield* tenantWith([{ amount: 1_000 }])
            const reserved = yield* client.createReservation(reserve(60))
            const { reservationId: id = missing() } = reserved
            const request = { idempotencyKey: key(), extendByMs: 30_000 }
            const first = yield* client.extend(id, request)
            const again = yield* client.extend(id, request)
            expect(first.expiresAtMs - (reserved.expiresAtMs ?? 0)).toBe(30_000)
            expect(again.expiresAtMs).toBe(first.expiresAtMs)
          })
        )

        it.effect("MUST give back what has expired, and refuse to commit it", () =>
          Effect.gen(function* () {
            const { client, key, reserve, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const request = { ...reserve(60), ttlMs: 1_000, gracePeriodMs: 0 }
            const { reservationId: id = missing() } = yield* client.createReservation(request)
            yield* eventually(books(client, tenant), ([balance]) => balance?.reserved === 0)
            const error = yield* Effect.flip(client.commit(id, { idempotencyKey: key(), actual: Amount.tokens(1) }))
            expect(error).toMatchObject({ status: 410, code: "RESERVATION_EXPIRED" })
            expect(yield* Effect.flip(client.getReservation(id))).toMatchObject({ status: 410 })
          })
        )
      })

      describe("events and decisions", () => {
        it.effect("MUST charge an event at once, and once for each key", () =>
          Effect.gen(function* () {
            const { client, event, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const request = event(7)
            const [first, again] = [yield* client.createEvent(request), yield* client.createEvent(request)]
            expect(again.eventId).toBe(first.eventId)
            expect(yield* books(client, tenant)).toMatchObject([{ spent: 7, remaining: 993 }])
          })
        )

        it.effect("MUST decide without holding anything, and deny as an answer", () =>
          Effect.gen(function* () {
            const { client, event, key, tenant } = yield* tenantWith([{ amount: 1_000 }])
            const { action, subject } = event(1)
            const ask = (amount: number) =>
              client.decide({
                action,
                subject,
                idempotencyKey: key(),
                estimate: Amount.tokens(amount)
              })
            expect((yield* ask(10)).decision).toBe("ALLOW")
            expect((yield* ask(10_000)).decision).toBe("DENY")
            expect(yield* books(client, tenant)).toMatchObject([{ reserved: 0, spent: 0 }])
          })
        )
      })

      describe("reads", () => {
        it.effect("tells a reservation as it is", () =>
          Effect.gen(function* () {
            const { client, key, reserve } = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* client.createReservation(reserve(60))
            expect(yield* client.getReservation(id)).toMatchObject({ status: "ACTIVE", reserved: Amount.tokens(60) })
            yield* client.commit(id, { idempotencyKey: key(), actual: Amount.tokens(42) })
            expect(yield* client.getReservation(id)).toMatchObject({
              status: "COMMITTED",
              committed: Amount.tokens(42)
            })
          })
        )

        it.effect("lists every reservation once, over all pages, and those of a status", () =>
          Effect.gen(function* () {
            const { client, key, reserve } = yield* tenantWith([{ amount: 1_000 }])
            const ids: Array<string> = []
            for (let i = 0; i < 7; i++)
              ids.push((yield* client.createReservation(reserve(1))).reservationId ?? missing())
            const listed = yield* Stream.runCollect(
              client.reservations({ limit: 3, sortBy: "created_at_ms", sortDir: "asc" })
            )
            expect(listed.map((row) => row.reservationId).toSorted()).toEqual(ids.toSorted())
            const times = listed.map((row) => row.createdAtMs)
            expect(times).toEqual(times.toSorted((a, b) => a - b))
            const [first] = listed
            if (first !== undefined) yield* client.release(first.reservationId, { idempotencyKey: key() })
            const active = yield* Stream.runCollect(client.reservations({ status: "ACTIVE", limit: 3 }))
            expect(active.length).toBe(6)
          })
        )

        it.effect("keeps amounts exact to the last digit of 2^63-1", () =>
          Effect.gen(function* () {
            const max = 9_223_372_036_854_775_807n
            const { client, reserve, tenant } = yield* tenantWith([{ amount: max }])
            yield* client.createReservation({ ...reserve(1), estimate: Amount.tokens(max - 1n) })
            const [balance] = yield* Stream.runCollect(client.balances({ tenant }))
            expect(balance?.remaining.amount).toBe(1n)
            expect(balance?.reserved?.amount).toBe(max - 1n)
          })
        )
      })

      describe("who may ask", () => {
        it.effect("MUST refuse a key that it doesn't know", () =>
          Effect.gen(function* () {
            const { baseUrl } = yield* Target
            const client = yield* clientWith({ baseUrl, apiKey: Redacted.make("cyc_live_nobody") })
            expect(yield* Effect.flip(client.listReservations())).toMatchObject({ status: 401, code: "UNAUTHORIZED" })
          })
        )

        it.effect("MUST keep tenants apart", () =>
          Effect.gen(function* () {
            const one = yield* tenantWith([{ amount: 1_000 }])
            const other = yield* tenantWith([{ amount: 1_000 }])
            const { reservationId: id = missing() } = yield* one.client.createReservation(one.reserve(60))
            expect(yield* Effect.flip(other.client.getReservation(id))).toMatchObject({ _tag: "ApiError" })
            expect(yield* Effect.flip(other.client.release(id, { idempotencyKey: other.key() }))).toMatchObject({
              _tag: "ApiError"
            })
            expect(yield* Effect.flip(other.client.createReservation(one.reserve(1)))).toMatchObject({ status: 403 })
            expect(yield* books(one.client, one.tenant)).toMatchObject([{ reserved: 60 }])
          })
        )
      })
    })
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// a tenant
// ---------------------------------------------------------------------------------------------------------------------

interface Budget {
  readonly amount: number | bigint
  /** Below the tenant. */
  readonly scope?: string
  readonly overdraft?: number
}

/** A new tenant with these budgets of tokens, and a client with its key. */
const tenantWith = (budgets: ReadonlyArray<Budget>) =>
  Effect.gen(function* () {
    const { adminKey, adminUrl, baseUrl } = yield* Target
    const post = (path: string, body: string) =>
      Effect.promise(async () => {
        const response = await fetch(adminUrl + path, {
          method: "POST",
          headers: { "content-type": "application/json", "x-admin-api-key": Redacted.value(adminKey) },
          body
        })
        const text = await response.text()
        if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
        return new Map(Object.entries(Object(JSON.parse(text))))
      })
    const tenant = `suite-${crypto.randomUUID().slice(0, 13)}`
    yield* post("/v1/admin/tenants", JSON.stringify({ tenant_id: tenant, name: tenant }))
    const made = yield* post("/v1/admin/api-keys", JSON.stringify({ tenant_id: tenant, name: "suite" }))
    for (const { amount, overdraft, scope } of budgets) {
      const path = scope === undefined ? `tenant:${tenant}` : `tenant:${tenant}/${scope}`
      const limit = `{"unit":"TOKENS","amount":${overdraft ?? 0}}`
      // By hand: a number may be larger than JavaScript's.
      yield* post(
        "/v1/admin/budgets",
        `{"tenant_id":"${tenant}","scope":"${path}","unit":"TOKENS","allocated":{"unit":"TOKENS","amount":${amount}},"overdraft_limit":${limit}}`
      )
    }
    const client = yield* clientWith({ baseUrl, apiKey: Redacted.make(String(made.get("key_secret"))) })
    const key = () => IdempotencyKey.make(crypto.randomUUID())
    const action = { kind: "llm.completion", name: "suite" }
    const reserve = (amount: number, subject?: { readonly agent: string }): ReservationCreateRequest => ({
      idempotencyKey: key(),
      subject: { tenant, ...subject },
      action,
      estimate: Amount.tokens(amount),
      ttlMs: 60_000
    })
    const event = (amount: number) => ({
      idempotencyKey: key(),
      subject: { tenant },
      action,
      actual: Amount.tokens(amount)
    })
    return { tenant, client, key, reserve, event }
  })

const clientWith = (config: ClientConfig) =>
  Effect.map(
    Layer.build(CyclesClient.layer(config).pipe(Layer.provide(UndiciHttpClient.layer()))),
    Context.get(CyclesClient.CyclesClient)
  )

/** The balances of a tenant, from the top. */
const books = (client: CyclesClient.Shape, tenant: string) =>
  Effect.map(Stream.runCollect(client.balances({ tenant, includeChildren: true })), (balances) =>
    balances
      .map((balance) => ({
        scope: balance.scopePath,
        reserved: Number(balance.reserved?.amount),
        spent: Number(balance.spent?.amount),
        remaining: Number(balance.remaining.amount)
      }))
      .toSorted((a, b) => a.scope.length - b.scope.length)
  )

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Asks again, every 100 ms for at most 20 s, until the answer is as it should be. */
const eventually = <A, E, R>(ask: Effect.Effect<A, E, R>, isSo: (answer: A) => boolean) =>
  Effect.repeat(ask, { until: isSo, schedule: Schedule.spaced(100), times: 200 })

/** Every answer to a reserve that isn't a dry run names its reservation. */
const missing = (): never => {
  throw new Error("the answer names no reservation")
}
