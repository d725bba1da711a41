/**
 * No output of a program contains a key: spans, logs, causes, errors, inspected requests.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { Cycles, CyclesClient, CyclesConfig, CyclesTransport, SettlementJournal } from "effect-cycles"
import { action, tokens } from "../support/live.ts"

/** All collected output. */
interface Shown {
  readonly spans: Array<Tracer.NativeSpan>
  readonly texts: Array<string>
  readonly requests: Array<HttpClientRequest.HttpClientRequest>
}

/** A key that is unknown to the server. */
const wrong = Redacted.make("cyc_live_hush-hush")

/** All text forms of a value. */
const ways = (value: unknown): ReadonlyArray<string> => [
  String(value),
  JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)) ?? "",
  inspect(value, { depth: 12, showHidden: true })
]

/** An `HttpClient` over a transport, whose errors contain the request. */
const httpOver = (transport: CyclesTransport.CyclesTransport): HttpClient.HttpClient =>
  HttpClient.make((request) =>
    CyclesTransport.send(transport, {
      method: request.method === "GET" ? "GET" : "POST",
      url: request.url,
      headers: request.headers,
      body: request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : undefined,
      isRepeatable: false,
      maxResponseBytes: 1_000_000
    }).pipe(
      Effect.map(({ body, headers, status }) =>
        HttpClientResponse.fromWeb(
          request,
          new Response(body, {
            status,
            headers: Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
          })
        )
      ),
      Effect.mapError(
        (cause) =>
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
      )
    )
  )

/** Records the requests, and prints them as a user does when debugging. */
const recorder = (shown: Shown) =>
  CyclesTransport.layerHttpClient.pipe(
    Layer.provide(
      Layer.effect(
        HttpClient.HttpClient,
        Effect.map(CyclesTransport.CyclesTransport, (transport) =>
          HttpClient.transform(httpOver(transport), (effect, request) =>
            Effect.suspend(() => {
              shown.requests.push(request)
              shown.texts.push(...ways(request), ...ways(request.headers), inspect({ request }))
              return Effect.andThen(Effect.logDebug("sending", request, request.headers), effect)
            })
          )
        )
      )
    )
  )

/** A client and a server with faults. Collects all output. */
const watched = (shown: Shown, key?: Redacted.Redacted) => {
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      shown.spans.push(span)
      return span
    }
  })
  const logger = Logger.make(({ cause, message }) => {
    shown.texts.push(...ways(message), Cause.pretty(cause), ...ways(cause))
  })
  const client = Layer.unwrap(
    Effect.map(CyclesServer.CyclesServer, (server) =>
      Cycles.layer({
        baseUrl: server.baseUrl,
        apiKey: key ?? server.apiKey,
        adminKey: key ?? server.adminKey,
        subject: { tenant: server.tenant },
        retry: CyclesConfig.retryPolicy({ times: 2, jitter: false }),
        scanInterval: "24 hours",
        flushTimeout: 0
      })
    )
  )
  return client.pipe(
    Layer.provideMerge(recorder(shown)),
    Layer.provideMerge(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })),
    Layer.provide(SettlementJournal.layerMemory),
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(Tracer.Tracer, tracer),
        Logger.layer([logger, Logger.tracerLogger]),
        Layer.succeed(References.MinimumLogLevel, "All")
      )
    )
  )
}

/** Guarded calls of every kind, one after another. */
const guardedCalls: Effect.Effect<
  ReadonlyArray<Effect.Effect<unknown, unknown, Cycles.Cycles>>,
  never,
  CyclesClient.CyclesClient
> = Effect.gen(function* () {
  const client = yield* CyclesClient.CyclesClient
  const guard = Cycles.withCycles({ action, estimate: tokens(10) })
  return [
    guard(Effect.succeed(1)),
    guard(Effect.fail("boom")),
    guard(Effect.delay(Effect.void, "3 minutes")),
    Cycles.withCycles(Effect.void, { action, estimate: tokens(10), onUnsettled: "fail" }),
    Cycles.withCycles(Effect.void, { action, estimate: tokens(5_000) }),
    Stream.runDrain(Cycles.withCyclesStream(Stream.make(1), { action, estimate: tokens(10), usage: tokens })),
    Cycles.decide({ action, estimate: tokens(1) }),
    Cycles.event({ action, actual: tokens(1) }),
    Stream.runCollect(Cycles.balances()),
    client.listReservations({}, { as: "admin" }),
    client.getJwks,
    Cycles.flush("1 second")
  ]
})

