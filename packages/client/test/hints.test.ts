/**
 * Hints in error messages. An error has a hint only if the hint fits.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesClient, CyclesTransport, SettlementJournal } from "effect-cycles"
import * as Operations from "../src/internal/protocol/operations.ts"
import * as Hints from "../src/internal/transport/hints.ts"
import * as Redact from "../src/internal/transport/redact.ts"
import * as Response from "../src/internal/transport/response.ts"
import { action, tokens } from "./support/live.ts"

const reserve = Effect.flip(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(100) })))

const layer = CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

const url = "https://cycles.example/v1/decide"

/** A transport that refuses every key. */
const unauthorized = Layer.succeed(
  CyclesTransport.CyclesTransport,
  CyclesTransport.make(() =>
    Effect.succeed({
      status: 401,
      headers: {},
      body: '{"error":"UNAUTHORIZED","message":"no","request_id":"r"}',
      attempts: 1
    })
  )
)

const html = "<html><body>Nothing here</body></html>"

/** Collects the messages of warnings. */
const warnings = () => {
  const messages: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel === "Warn") messages.push(String(message))
  })
  return { messages, provide: Effect.provide(Logger.layer([logger])) }
}

describe("hint", () => {
  it.effect.each<readonly [string, Fault.Fault, RegExp | undefined]>([
    ["a refused connection", Fault.connectionRefused, /is the server running at http/],
    ["an HTML page", Fault.replaced({ status: 404, body: html }), /HTML page: is the base URL http\S+ right\?/],
    ["an HTML page with status 200", Fault.garbage, /HTML page: is the base URL/],
    ["JSON of another server", Fault.replaced({ status: 404, body: { detail: "no" } }), /isn't from a Cycles server/],
    [
      "HTTP sent to an HTTPS port",
      Fault.replaced({ status: 400, body: "Client sent an HTTP request to an HTTPS server." }),
      /https:\/\/ instead of http/
    ],
    ["the error page of a load balancer", Fault.replaced({ status: 502, body: html }), undefined],
    ["the rate limit of a proxy", Fault.replaced({ status: 429, body: html }), undefined],
    ["an unavailable server", Fault.error(503, "INTERNAL_ERROR"), undefined],
    ["a wrong key", Fault.error(401, "UNAUTHORIZED"), /CYCLES_API_KEY/],
    [
      "the key of another tenant",
      Fault.error(403, "FORBIDDEN", { "x-cycles-tenant": "other" }),
      /tenant is acme \(CYCLES_TENANT\).* tenant other/
    ],
    ["a missing permission", Fault.error(403, "FORBIDDEN", { "x-cycles-tenant": "acme" }), undefined],
    ["a missing budget", Fault.error(404, "NOT_FOUND"), /create a budget in TOKENS for one of the scopes tenant:acme/],
    ["a key of another request", Fault.error(409, "IDEMPOTENCY_MISMATCH"), /use a new key, or repeat exactly the same/]
  ])("after %s fits", ([, fault, hint]) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", fault)
      const fiber = yield* Effect.forkChild(reserve, { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      expect(error.message).toMatch(hint ?? /^[^;]*$/)
    }).pipe(Effect.provide(layer))
  )

  it.each<readonly [string, string, RegExp | undefined]>([
    ["ENOTFOUND", "a host name that can't be resolved", /can't be resolved/],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "HTTPS sent to an HTTP port", /http:\/\/ instead of https/],
    ["EPROTO", "a failed TLS handshake", /the TLS handshake failed/],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "a certificate that isn't trusted", /certificate .* isn't trusted/],
    ["CERT_HAS_EXPIRED", "an expired certificate", /certificate .* has expired/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "the certificate of another host", /certificate .* is for another host/],
    ["ECONNRESET", "a lost connection", undefined]
  ])("for %s fits %s", (code, _, hint) => {
    const cause = [{ name: "Error", message: "failed", code }]
    const found = Hints.ofFailure("the exchange broke off", cause, url)
    if (hint === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(hint)
  })

  it.each([
    [443, "is the server running at https://cycles.example?"],
    [3128, "is the proxy running at 10.0.0.1, port 3128?"]
  ])("for a connection refused on port %i names the host that refused it", (port, hint) => {
    const cause = [{ name: "Error", message: "failed", code: "ECONNREFUSED", address: "10.0.0.1", port }]
    expect(Hints.ofFailure("ECONNREFUSED", cause, url)).toBe(hint)
  })

  it.effect.each([
    ["tenant", /CYCLES_API_KEY/],
    ["admin", /CYCLES_ADMIN_API_KEY/]
  ] as const)("after 401 names the key that was sent: %s", ([as, hint]) =>
    Effect.gen(function* () {
      const client = yield* CyclesClient.make({ baseUrl: "http://127.0.0.1:1", apiKey: Redacted.make("key") })
      expect((yield* Effect.flip(client.listReservations({}, { as }))).message).toMatch(hint)
    }).pipe(Effect.scoped, Effect.provide(unauthorized))
  )

  it.each<readonly [name: string, ofCall: number | undefined, hint: RegExp | undefined]>([
    ["the configured timeout is very short", undefined, /CYCLES_READ_TIMEOUT .* milliseconds/],
    ["a settlement has little time left", 5, undefined]
  ])("after a timeout of 5 ms fits if %s", (_, ofCall, hint) => {
    const call = Operations.extend("r", "{}", ofCall)
    const exit = Response.resultOf(
      call,
      { _tag: "TimedOut", wasSent: true },
      { url: () => url, redactor: Redact.make([]), limitMs: 5, nowMs: () => 0 }
    )
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    expect(String(error)).toMatch(hint ?? /no response within 5ms$/)
  })

  it("is absent after a timeout of usual length", () => {
    expect(Hints.ofTimeout(10_000)).toBeUndefined()
  })
})

describe("warning", () => {
  it.effect.each([
    ["5", 'CYCLES_READ_TIMEOUT is 5 ms. Numbers without a unit are milliseconds; for seconds write "5 s"'],
    ["5 s", undefined],
    ["5000", undefined]
  ] as const)("for CYCLES_READ_TIMEOUT=%s fits", ([timeout, message]) => {
    const logged = warnings()
    const provider = ConfigProvider.fromUnknown({
      CYCLES_BASE_URL: "http://127.0.0.1:1",
      CYCLES_API_KEY: "key",
      CYCLES_TENANT: "acme",
      CYCLES_READ_TIMEOUT: timeout
    })
    const transport = Layer.succeed(
      CyclesTransport.CyclesTransport,
      CyclesTransport.make(() => Effect.never)
    )
    return Effect.gen(function* () {
      yield* Effect.provide(Effect.void, Layer.provide(Cycles.layerConfig(), [transport, SettlementJournal.layerNone]))
      expect(logged.messages).toEqual(message === undefined ? [] : [message])
    }).pipe(logged.provide, Effect.provideService(ConfigProvider.ConfigProvider, provider))
  })

  it.effect.each<readonly [string, Fault.Fault, boolean]>([
    ["isn't logged for pages of another server", Fault.replaced({ status: 404, body: html }), false],
    ["isn't logged for HTML with status 200", Fault.replaced({ status: 200, body: html }), false],
    ["isn't logged if nothing was sent", Fault.connectionRefused, false],
    ["is logged for lost responses", Fault.responseLost, true],
    ["is logged for error pages of a load balancer", Fault.replaced({ status: 502, body: html }), true]
  ])("of budget that may stay reserved %s", ([, fault, isLogged]) => {
    const logged = warnings()
    return Effect.gen(function* () {
      yield* CyclesTest.always("reserve", fault)
      const fiber = yield* Effect.forkChild(reserve, { startImmediately: true })
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)
      expect(logged.messages.some((message) => message.includes("may stay reserved"))).toBe(isLogged)
    }).pipe(logged.provide, Effect.provide(layer))
  })
})
