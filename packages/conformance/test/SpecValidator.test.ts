/**
 * The client's requests and the embedded server's responses are valid according to the OpenAPI file of the protocol.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, CyclesClient, CyclesTransport, Identifiers, SettlementJournal } from "effect-cycles"
import type { Exchange } from "../src/SpecValidator.ts"
import * as SpecValidator from "../src/SpecValidator.ts"
import { isThere, shared } from "../src/internal/specFiles.ts"

const file = ["spec", "cycles-protocol-v0.yaml"]

const action = { kind: "llm.completion", name: "openai:gpt-5", tags: ["prod"] }

const tokens = Amount.tokens

/** Records the exchanges between client and server. */
const recorded = (log: Array<Exchange>, server: CyclesServer.CyclesServer): CyclesTransport.CyclesTransport =>
  CyclesServer.transport({
    handle: (request) =>
      Effect.tap(server.handle(request), (response) =>
        Effect.sync(() =>
          log.push({
            method: request.method,
            url: request.url,
            request: request.body,
            status: response.status,
            response: response.body
          })
        )
      )
  })

/** Every operation with every option, and every refusal that can be provoked. */
const everything = (log: Array<Exchange>) =>
  Effect.gen(function* () {
    const server = yield* CyclesServer.makeMemoryServer({
      budgets: [
        { unit: "TOKENS", allocated: 1_000, overdraftLimit: 10 },
        { unit: "CREDITS", allocated: 9_223_372_036_854_775_807n },
        { unit: "USD_MICROCENTS", allocated: 5, scope: "agent:a", caps: { max_tokens: 5, tool_allowlist: ["x"] } }
      ]
    })
    const transport = Layer.succeed(CyclesTransport.CyclesTransport, recorded(log, server))
    const live = (apiKey: Redacted.Redacted) =>
      Cycles.layer({
        baseUrl: server.baseUrl,
        apiKey,
        adminKey: server.adminKey,
        subject: { tenant: server.tenant }
      }).pipe(Layer.provide(SettlementJournal.layerMemory), Layer.provide(transport))

    yield* Effect.gen(function* () {
      const client = yield* CyclesClient.CyclesClient
      const ignored = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.ignore(effect)
      const full = {
        action,
        estimate: tokens(10),
        subject: { agent: "A", dimensions: { cost_center: "42" } },
        metadata: { job: 1, nested: { a: [null, "x"] } },
        ttl: "30 seconds",
        gracePeriod: "1 second",
        overagePolicy: "ALLOW_WITH_OVERDRAFT"
      } as const
      yield* Effect.void.pipe(
        Cycles.withCycles({
          ...full,
          actual: () => tokens(12),
          metrics: { tokensInput: 1, tokensOutput: 2, modelVersion: "v", custom: { a: 1 } }
        })
      )
      yield* ignored(Effect.fail("x").pipe(Cycles.withCycles({ action, estimate: tokens(1) })))
      yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: Amount.credits(9_007_199_254_740_993n) }))
      yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: Amount.usdMicrocents(1), subject: { agent: "a" } }))
      yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1), dryRun: true }))
      yield* ignored(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(5_000), dryRun: true })))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve({ action, estimate: tokens(3) })
          yield* reservation.extend("10 seconds")
          yield* reservation.release("no longer needed")
          if (reservation.id === undefined) return
          yield* ignored(client.commit(reservation.id, { idempotencyKey: key("c"), actual: tokens(1) }))
          yield* ignored(client.extend(reservation.id, { idempotencyKey: key("e"), extendByMs: 1 }))
          yield* client.getReservation(reservation.id)
          yield* client.getReservation(reservation.id, { as: "admin" })
        })
      )
      yield* Cycles.decide({ action, estimate: tokens(1), metadata: { a: 1 } })
      yield* Cycles.decide({ action, estimate: tokens(5_000) })
      yield* Cycles.decide({ action, estimate: Amount.usdMicrocents(1), subject: { agent: "a" } })
      yield* Cycles.event({ action, actual: tokens(1), metrics: { latencyMs: 1 }, overagePolicy: "REJECT" })
      yield* Cycles.event({ action, actual: tokens(5_000) })
      yield* Stream.runDrain(Cycles.balances({ limit: 1, includeChildren: true }))
      yield* Stream.runDrain(
        client.streamReservations({
          limit: 2,
          sortBy: "created_at_ms",
          sortDir: "asc",
          include: ["metadata", "committed_metadata"]
        })
      )
      yield* client.listReservations({ status: "COMMITTED", agent: "a", from: "2020-01-01T00:00:00Z" })

      // Refusals: 400, 401, 403, 404, 409, 410.
      const unknown = Identifiers.ReservationId.make("unknown")
      yield* ignored(client.getReservation(unknown))
      yield* ignored(client.commit(unknown, { idempotencyKey: key("x"), actual: tokens(1) }))
      yield* ignored(client.release(unknown, { idempotencyKey: key("x") }))
      yield* ignored(client.extend(unknown, { idempotencyKey: key("x"), extendByMs: 1 }))
      yield* ignored(Cycles.event({ action, actual: Amount.riskPoints(1) }))
      yield* ignored(Cycles.event({ action, actual: tokens(1), subject: { tenant: "other" } }))
      yield* ignored(Cycles.decide({ action, estimate: Amount.riskPoints(1) }))
      yield* ignored(Cycles.decide({ action, estimate: tokens(1), subject: { tenant: "other" } }))
      yield* ignored(Stream.runDrain(Cycles.balances({ tenant: "other" })))
      yield* ignored(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1) })))
      yield* ignored(client.getEvidence(Identifiers.EvidenceId.make("0".repeat(64))))
      yield* ignored(client.getJwks)
      const short = yield* client.reserve({
        idempotencyKey: key("short"),
        subject: { tenant: server.tenant },
        action,
        estimate: Amount.credits(1),
        ttlMs: 1_000,
        gracePeriodMs: 0
      })
      yield* TestClock.adjust("2 seconds")
      if (short.reservationId !== undefined) {
        yield* ignored(client.getReservation(short.reservationId))
        yield* ignored(client.commit(short.reservationId, { idempotencyKey: key("x"), actual: Amount.credits(1) }))
        yield* ignored(client.release(short.reservationId, { idempotencyKey: key("x") }))
        yield* ignored(client.extend(short.reservationId, { idempotencyKey: key("x"), extendByMs: 1 }))
      }
    }).pipe(Effect.provide(live(server.apiKey)))

    yield* Effect.gen(function* () {
      const client = yield* CyclesClient.CyclesClient
      const id = Identifiers.ReservationId.make("r")
      yield* Effect.ignore(Cycles.decide({ action, estimate: tokens(1) }))
      yield* Effect.ignore(Cycles.event({ action, actual: tokens(1) }))
      yield* Effect.ignore(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1) })))
      yield* Effect.ignore(client.getReservation(id))
      yield* Effect.ignore(client.listReservations())
      yield* Effect.ignore(Stream.runDrain(Cycles.balances()))
      yield* Effect.ignore(client.commit(id, { idempotencyKey: key("x"), actual: tokens(1) }))
    }).pipe(Effect.provide(live(Redacted.make("cyc_live_nobody"))))
  })

