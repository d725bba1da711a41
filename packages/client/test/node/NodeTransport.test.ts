/**
 * The transport over real sockets, in real time. The tests wait for events and never sleep.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { ServerResponse } from "node:http"
import { Agent, errors } from "undici"
import { Amount, CyclesClient, CyclesTransport, Identifiers } from "effect-cycles"
import type { CyclesConfig } from "effect-cycles"
import { NodeTransport } from "effect-cycles/node"
import { listen, refusingUrl } from "./loopback.ts"

const json = (outgoing: ServerResponse, value: object, status = 200): void => {
  outgoing.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
}

const html = (outgoing: ServerResponse, status: number): void => {
  outgoing.writeHead(status, { "content-type": "text/html" }).end("<html><h1>It works!</h1></html>")
}

const allow = { decision: "ALLOW", affected_scopes: ["tenant:acme"] }

/** One call of the protocol. */
const decide = Effect.flatMap(CyclesClient.CyclesClient, (client) =>
  client.decide({
    idempotencyKey: Identifiers.IdempotencyKey.make("key-1"),
    subject: { tenant: "acme" },
    action: { kind: "llm.completion", name: "openai:gpt-5" },
    estimate: Amount.tokens(1)
  })
)

/** A client over the transport. */
const client = (baseUrl: string, config?: Partial<CyclesConfig.ClientConfig>, options?: NodeTransport.Options) =>
  CyclesClient.layer({ baseUrl, apiKey: Redacted.make("cyc_live_one"), ...config }).pipe(
    Layer.provide(NodeTransport.layer(options))
  )

/** One request. */
const request = (url: string, more?: Partial<CyclesTransport.TransportRequest>): CyclesTransport.TransportRequest => ({
  method: "GET",
  url,
  headers: {},
  body: undefined,
  isRepeatable: false,
  maxResponseBytes: 1_000_000,
  ...more
})

/** One exchange. */
const exchange = (url: string, more?: Partial<CyclesTransport.TransportRequest>) =>
  Effect.flatMap(CyclesTransport.CyclesTransport, (transport) => CyclesTransport.send(transport, request(url, more)))

const text = (url: string) => Effect.map(exchange(url), ({ body }) => body)

const over = (options?: NodeTransport.Options) => Effect.provide(NodeTransport.layer(options))

/** A custom dispatcher. */
const agent = Effect.acquireRelease(
  Effect.sync(() => new Agent()),
  (agent) => Effect.promise(() => agent.destroy())
)

/** Waits until the client has detected the state of its connection. */
const disconnected = (agent: Agent, cause: () => void) =>
  Effect.callback<void>((resume) => {
    agent.once("disconnect", () => resume(Effect.void))
    cause()
  })

/** The server's reaction to a request. */
type Reaction = "respond" | "cut" | "cut within" | "cut head" | "continue"

/** A server that reacts to one request after another, and then responds to each. */
const serve = (...reactions: ReadonlyArray<Reaction>) =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const ports = new Set<number | undefined>()
    const server = yield* listen((outgoing, count) => {
      const { socket } = outgoing
      const isNew = !ports.has(socket?.remotePort)
      ports.add(socket?.remotePort)
      seen.push(`${isNew ? "new" : "kept"} ${server.bodies[count - 1]}`)
      switch (reactions[count - 1] ?? "respond") {
        case "respond":
          return json(outgoing, {})
        case "cut":
          return void outgoing.destroy()
        case "cut within":
          outgoing.writeHead(200)
          return void outgoing.write("{", () => outgoing.destroy())
        case "cut head":
          return void socket?.write("HTTP/1.1 200 OK\r\nconte", () => outgoing.destroy())
        case "continue":
          return void outgoing.writeContinue(() => outgoing.destroy())
      }
    })
    return { seen, url: server.url }
  })

const post = (url: string, body: string, isRepeatable = true) => exchange(url, { method: "POST", body, isRepeatable })

