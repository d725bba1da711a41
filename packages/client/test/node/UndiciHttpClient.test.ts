/**
 * Over real sockets, so in real time; every wait is for something that happens, none is a sleep.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ServerResponse } from "node:http"
import { Agent, errors } from "undici"
import { Amount, CyclesClient, Identifiers } from "effect-cycles"
import type { CyclesConfig } from "effect-cycles"
import { UndiciHttpClient } from "effect-cycles/node"
import { listen, nobody } from "./loopback.ts"

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

/** A client of the protocol, over undici. */
const client = (baseUrl: string, config?: Partial<CyclesConfig.ClientConfig>, options?: UndiciHttpClient.Options) =>
  CyclesClient.layer({ baseUrl, apiKey: Redacted.make("cyc_live_one"), ...config }).pipe(
    Layer.provide(UndiciHttpClient.layer(options))
  )

const get = (url: string) => Effect.flatMap(HttpClient.HttpClient, (client) => client.get(url))

const text = (url: string) => Effect.flatMap(get(url), (response) => response.text)

const undici = (options?: UndiciHttpClient.Options) => Effect.provide(UndiciHttpClient.layer(options))

/** A dispatcher of one's own. */
const agent = Effect.acquireRelease(
  Effect.sync(() => new Agent()),
  (agent) => Effect.promise(() => agent.destroy())
)

/** Waits until the client has noticed what becomes of its connection. */
const disconnected = (agent: Agent, act: () => void) =>
  Effect.callback<void>((resume) => {
    agent.once("disconnect", () => resume(Effect.void))
    act()
  })