const key = (text: string) => Identifiers.IdempotencyKey.make(text)

describe.skipIf(!isThere(...file))("SpecValidator", () => {
  it.effect("accepts every request of the client and every response of the embedded server", () =>
    Effect.gen(function* () {
      const validator = SpecValidator.make(shared(...file))
      const log: Array<Exchange> = []
      yield* everything(log)
      const results = log.map(validator.check)
      expect(results.flatMap((result) => result.problems)).toEqual([])
      // Every exception is needed.
      expect(new Set(results.flatMap((result) => result.used))).toEqual(new Set(["nulls"]))

      const seen = new Set(
        log.map(({ method, status, url }) => `${method} ${(url.split("?")[0] ?? "").split("/")[2] ?? ""} ${status}`)
      )
      for (const status of [200, 400, 401, 403, 404, 409, 410]) {
        expect(Array.from(seen).some((entry) => entry.endsWith(String(status)))).toBe(true)
      }
      expect(validator.operations.length).toBe(11)
      for (const operation of validator.operations) {
        const [method = "", template = ""] = operation.split(" ")
        const pattern = new RegExp(`^${template.replace(/\{[^}]+\}/g, "[^/]+")}$`)
        const isSeen = log.some((one) => one.method === method && pattern.test(one.url.split("?")[0] ?? ""))
        expect([operation, isSeen]).toEqual([operation, true])
      }
    })
  )

  it("reports invalid responses", () => {
    const validator = SpecValidator.make(shared(...file))
    const exchange: Exchange = {
      method: "POST",
      url: "/v1/decide",
      request: '{"idempotency_key":"k"}',
      status: 200,
      response: '{"decision":"PERHAPS","unknown":1}'
    }
    expect(validator.check(exchange).problems.length).toBeGreaterThan(3)
    const large = {
      ...exchange,
      url: "/v1/reservations/r/commit",
      request: '{"idempotency_key":"k","actual":{"unit":"TOKENS","amount":9223372036854775808}}'
    }
    expect(validator.check(large).problems.some(({ what }) => what.includes("64 bits"))).toBe(true)
  })
})