describe("NodeTransport", () => {
  describe("requests", () => {
    it.live("keep method, path, query, headers and body", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, {}))
        yield* exchange(`${server.url}/a%2Fb?x=1&y=%C3%A4`, {
          method: "POST",
          headers: { "x-one": "1", "content-type": "text/plain" },
          body: "ünï"
        })
        yield* exchange(`${server.url}?z=2#part`)
        expect(server.requests).toEqual(["POST /a%2Fb?x=1&y=%C3%A4", "GET /?z=2"])
        expect(server.bodies).toEqual(["ünï", ""])
        expect(server.headers[0]).toMatchObject({ "x-one": "1", "content-type": "text/plain", "content-length": "5" })
      }).pipe(over())
    )

    it.live.each(["/relative", "ftp://host/", "http://host/a b"])("to %s fail, and send nothing", (url) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(exchange(url))).toMatchObject({ kind: "refused", mayHaveArrived: false })
      }).pipe(over())
    )
  })

  describe("responses", () => {
    it.live("without a length are read to their end, whole characters only", () =>
      Effect.gen(function* () {
        const bytes = Buffer.from('{"text":"日本"}')
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "x-two": ["a", "b"] })
          outgoing.write(bytes.subarray(0, 10), () => outgoing.end(bytes.subarray(10)))
        })
        const response = yield* exchange(server.url)
        expect(response).toMatchObject({ status: 200, body: '{"text":"日本"}', attempts: 1 })
        expect(response.headers["x-two"]).toBe("a, b")
      }).pipe(over())
    )

    it.live("without a body are empty", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => outgoing.writeHead(204).end())
        expect(yield* exchange(server.url)).toMatchObject({ status: 204, body: "" })
      }).pipe(over())
    )

    it.live("after an interim response are the final ones", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          outgoing.writeEarlyHints({ link: "</a>; rel=preload" })
          json(outgoing, {})
        })
        expect(yield* exchange(server.url)).toMatchObject({ status: 200, body: "{}" })
      }).pipe(over())
    )

    it.live.each<readonly [string, (outgoing: ServerResponse) => void]>([
      [
        "with a content-length",
        (outgoing) => {
          outgoing.writeHead(200, { "content-length": "100000" }).write("x")
        }
      ],
      [
        "that never end",
        (outgoing) => {
          const more = (): void => void outgoing.write("x".repeat(400), () => outgoing.destroyed || more())
          outgoing.writeHead(200)
          more()
        }
      ]
    ])("larger than accepted, %s, are abandoned at the limit", ([, respond]) =>
      Effect.gen(function* () {
        const server = yield* listen(respond)
        expect(yield* Effect.flip(exchange(server.url, { maxResponseBytes: 1_000 }))).toEqual({
          kind: "tooLarge",
          mayHaveArrived: true,
          problem: "the response has more than 1000 bytes",
          cause: undefined
        })
        yield* server.closed
      }).pipe(over())
    )

    it.live.each(["application/json", "text/html"])(
      "of %s that break off fail, and the request may have been processed",
      (type) =>
        Effect.gen(function* () {
          const server = yield* listen((outgoing) => {
            outgoing.writeHead(200, { "content-type": type, "content-length": "100" })
            outgoing.write('{"decision":', () => outgoing.destroy())
          })
          const error = yield* Effect.flip(decide.pipe(Effect.provide(client(server.url))))
          expect(error).toMatchObject({ _tag: "TransportError", kind: "interrupted", mayHaveArrived: true })
        })
    )

    it.live.each<readonly [status: number, expected: object]>([
      [200, { _tag: "ProtocolError", status: 200, problem: "the body isn't JSON" }],
      [502, { _tag: "ApiError", status: 502, code: undefined, isRetryable: true }],
      [404, { _tag: "ApiError", status: 404, code: undefined, isRetryable: false }]
    ])("with a web page and %i fail with an error for this status", ([status, expected]) =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => html(outgoing, status))
        expect(yield* Effect.flip(decide.pipe(Effect.provide(client(server.url))))).toMatchObject(expected)
        expect(server.requests).toHaveLength(1)
      })
    )

    it.live.each([301, 302, 303, 307, 308])(
      "with a redirect %i aren't followed, so that the key isn't sent elsewhere",
      (status) =>
        Effect.gen(function* () {
          const elsewhere = yield* listen((outgoing) => json(outgoing, allow))
          const server = yield* listen((outgoing) =>
            outgoing.writeHead(status, { location: `${elsewhere.url}/v1/decide` }).end()
          )
          const error = yield* Effect.flip(decide.pipe(Effect.provide(client(server.url))))
          expect(error).toMatchObject({ _tag: "ProtocolError", status })
          expect(error.message).toContain("a redirect, which is never followed")
          expect([server.requests.length, elsewhere.requests.length]).toEqual([1, 0])
          expect(server.headers[0]?.["x-cycles-api-key"]).toBe("cyc_live_one")
        })
    )
  })

  describe("connections", () => {
    it.live("are reused", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, allow))
        yield* Effect.repeat(decide, { times: 9 }).pipe(Effect.provide(client(server.url)))
        expect(server.requests).toHaveLength(10)
        expect(server.sockets.length).toBeLessThanOrEqual(2)
      })
    )

    it.live("that the server closes after some requests are replaced without an error", () =>
      Effect.gen(function* () {
        const server = yield* listen(
          (outgoing) => json(outgoing, allow),
          (server) => {
            server.maxRequestsPerSocket = 3
          }
        )
        yield* Effect.all([
          Effect.repeat(decide, { times: 9 }),
          Effect.forEach(Array.from({ length: 20 }), () => decide, { concurrency: 10 })
        ]).pipe(Effect.provide(client(server.url)))
        expect(server.requests).toHaveLength(30)
        expect(server.sockets.length).toBeGreaterThanOrEqual(10)
      })
    )

    it.live("that the server closed while they were idle are replaced without an error", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, allow))
        const dispatcher = yield* agent
        yield* Effect.gen(function* () {
          yield* decide
          yield* disconnected(dispatcher, () => server.sockets[0]?.end())
          yield* decide
        }).pipe(Effect.provide(client(server.url, {}, { dispatcher })))
        expect([server.requests.length, server.sockets.length]).toEqual([2, 2])
      })
    )

    it.live("that can't be made fail as refused, since nothing was sent", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client(yield* refusingUrl))))
        expect(error).toMatchObject({
          _tag: "TransportError",
          kind: "refused",
          mayHaveArrived: false,
          problem: "ECONNREFUSED"
        })
        expect(error.message).toMatch(
          /^No response to the decide from http:\/\/127\.0\.0\.1:\d+\/v1\/decide \(refused, the request was not sent\): ECONNREFUSED; is the server running at http:\/\/127\.0\.0\.1:\d+\?$/
        )
        expect(error).toMatchObject({ cause: [{ code: "ECONNREFUSED", syscall: "connect", address: "127.0.0.1" }] })
      })
    )

    it.live("that take too long to make fail as refused, since nothing was sent", () =>
      Effect.gen(function* () {
        const dispatcher = new Agent({
          connect: (_, callback) => callback(new errors.ConnectTimeoutError("Connect Timeout Error"), null)
        })
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client("http://127.0.0.1:9", {}, { dispatcher }))))
        expect(error).toMatchObject({ _tag: "TransportError", kind: "refused", mayHaveArrived: false })
      })
    )

    it.effect("that stop responding fail with the timeout, and the request may have arrived", () =>
      Effect.gen(function* () {
        const server = yield* listen(() => {})
        const waiting = yield* Effect.forkChild(
          Effect.flip(decide.pipe(Effect.provide(client(server.url, { timeout: "200 millis" }))))
        )
        yield* server.arrived
        yield* TestClock.adjust("200 millis")
        const error = yield* Fiber.join(waiting)
        expect(error).toMatchObject({ _tag: "TransportError", kind: "timeout", mayHaveArrived: true })
        expect(error.message).toBe(
          `No response to the decide from ${server.url}/v1/decide (timeout, the request may have arrived): no response within 200ms`
        )
        yield* server.closed
        expect(server.requests).toEqual(["POST /v1/decide"])
      })
    )

    it.effect("that stop responding in the middle of a page don't delay the next request", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing, count) => {
          if (count > 1) return json(outgoing, allow)
          outgoing.writeHead(200, { "content-type": "text/html" }).write("<html>")
        })
        yield* Effect.gen(function* () {
          const waiting = yield* Effect.forkChild(Effect.flip(decide))
          yield* server.arrived
          yield* TestClock.adjust("300 millis")
          expect(yield* Fiber.join(waiting)).toMatchObject({ kind: "timeout", mayHaveArrived: true })
          expect(yield* decide).toMatchObject({ decision: "ALLOW" })
        }).pipe(Effect.provide(client(server.url, { timeout: "300 millis" }, { connections: 1 })))
      })
    )

    it.live("are closed with the layer, including those in use", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing, count) => {
          if (count === 1) json(outgoing, allow)
        })
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(client(server.url), scope)
        yield* decide.pipe(Effect.provide(context))
        const fiber = yield* Effect.forkChild(Effect.exit(decide.pipe(Effect.provide(context))), {
          startImmediately: true
        })
        yield* Scope.close(scope, Exit.void)
        yield* server.closed
        expect(Exit.isFailure(yield* Fiber.join(fiber))).toBe(true)
      })
    )

    it.live("of a dispatcher that was passed outlive the layer", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, allow))
        const dispatcher = yield* agent
        yield* decide.pipe(Effect.provide(client(server.url, {}, { dispatcher })))
        yield* decide.pipe(Effect.provide(client(server.url, {}, { dispatcher })))
        expect(server.requests).toHaveLength(2)
        expect(server.sockets.some((socket) => !socket.destroyed)).toBe(true)
      })
    )
  })

  describe("retry", () => {
    it.live("uses a new connection if the reused one had closed, and is counted", () =>
      Effect.gen(function* () {
        const { seen, url } = yield* serve("respond", "cut")
        yield* post(url, "a")
        expect(yield* post(url, "b")).toMatchObject({ body: "{}", attempts: 2 })
        expect(seen).toEqual(["new a", "kept b", "new b"])
      }).pipe(over({ connections: 1 }))
    )

    it.live("uses a new connection instead of other reused ones, which may also have closed", () =>
      Effect.gen(function* () {
        const { seen, url } = yield* serve("respond", "respond", "cut")
        yield* Effect.all([post(url, "a"), post(url, "a")], { concurrency: "unbounded" })
        yield* post(url, "b")
        expect(seen).toEqual(["new a", "new a", "kept b", "new b"])
      }).pipe(over({ connections: 2 }))
    )

    it.live("happens once, never over a reused connection, and reports that the request may have arrived", () =>
      Effect.gen(function* () {
        const { seen, url } = yield* serve("respond", "cut", "respond", "respond", "cut", "cut")
        yield* post(url, "a")
        yield* post(url, "b")
        yield* post(url, "c")
        expect(yield* Effect.flip(post(url, "d"))).toMatchObject({ kind: "interrupted", mayHaveArrived: true })
        expect(seen).toEqual(["new a", "kept b", "new b", "new c", "kept d", "new d"])
      }).pipe(over({ connections: 1 }))
    )

    it.live.each<readonly [string, boolean, ReadonlyArray<Reaction>]>([
      ["a new connection broke", true, ["cut"]],
      ["a part of the response has arrived", true, ["respond", "cut within"]],
      ["a part of its head has arrived", true, ["respond", "cut head"]],
      ["100 Continue has arrived", true, ["respond", "continue"]],
      ["100 Continue has arrived on a new connection", true, ["continue"]],
      ["the request must not be sent again", false, ["respond", "cut"]]
    ])("doesn't happen if %s", ([, isRepeatable, reactions]) =>
      Effect.gen(function* () {
        const { seen, url } = yield* serve(...reactions)
        for (let i = 1; i < reactions.length; i++) yield* post(url, "a")
        const failure = yield* Effect.flip(post(url, "b", isRepeatable))
        expect(failure).toMatchObject({ mayHaveArrived: true })
        expect(seen).toHaveLength(reactions.length)
      }).pipe(over({ connections: 1 }))
    )

    it.live.each<readonly [string, (outgoing: ServerResponse) => void, object]>([
      [
        "a page proves nothing about the first request",
        (outgoing) => html(outgoing, 404),
        { _tag: "TransportError", mayHaveArrived: true }
      ],
      [
        "a rate limit proves nothing about the first request",
        (outgoing) => json(outgoing, { error: "LIMIT_EXCEEDED", message: "m", request_id: "r" }, 429),
        { _tag: "TransportError", mayHaveArrived: true, problem: expect.stringContaining("429 LIMIT_EXCEEDED") }
      ],
      [
        "a budget code is the result",
        (outgoing) => json(outgoing, { error: "BUDGET_FROZEN", message: "m", request_id: "r" }, 409),
        { _tag: "BudgetExceeded", code: "BUDGET_FROZEN" }
      ]
    ])("of a call: %s", ([, respond, expected]) =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing, count) => {
          if (count === 1) json(outgoing, allow)
          else if (count === 2) outgoing.destroy()
          else respond(outgoing)
        })
        yield* Effect.gen(function* () {
          yield* decide
          expect(yield* Effect.flip(decide)).toMatchObject(expected)
        }).pipe(Effect.provide(client(server.url, {}, { connections: 1 })))
        expect(server.requests).toHaveLength(3)
      })
    )
  })

  describe("interruption", () => {
    it.live("closes the connection before the response", () =>
      Effect.gen(function* () {
        const server = yield* listen(() => {})
        const fiber = yield* Effect.forkChild(text(server.url))
        yield* server.arrived
        yield* Fiber.interrupt(fiber)
        expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
        yield* server.closed
      }).pipe(over())
    )

    it.live("of a request that waits for a connection never sends it", () =>
      Effect.gen(function* () {
        const held: Array<ServerResponse> = []
        const server = yield* listen((outgoing) => void held.push(outgoing))
        const first = yield* Effect.forkChild(text(`${server.url}/first`), { startImmediately: true })
        yield* server.arrived
        const second = yield* Effect.forkChild(text(`${server.url}/second`), { startImmediately: true })
        yield* Fiber.interrupt(second)
        const third = yield* Effect.forkChild(text(`${server.url}/third`), { startImmediately: true })
        held[0]?.end("1")
        expect(yield* Fiber.join(first)).toBe("1")
        yield* Effect.repeat(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          {
            until: () => held.length === 2
          }
        )
        held[1]?.end("3")
        expect(yield* Fiber.join(third)).toBe("3")
        expect(server.requests).toEqual(["GET /first", "GET /third"])
      }).pipe(over({ connections: 1 }))
    )
  })
})
