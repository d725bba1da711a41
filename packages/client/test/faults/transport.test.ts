/**
 * The connection: a response to a repeated request proves nothing about the first one, and too large responses are
 * refused.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Net from "node:net"
import { Cycles, CyclesConfig } from "effect-cycles"
import { serveBridged } from "../support/bridge.ts"
import { listening } from "../support/listening.ts"
import { action, books, live, tokens } from "../support/live.ts"
import { outcomeOf } from "../support/outcomes.ts"
import { fetchClient, nodeClient } from "../support/clients.ts"

const options = { action, estimate: tokens(100) }

const configOf = (url: string, apiKey: string) => ({
  baseUrl: url,
  apiKey: Redacted.make(apiKey),
  subject: { tenant: "acme" }
})

const secondResponses: ReadonlyArray<readonly [string, Fault.Fault]> = [
  ["a 429", Fault.error(429, "LIMIT_EXCEEDED")],
  ["a 401", Fault.error(401, "UNAUTHORIZED")],
  ["a 403", Fault.error(403, "FORBIDDEN")],
  ["a 404 page", Fault.status(404)],
  ["a 429 page", Fault.status(429)]
]

/**
 * Leaves an idle connection. After the first response it takes a moment until the connection is idle, so there are two
 * requests.
 */
const warmUp = Effect.andThen(Cycles.decide(options), Cycles.decide(options))

describe("request that is processed, then cut off and sent again", () => {
  for (const [what, fault] of secondResponses) {
    it.live(`leaves nothing reserved after ${what} to the second reserve`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { apiKey, server, test, url } = yield* serveBridged
          yield* test.inject("reserve", Fault.responseLost, fault)
          yield* Effect.gen(function* () {
            yield* warmUp
            yield* Effect.exit(Cycles.withCycles(Effect.void, { ...options, actual: tokens(0) }))
            yield* Cycles.flush("2 seconds")
          }).pipe(Effect.provide(nodeClient(configOf(url, apiKey))))
          expect((yield* server.books("TOKENS")).reserved).toBe(0n)
        })
      )
    )

    it.live(`doesn't report an event as refused after ${what} to the second request`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { apiKey, server, test, url } = yield* serveBridged
          yield* test.inject("event", Fault.responseLost, fault)
          const exit = yield* Effect.gen(function* () {
            yield* warmUp
            return yield* Effect.exit(Cycles.event({ action, actual: tokens(42) }))
          }).pipe(Effect.provide(nodeClient(configOf(url, apiKey))))
          expect(["success", "TransportError", "ProtocolError"]).toContain(outcomeOf(exit))
          expect((yield* server.books("TOKENS")).spent).toBe(42n)
        })
      )
    )
  }
})

describe("request whose first response is lost", () => {
  const stage = live({ retry: CyclesConfig.retryPolicy({ jitter: false }), ttl: "24 hours" })

  for (const [what, fault] of [
    ["a 429", Fault.error(429, "LIMIT_EXCEEDED")],
    ["a 401", Fault.error(401, "UNAUTHORIZED")],
    ["a 403", Fault.error(403, "FORBIDDEN")]
  ] as const) {
    it.effect(`doesn't report an event as refused after ${what} to the second one`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("event", Fault.responseLost, fault)
        const exit = yield* Effect.exit(Cycles.event({ action, actual: tokens(42) }))
        expect(["success", "TransportError", "ProtocolError"]).toContain(outcomeOf(exit))
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )

    it.effect(`leaves nothing reserved after a 503 with Retry-After and ${what}`, () =>
      Effect.gen(function* () {
        const body = JSON.stringify({ error: "INTERNAL_ERROR", message: "", request_id: "r", retry_after_ms: 1_000 })
        yield* CyclesTest.inject("reserve", Fault.replaced({ status: 503, body }), fault)
        yield* Cycles.withCycles(Effect.void, { ...options, maxRetryAfter: "5 seconds" }).pipe(
          Effect.forkDetach({ startImmediately: true })
        )
        yield* TestClock.adjust("5 minutes")
        expect((yield* books).reserved).toBe(0)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(stage))
    )
  }
})

describe("100 Continue", () => {
  it.live("doesn't make the transport treat a new connection as a reused one", () =>
    Effect.scoped(
      Effect.gen(function* () {
        let requests = 0
        const server = Net.createServer((socket) => {
          socket.on("error", () => {})
          socket.once("data", () => {
            requests += 1
            socket.write("HTTP/1.1 100 Continue\r\n\r\n", () => socket.destroy())
          })
        })
        const url = yield* listening(server)
        const exit = yield* Effect.exit(Cycles.decide(options)).pipe(
          Effect.provide(nodeClient(configOf(url, "cyc_live_0123456789")))
        )
        expect({ outcome: outcomeOf(exit), requests }).toEqual({ outcome: "TransportError", requests: 1 })
      })
    )
  )
})

describe("response larger than the limit", () => {
  /** 128 MB of blanks, then JSON that the protocol allows. */
  const body = `${" ".repeat(128 * 1024 * 1024)}{"decision":"ALLOW","affected_scopes":[]}`

  for (const [name, client] of [
    ["undici", nodeClient],
    ["fetch", fetchClient]
  ] as const) {
    it.live(
      `is abandoned (${name})`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { apiKey, test, url } = yield* serveBridged
            yield* test.always("decide", Fault.response({ body }))
            const exit = yield* Effect.exit(Cycles.decide(options)).pipe(Effect.provide(client(configOf(url, apiKey))))
            expect(["ProtocolError", "TransportError"]).toContain(outcomeOf(exit))
          })
        ),
      30_000
    )
  }
})
