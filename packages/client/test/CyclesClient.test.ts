import { describe, expect, it } from "@effect/vitest"
import { CyclesServer } from "@effect-cycles/server"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import { Amount, CyclesClient, CyclesTransport, Identifiers } from "effect-cycles"
import * as Redacted from "effect/Redacted"
import type { CyclesError } from "effect-cycles"

/** A `fetch` to a server in this process. */
const fetchFrom =
  (server: CyclesServer.CyclesServer): typeof globalThis.fetch =>
  async (url, init) => {
    const request = new Request(url, init)
    const { pathname, search } = new URL(request.url)
    const response = await Effect.runPromise(
      server.handle({
        method: request.method,
        url: pathname + search,
        headers: Object.fromEntries(request.headers),
        body: await request.text()
      })
    )
    return new Response(response.body, { status: response.status, headers: response.headers })
  }

describe("CyclesClient", () => {
  describe("make", () => {
    it.live("sets the content type explicitly, for an HttpClient that reads only headers, such as that of fetch", () =>
      Effect.gen(function* () {
        const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 10 }] })
        const client = yield* CyclesClient.make({ baseUrl: server.baseUrl, apiKey: server.apiKey }).pipe(
          Effect.provide(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)),
          Effect.provideService(FetchHttpClient.Fetch, fetchFrom(server))
        )
        const response = yield* Effect.provideService(
          client.decide({
            idempotencyKey: Identifiers.IdempotencyKey.make("k"),
            subject: { tenant: "acme" },
            action: { kind: "k", name: "n" },
            estimate: Amount.tokens(1)
          }),
          FetchHttpClient.Fetch,
          fetchFrom(server)
        )
        expect(response.decision).toBe("ALLOW")
      })
    )
  })

  describe("key that isn't redacted", () => {
    it.effect.each(["apiKey", "adminKey"])("dies with a TypeError that names it and doesn't contain it: %s", (name) =>
      Effect.gen(function* () {
        const config = { baseUrl: "http://127.0.0.1:9", apiKey: Redacted.make("k") }
        const plain: typeof config = JSON.parse(`{"${name}":"plain-secret-0123456789"}`)
        const exit = yield* Effect.exit(Effect.scoped(CyclesClient.make({ ...config, ...plain })))
        const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        expect(defect).toBeInstanceOf(TypeError)
        expect(String(defect)).toContain(`${name} must be made by Redacted.make`)
        expect(String(defect)).not.toContain("plain-secret")
      }).pipe(Effect.provide(CyclesTransport.layerFetch))
    )
  })

  describe("reservation id that can't be part of a path", () => {
    it.effect.each(["\ud800", ".."])("fails with InvalidRequest and sends nothing: %j", (text) =>
      Effect.gen(function* () {
        const client = yield* CyclesClient.make({ baseUrl: "http://127.0.0.1:9", apiKey: Redacted.make("k") })
        const id = Identifiers.ReservationId.make(text)
        const idempotencyKey = Identifiers.IdempotencyKey.make("k")
        const calls = {
          getReservation: client.getReservation(id),
          commit: client.commit(id, { idempotencyKey, actual: Amount.tokens(1) }),
          release: client.release(id, { idempotencyKey }),
          extend: client.extend(id, { idempotencyKey, extendByMs: 1 })
        }
        for (const [operation, call] of Object.entries<Effect.Effect<object, CyclesError.CyclesError>>(calls)) {
          expect(yield* Effect.flip(call)).toMatchObject({
            _tag: "InvalidRequest",
            operation,
            fields: [{ field: "reservationId", actual: JSON.stringify(text) }]
          })
        }
      }).pipe(
        Effect.provideService(
          CyclesTransport.CyclesTransport,
          CyclesTransport.make(() => Effect.die("a request was sent"))
        )
      )
    )
  })
})