/** Runs all calls, each for at most ten minutes, and prints the exit of each. */
const runAll = (shown: Shown) =>
  Effect.gen(function* () {
    const exits: Array<Exit.Exit<unknown, unknown>> = []
    for (const guardedCall of yield* guardedCalls) {
      const fiber = yield* Effect.forkChild(Effect.withSpan(Effect.asVoid(guardedCall), "guardedCall"), {
        startImmediately: true
      })
      yield* TestClock.adjust("10 minutes")
      const exit = yield* Fiber.await(fiber)
      exits.push(exit)
      if (Exit.isSuccess(exit)) continue
      shown.texts.push(Cause.pretty(exit.cause), ...ways(exit.cause), ...ways(exit))
      shown.texts.push(...exit.cause.reasons.flatMap((reason) => (reason._tag === "Fail" ? ways(reason.error) : [])))
      yield* Effect.logError("it failed", exit.cause)
    }
    shown.texts.push(...ways(yield* Metric.snapshot))
    return exits
  })

/** The first text that contains a secret, with the text around it. */
const leak = (shown: Shown, secrets: ReadonlyArray<string>): string | undefined => {
  const texts = [
    ...shown.texts,
    ...shown.spans.flatMap((span) => [
      span.name,
      ...ways(Array.from(span.attributes)),
      ...ways(span.events),
      ...ways(span.links),
      ...ways(span.status)
    ])
  ]
  for (const text of texts) {
    for (const secret of secrets) {
      const at = text.indexOf(secret)
      if (at >= 0) return text.slice(Math.max(0, at - 200), at + 100)
    }
  }
  return undefined
}

const everywhere = (fault: Fault.Fault) => CyclesTest.always("any", fault)

const settlementsOnly = (fault: Fault.Fault) =>
  Effect.forEach(
    ["commit", "release", "extend", "event"] as const,
    (operation) => CyclesTest.always(operation, fault),
    {
      discard: true
    }
  )

/** The response of a debugging proxy: the headers of the request. */
const echoing = (response: (echo: string) => Fault.Fault) =>
  Effect.flatMap(CyclesServer.CyclesServer, (server) =>
    everywhere(response(`x-cycles-api-key: ${Redacted.value(server.apiKey)}, ${Redacted.value(server.adminKey)}`))
  )

/** The response headers that the client keeps, each with the value that it echoes. */
const kept = (echo: string) => ({ "x-request-id": echo, "x-cycles-trace-id": echo, "x-cycles-tenant": echo })