describe("UndiciHttpClient", () => {
  describe("requests", () => {
    it.live("arrive as they were made: method, path, query, headers, body", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, {}))
        yield* HttpClientRequest.post(`${server.url}/a%2Fb?x=1`).pipe(
          HttpClientRequest.setUrlParams({ y: "ä b" }),
          HttpClientRequest.setHeader("x-one", "1"),
          HttpClientRequest.bodyText("ünï", "text/plain"),
          HttpClient.execute,
          Effect.andThen(get(`${server.url}?z=2#part`)),
          Effect.andThen(
            HttpClientRequest.put(server.url).pipe(
              HttpClientRequest.bodyStream(Stream.make(new TextEncoder().encode("streamed"))),
              HttpClient.execute
            )
          )
        )
        expect(server.requests).toEqual(["POST /a%2Fb?x=1&y=%C3%A4+b", "GET /?z=2", "PUT /"])
        expect(server.bodies).toEqual(["ünï", "", "streamed"])
        expect(server.headers[0]).toMatchObject({ "x-one": "1", "content-type": "text/plain", "content-length": "5" })
      }).pipe(undici())
    )

    it.live("that can't be sent fail, and send nothing", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, {}))
        const relative = yield* Effect.flip(get("/relative"))
        const form = yield* HttpClientRequest.post(server.url).pipe(
          HttpClientRequest.bodyFormData(new FormData()),
          HttpClient.execute,
          Effect.flip
        )
        expect([relative.reason._tag, form.reason._tag]).toEqual(["InvalidUrlError", "EncodeError"])
        expect(server.requests).toEqual([])
      }).pipe(undici())
    )
  })

  describe("answers", () => {
    it.live("without a length are read to their end, whole characters only", () =>
      Effect.gen(function* () {
        const bytes = Buffer.from('{"text":"日本"}')
        const server = yield* listen((outgoing, count) => {
          outgoing.writeHead(200, { "content-type": count === 1 ? "application/json" : "text/plain" })
          outgoing.write(bytes.subarray(0, 10), () => outgoing.end(bytes.subarray(10)))
        })
        expect(yield* text(server.url)).toBe('{"text":"日本"}')
        expect(yield* text(server.url)).toBe('{"text":"日本"}')
        expect(server.requests).toHaveLength(2)
      }).pipe(undici())
    )

    it.live("can be read in every way, and again", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing, count) => {
          outgoing
            .writeHead(200, { "content-type": count === 1 ? "application/json" : "text/plain", "x-two": ["a", "b"] })
            .end('{"a":1}')
        })
        for (const _ of [1, 2]) {
          const response = yield* get(server.url)
          expect(yield* response.text).toBe('{"a":1}')
          expect(yield* response.text).toBe('{"a":1}')
          expect(yield* response.json).toEqual({ a: 1 })
          expect(response.headers["x-two"]).toBe("a, b")
        }
      }).pipe(undici())
    )

    it.live("without a body are empty", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => outgoing.writeHead(204).end())
        const response = yield* get(server.url)
        expect([response.status, yield* response.text]).toEqual([204, ""])
      }).pipe(undici())
    )

    it.live("are handed on as they come", () =>
      Effect.gen(function* () {
        const answers: Array<ServerResponse> = []
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "content-type": "text/event-stream" }).write("one")
          answers.push(outgoing)
        })
        const seen: Array<string> = []
        yield* Effect.flatMap(get(server.url), (response) =>
          Stream.runForEach(Stream.decodeText(response.stream), (part) =>
            Effect.sync(() => {
              seen.push(part)
              if (seen.length === 1) answers[0]?.end("two")
            })
          )
        )
        expect(seen).toEqual(["one", "two"])
      }).pipe(undici())
    )

    it.live.each(["application/json", "text/html"])("of %s that break off fail, and may have been acted on", (type) =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "content-type": type, "content-length": "100" })
          outgoing.write('{"decision":', () => outgoing.destroy())
        })
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client(server.url))))
        expect(error).toMatchObject({ _tag: "TransportError", kind: "interrupted", mayHaveArrived: true })
      })
    )

    it.live("that break off before anybody reads them are told to who reads then", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "content-type": "text/html", "content-length": "100" })
          outgoing.write("<html>")
        })
        const dispatcher = yield* agent
        const response = yield* get(server.url).pipe(undici({ dispatcher }))
        yield* disconnected(dispatcher, () => server.sockets[0]?.destroy())
        expect((yield* Effect.flip(response.text)).reason._tag).toBe("DecodeError")
        expect((yield* Effect.flip(response.text)).reason._tag).toBe("DecodeError")
      })
    )

    it.live.each<readonly [status: number, expected: object]>([
      [200, { _tag: "ProtocolError", status: 200, problem: "the body is no JSON" }],
      [502, { _tag: "ApiError", status: 502, code: undefined, isRetryable: true }],
      [404, { _tag: "ApiError", status: 404, code: undefined, isRetryable: false }]
    ])("that are a web page with %i are an error that says so", ([status, expected]) =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => html(outgoing, status))
        expect(yield* Effect.flip(decide.pipe(Effect.provide(client(server.url))))).toMatchObject(expected)
        expect(server.requests).toHaveLength(1)
      })
    )

    it.live.each([301, 302, 303, 307, 308])("that redirect by %i are not followed, so the key goes nowhere", (status) =>
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
    it.live("are used again", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => json(outgoing, allow))
        yield* Effect.repeat(decide, { times: 9 }).pipe(Effect.provide(client(server.url)))
        expect(server.requests).toHaveLength(10)
        expect(server.sockets.length).toBeLessThanOrEqual(2)
      })
    )

    it.live("that the server closes after some requests are made anew, and nobody notices", () =>
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

    it.live("that the server has closed while they were idle are made anew, and nobody notices", () =>
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

    it.live("that can't be made are refused: nothing was sent", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client(yield* nobody))))
        expect(error).toMatchObject({
          _tag: "TransportError",
          kind: "refused",
          mayHaveArrived: false,
          problem: "ECONNREFUSED"
        })
        expect(error.message).toBe("No answer to the decide (refused, the request was not sent): ECONNREFUSED")
      })
    )

    it.live("that take too long to make are refused: nothing was sent", () =>
      Effect.gen(function* () {
        const dispatcher = new Agent({
          connect: (_, callback) => callback(new errors.ConnectTimeoutError("Connect Timeout Error"), null)
        })
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client("http://127.0.0.1:9", {}, { dispatcher }))))
        expect(error).toMatchObject({ _tag: "TransportError", kind: "refused", mayHaveArrived: false })
      })
    )

    it.live("that fall silent end with the time limit: the request may have arrived", () =>
      Effect.gen(function* () {
        const server = yield* listen(() => {})
        const error = yield* Effect.flip(decide.pipe(Effect.provide(client(server.url, { timeout: "200 millis" }))))
        expect(error).toMatchObject({ _tag: "TransportError", kind: "timeout", mayHaveArrived: true })
        expect(error.message).toBe(
          "No answer to the decide (timeout, the request may have arrived): no answer within 200ms"
        )
        yield* server.closed
        expect(server.requests).toEqual(["POST /v1/decide"])
      })
    )

    it.live("that fall silent in the middle of a page don't hold the next request up", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing, count) => {
          if (count > 1) return json(outgoing, allow)
          outgoing.writeHead(200, { "content-type": "text/html" }).write("<html>")
        })
        yield* Effect.gen(function* () {
          expect(yield* Effect.flip(decide)).toMatchObject({ kind: "timeout", mayHaveArrived: true })
          expect(yield* decide).toMatchObject({ decision: "ALLOW" })
        }).pipe(Effect.provide(client(server.url, { timeout: "300 millis" }, { connections: 1 })))
      })
    )

    it.live("are closed with the layer, those in use too", () =>
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

    it.live("of a dispatcher of one's own outlive the layer", () =>
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

  describe("interruption", () => {
    it.live("closes the connection before the answer", () =>
      Effect.gen(function* () {
        const server = yield* listen(() => {})
        const fiber = yield* Effect.forkChild(text(server.url))
        yield* server.arrived
        yield* Fiber.interrupt(fiber)
        expect(Exit.hasInterrupts(yield* Fiber.await(fiber))).toBe(true)
        yield* server.closed
      }).pipe(undici())
    )

    it.live("closes the connection within a page, and who reads it later is told", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "content-type": "text/html" }).write("<html>")
        })
        const response = yield* get(server.url)
        const fiber = yield* Effect.forkChild(response.text, { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* server.closed
        expect((yield* Effect.flip(response.text)).reason._tag).toBe("DecodeError")
      }).pipe(undici())
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
      }).pipe(undici({ connections: 1 }))
    )
  })
})