/** A text in JSON, with letters and underscores written as escapes. */
const escaped = (text: string) =>
  text.replace(/[a-z_]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** A body that is a success of reserve, decide and commit. */
const fine = {
  decision: "ALLOW",
  reservation_id: "r",
  affected_scopes: [],
  remaining_ttl_ms: 60_000,
  status: "COMMITTED",
  charged: { unit: "TOKENS", amount: 1 }
}

const { requestLost } = Fault

describe("secrets", () => {
  it.effect.each<
    readonly [
      string,
      Effect.Effect<void, never, CyclesTest.CyclesTest | CyclesServer.CyclesServer>,
      tags: ReadonlyArray<string>
    ]
  >([
    ["nothing goes wrong", Effect.void, ["BudgetExceeded"]],
    ["the server is down", everywhere(requestLost), ["TransportError"]],
    ["responses get lost", everywhere(Fault.responseLost), ["TransportError"]],
    ["the server never responds", everywhere(Fault.noResponse), ["TransportError"]],
    ["the server fails", everywhere(Fault.error(500, "INTERNAL_ERROR")), ["ApiError"]],
    ["the server refuses", everywhere(Fault.error(403, "FORBIDDEN")), ["ApiError"]],
    ["the budget is frozen", everywhere(Fault.error(409, "BUDGET_FROZEN")), ["BudgetExceeded"]],
    ["the response is a web page", everywhere(Fault.replaced({ body: "<html>" })), ["ProtocolError"]],
    ["a web page refuses", everywhere(Fault.replaced({ body: "<html>", status: 502 })), ["ApiError"]],
    ["the response is cut off", everywhere(Fault.replaced({ body: '{"decision":"ALL' })), ["ProtocolError"]],
    ["a page echoes the request", echoing((body) => Fault.replaced({ body })), ["ProtocolError"]],
    [
      "a refusal echoes the request",
      echoing((echo) =>
        Fault.response({
          status: 400,
          body: { error: "INVALID_REQUEST", message: echo, request_id: "r", details: { headers: { a: echo } } }
        })
      ),
      ["ApiError"]
    ],
    [
      "a response echoes the request",
      echoing((echo) => Fault.response({ status: 200, body: { [echo]: 1, decision: echo, reservation_id: 1 } })),
      ["ProtocolError"]
    ],
    [
      "the headers of a refusal echo the request",
      echoing((echo) => Fault.response({ status: 400, body: { error: "INVALID_REQUEST" }, headers: kept(echo) })),
      ["ApiError"]
    ],
    [
      "the headers of a denial echo the request",
      echoing((echo) => Fault.response({ status: 409, body: { error: "BUDGET_FROZEN" }, headers: kept(echo) })),
      ["BudgetExceeded"]
    ],
    [
      "the headers of a success echo the request",
      echoing((echo) => Fault.response({ status: 200, body: fine, headers: kept(echo) })),
      ["ProtocolError"]
    ],
    [
      "a refusal echoes the request, with escapes",
      echoing((echo) => {
        const text = `"${escaped(echo)}"`
        const rest = `"message":${text},"request_id":${text},"trace_id":${text},"details":{${text}:[${text}]}`
        return Fault.replaced({ status: 400, body: `{"error":${text},${rest}}` })
      }),
      ["ApiError"]
    ],
    [
      "a response echoes the request, with escapes",
      echoing((echo) =>
        Fault.replaced({
          body: `{"decision":"DENY","reason_code":"${escaped(echo)}","affected_scopes":["${escaped(echo)}"]}`
        })
      ),
      ["BudgetExceeded", "ProtocolError"]
    ],
    [
      "an unreadable response echoes the request, with escapes",
      echoing((echo) => Fault.replaced({ body: `{"decision":1,"affected_scopes":"${escaped(echo)}"}` })),
      ["ProtocolError"]
    ],
    ["settlements get lost", settlementsOnly(requestLost), ["BudgetExceeded", "TransportError", "Unsettled"]],
    ["settlements get no response", settlementsOnly(Fault.noResponse), ["Unsettled"]],
    ["settlements are refused", settlementsOnly(Fault.error(401, "UNAUTHORIZED")), ["Unsettled"]]
  ])("appear nowhere when %s", ([, fail, tags]) =>
    Effect.gen(function* () {
      const shown: Shown = { spans: [], texts: [], requests: [] }
      const keys = yield* Effect.gen(function* () {
        const server = yield* CyclesServer.CyclesServer
        yield* fail
        const exits = yield* runAll(shown)
        const ends = exits.flatMap((exit) => (Exit.isFailure(exit) ? [Cause.squash(exit.cause)] : []))
        for (const tag of tags) expect(ends).toContainEqual(expect.objectContaining({ _tag: tag }))
        return [server.apiKey, server.adminKey].map(Redacted.value)
      }).pipe(Effect.provide(watched(shown)))
      expect(leak(shown, keys)).toBeUndefined()
    })
  )

  it.effect("appear nowhere when the key is wrong", () =>
    Effect.gen(function* () {
      const shown: Shown = { spans: [], texts: [], requests: [] }
      yield* runAll(shown).pipe(Effect.provide(watched(shown, wrong)))
      const sent = new Set(
        shown.requests.flatMap(({ headers }) => [headers["x-cycles-api-key"], headers["x-admin-api-key"]])
      )
      expect(sent).toEqual(new Set([Redacted.value(wrong), undefined]))
      expect(new Set(shown.spans.map((span) => span.name))).toContain("Cycles.reserve")
      expect(shown.texts.join("\n")).toContain("UNAUTHORIZED")
      expect(leak(shown, [Redacted.value(wrong)])).toBeUndefined()
    })
  )

  it.effect("appear nowhere when the client is provided only to another service", () =>
    Effect.gen(function* () {
      const shown: Shown = { spans: [], texts: [], requests: [] }
      class Agent extends Context.Service<Agent, Effect.Effect<unknown, unknown>>()("test/Agent") {}
      const agent = Layer.effect(
        Agent,
        Effect.map(CyclesClient.CyclesClient, (client) => client.listReservations({}))
      ).pipe(Layer.provide(watched(shown, wrong)))
      yield* Effect.flatMap(Agent, Effect.exit).pipe(Effect.provide(agent))
      expect(shown.requests).toHaveLength(1)
      expect(leak(shown, [Redacted.value(wrong)])).toBeUndefined()
    })
  )
})
