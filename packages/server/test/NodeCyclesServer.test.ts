/**
 * The server on a port: limits of a connection, malformed requests, encoding.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Net from "node:net"
import * as NodeCyclesServer from "../src/NodeCyclesServer.ts"
import { call, connect, createTenant, request, send, start, untilClosed } from "./support/sockets.ts"
import { estimateBody, uniqueKey } from "./support/testServer.ts"

const reserve = JSON.stringify(estimateBody("k", 1))

/** Sends bytes, and returns the status and the error message. */
const fetchBytes = (url: string, apiKey: string, bytes: Buffer) =>
  Effect.promise(async () => {
    const headers = { "x-cycles-api-key": apiKey, "content-type": "application/json" }
    const response = await fetch(url, { method: "POST", headers, body: new Uint8Array(bytes) })
    return [response.status, Object(await response.json()).message]
  })

/** Internals that no response may contain: a stack frame, a file, an error class, SQL. */
const internals =
  /\bat .*[:(]\d|\.ts\b|\.js\b|node:|file:\/\/|\/src\/|node_modules|sqlite|SELECT|INSERT|[A-Z]\w+Error\b/

describe("NodeCyclesServer", () => {
  describe("make", () => {
    it.live("listens only on the loopback interface by default", () =>
      Effect.gen(function* () {
        const { url } = yield* start()
        expect(new URL(url).hostname).toBe("127.0.0.1")
        const response = yield* send(url, request("GET", "/actuator/health"))
        expect([response.status, response.body]).toEqual([200, '{"status":"UP"}'])
        // A socket bound to 127.0.0.1 does not accept connections to another loopback address.
        const refused = yield* Effect.callback<string>((resume) => {
          const socket = Net.connect({ host: "127.0.0.2", port: Number(new URL(url).port) })
          socket.once("error", (error) => resume(Effect.succeed(Reflect.get(error, "code"))))
          socket.once("connect", () => resume(Effect.succeed("connected")))
        })
        expect(refused).not.toBe("connected")
      })
    )

    it.live("fails with a ServerError when the port is in use", () =>
      Effect.gen(function* () {
        const { url } = yield* start()
        const error = yield* Effect.flip(start({ port: Number(new URL(url).port) }))
        expect(error.message).toMatch(/^The Cycles server can't run: can't listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/)
      })
    )
  })

  describe("serve", () => {
    it.live("rejects bytes that are not UTF-8, in a body and in a URL", () =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start()
        const reserveWith = (name: Buffer) => {
          const [head = "", tail = ""] = JSON.stringify(
            estimateBody(uniqueKey("k"), 1, { action: { kind: "k", name: "NAME" } })
          ).split("NAME")
          return fetchBytes(
            `${url}/v1/reservations`,
            apiKey,
            Buffer.concat([Buffer.from(head), name, Buffer.from(tail)])
          )
        }
        expect(yield* reserveWith(Buffer.from("é€😀"))).toEqual([200, undefined])
        for (const bytes of [[0xe9], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
          expect(yield* reserveWith(Buffer.from(bytes))).toEqual([400, "Malformed request body: it isn't UTF-8"])
        }
        const raw = yield* send(url, request("GET", "/v1/balances?tenant=\u00e9", { "x-cycles-api-key": apiKey }))
        expect(raw.status).toBe(400)
      })
    )
  })

  describe("maxBodyBytes", () => {
    it.live("responds with 413 to a larger body, with or without a content-length, and serves the next request", () =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start({ limits: { maxBodyBytes: 1_000 } })
        const headers = { "x-cycles-api-key": apiKey, "content-type": "application/json" }
        const text = JSON.stringify({ ...JSON.parse(reserve), metadata: { text: "x".repeat(2_000) } })
        const declared = yield* send(url, request("POST", "/v1/reservations", headers, text))
        expect([declared.status, JSON.parse(declared.body).error]).toEqual([413, "INVALID_REQUEST"])
        const chunked = yield* send(
          url,
          request("POST", "/v1/reservations", { ...headers, "transfer-encoding": "chunked" }).replace(
            "content-length: 0\r\n",
            ""
          ) + `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
        )
        expect(chunked.status).toBe(413)
        expect((yield* send(url, request("POST", "/v1/reservations", headers, reserve))).status).toBe(200)
      })
    )

    it.live("closes the connection when an oversized body does not end", () =>
      Effect.gen(function* () {
        const { url } = yield* start({ limits: { maxBodyBytes: 1_000 } })
        const socket = yield* connect(url)
        const closed = yield* Effect.forkChild(untilClosed(socket))
        socket.write(request("POST", "/v1/decide", { "content-length": "100000000" }))
        const more = (): void => void socket.write("x".repeat(10_000), (error) => (error == null ? more() : undefined))
        more()
        yield* Fiber.join(closed)
        expect((yield* send(url, request("GET", "/actuator/health"))).status).toBe(200)
      })
    )
  })

  describe("timeouts", () => {
    const limits = { headersTimeoutMs: 150, requestTimeoutMs: 300, keepAliveTimeoutMs: 150 }

    it.live.each([
      ["sends nothing", ""],
      ["stops within its headers", "POST /v1/decide HTTP/1.1\r\nhost: a\r\nx-more"],
      [
        "stops within its body",
        request("POST", "/v1/decide", { "content-length": "500", connection: "keep-alive" }, "{")
      ],
      ["stays idle after a response", request("GET", "/actuator/health", { connection: "keep-alive" })]
    ] as const)("close a connection that %s, without delaying other connections", ([, text]) =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start({ limits })
        const slow = yield* Effect.forEach(Array.from({ length: 50 }), () => connect(url))
        slow.forEach((socket) => void (text === "" ? undefined : socket.write(text)))
        const closed = yield* Effect.forkChild(Effect.forEach(slow, untilClosed, { concurrency: "unbounded" }))
        const response = yield* send(
          url,
          request(
            "POST",
            "/v1/reservations",
            { "x-cycles-api-key": apiKey, "content-type": "application/json" },
            reserve
          )
        )
        expect(response.status).toBe(200)
        expect(slow.filter((socket) => socket.destroyed).length).toBe(0)
        yield* Fiber.join(closed)
      })
    )
  })

  describe("malformed request", () => {
    const malformed: ReadonlyArray<readonly [string, string, string, string]> = [
      ["GET", "/v1/reservations/%", "", "400"],
      ["GET", "/v1/reservations/%zz", "", "400"],
      ["GET", "/v1/reservations/%ff%fe", "", "400"],
      ["GET", "/v1/reservations/%00", "", "404"],
      ["GET", "/v1/balances?tenant=%", "", "400"],
      ["GET", "/v1/balances?tenant=acme&limit=99999999999999999999", "", "400"],
      ["GET", "/v1/reservations?cursor=%00", "", "400"],
      ["GET", "/v1/reservations?sort_by=__proto__", "", "400"],
      ["GET", "/v1/constructor", "", "404"],
      ["GET", "/v1/__proto__", "", "404"],
      ["GET", "/v1/toString/valueOf", "", "404"],
      ["POST", "/v1/reservations/constructor/__proto__", "", "404"],
      ["POST", "/v1/reservations", "{", "400"],
      ["POST", "/v1/reservations", "\u0000", "400"],
      ["POST", "/v1/reservations", "[]", "400"],
      ["POST", "/v1/reservations", '"text"', "400"],
      ["POST", "/v1/reservations", "1e999999", "400"],
      ["POST", "/v1/reservations", "9".repeat(1_000_000), "400"],
      ["POST", "/v1/reservations", "[".repeat(500_000), "400"],
      ["POST", "/v1/reservations", '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000), "400"],
      ["POST", "/v1/decide", `{"__proto__":${reserve}}`, "400"],
      ["POST", "/v1/decide", '{"constructor":{"prototype":1}}', "400"],
      ["POST", "/v1/reservations", reserve.replace('"acme"', '"acme","__proto__":{"agent":"a"}'), "400"],
      ["POST", "/v1/reservations", reserve.replace('"acme"', '"acme","dimensions":{"__proto__":"a"}'), "400"],
      ["POST", "/v1/reservations", reserve.replace('"amount":1', `"amount":${"9".repeat(400)}`), "400"],
      ["POST", "/v1/reservations", reserve.replace('"amount":1', '"amount":1e308'), "400"],
      ["POST", "/v1/reservations", reserve.replace('"amount":1', '"amount":-1'), "400"],
      ["POST", "/v1/reservations", reserve.replace('"acme"', '"a\\u0000b"'), "400"],
      ["POST", "/v1/reservations", reserve.replace("{", '{"ttl_ms":1e300,'), "400"]
    ]

    it.live.each(malformed)("%# (%s %s) gets an error body without internals", ([method, path, body, status]) =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start()
        const response = yield* send(url, request(method, path, { "x-cycles-api-key": apiKey }, body))
        expect([String(response.status), response.body.slice(0, 300)]).toEqual([status, expect.any(String)])
        expect(JSON.parse(response.body)).toMatchObject({ error: expect.any(String), request_id: expect.any(String) })
        expect(response.head + response.body).not.toMatch(internals)
      })
    )

    it.live.each([
      ["GET", "/v1/admin/tenants/%", "", "400"],
      ["GET", "/v1/admin/constructor", "", "404"],
      ["GET", "/v1/admin/budgets/__proto__", "", "404"],
      ["POST", "/v1/admin/tenants", "{", "400"],
      ["POST", "/v1/admin/tenants", `{"metadata":${"[".repeat(50_000)}`, "400"],
      ["POST", "/v1/admin/api-keys", '{"tenant_id":"acme","name":"n","expires_at":"+999999-01-01T00:00:00Z"}', "400"],
      ["POST", "/v1/admin/tenants", '{"__proto__":{"tenant_id":"acme","name":"n"}}', "400"],
      ["GET", "/v1/admin/budgets?cursor=-1", "", "400"],
      ["GET", "/v1/admin/budgets?unit=__proto__", "", "400"]
    ] as const)("to the admin plane %# (%s %s) gets an error body without internals", ([method, path, body, status]) =>
      Effect.gen(function* () {
        const { url } = yield* start()
        const response = yield* send(url, request(method, path, { "x-admin-api-key": "K" }, body))
        expect([String(response.status), response.body.slice(0, 300)]).toEqual([status, expect.any(String)])
        expect(response.head + response.body).not.toMatch(internals)
      })
    )

    it.live("that isn't HTTP closes only its own connection", () =>
      Effect.gen(function* () {
        const { url } = yield* start()
        for (const text of [
          "\u0000\u0001\r\n\r\n",
          "GET\r\n\r\n",
          `GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`
        ]) {
          const { head, status } = yield* send(url, text)
          expect(status >= 400 && status < 500).toBe(true)
          expect(head).not.toMatch(internals)
        }
        expect((yield* send(url, request("GET", "/actuator/health"))).status).toBe(200)
      })
    )

    it.live("never gets a 500, on either plane (500 random requests)", () =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start()
        const random = generator(20_261_123)
        const pick = <A>(from: ReadonlyArray<A>, otherwise: A): A => from[random(from.length)] ?? otherwise
        for (let i = 0; i < 500; i++) {
          const parts = Array.from({ length: random(4) }, () => pick(segments, ""))
          const path = `/v1/${parts.join("/")}${random(3) === 0 ? `?${pick(queries, "")}=${pick(values, "")}` : ""}`
          const body = mutated(reserve, random)
          const response = yield* send(
            url,
            request(
              pick(["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"], "GET"),
              path,
              { "x-cycles-api-key": apiKey, ...(random(2) === 0 ? { "x-admin-api-key": "K" } : undefined) },
              body
            )
          )
          expect([path, body, response.status < 500, response.body.match(internals)]).toEqual([path, body, true, null])
        }
      })
    )
  })

  describe("response", () => {
    it.live.each(["ascii", "grüße", "日本 🙂"])("returns the text %s unchanged", (name) =>
      Effect.gen(function* () {
        const { apiKey, url } = yield* start()
        const { body } = yield* call(url, apiKey, "reservations", estimateBody("k", 1, { action: { kind: "k", name } }))
        expect((yield* call(url, apiKey, `reservations/${body.reservation_id}`)).body.action.name).toBe(name)
      })
    )
  })

  describe("without requests", () => {
    it.effect("expires reservations and removes old rows on a timer", () =>
      Effect.gen(function* () {
        const { adminUrl, server, url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K" })
        const apiKey = yield* Effect.promise(() => createTenant(adminUrl))
        yield* call(url, apiKey, "reservations", estimateBody("k", 5, { ttl_ms: 10_000, grace_period_ms: 0 }))
        const reserved = () => server.store.budgets.get("TOKENS tenant:acme")?.reserved
        yield* TestClock.adjust("10 seconds")
        expect([reserved(), server.store.responses.size()]).toEqual([5n, 1])
        yield* TestClock.adjust("5 seconds")
        expect([reserved(), server.store.reservations.size()]).toEqual([0n, 1])
        yield* TestClock.adjust("1 day")
        expect([server.store.responses.size(), server.store.reservations.size()]).toEqual([0, 1])
      })
    )

    it.effect("returns the budget of expired reservations only every sweepInterval, and settles none of them", () =>
      Effect.gen(function* () {
        const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", sweepInterval: "5 seconds" })
        const apiKey = yield* Effect.promise(() => createTenant(adminUrl))
        const reserved = Effect.map(
          call(url, apiKey, "balances?tenant=acme"),
          ({ body }) => body.balances[0].reserved.amount
        )
        yield* TestClock.adjust("1 second")
        const { body } = yield* call(
          url,
          apiKey,
          "reservations",
          estimateBody("k", 5, { ttl_ms: 1_000, grace_period_ms: 0 })
        )
        yield* TestClock.adjust("3 seconds")
        expect(yield* reserved).toBe(5)
        const commit = { idempotency_key: "c", actual: { unit: "TOKENS", amount: 1 } }
        expect((yield* call(url, apiKey, `reservations/${body.reservation_id}/commit`, commit)).status).toBe(410)
        yield* TestClock.adjust("1 second")
        expect(yield* reserved).toBe(0)
      })
    )
  })
})

const segments = [
  "reservations",
  "decide",
  "events",
  "balances",
  "admin",
  "tenants",
  "api-keys",
  "budgets",
  "fund",
  "policies",
  "auth",
  "validate",
  "commit",
  "release",
  "extend",
  "evidence",
  "acme",
  "%41",
  "%e2%82",
  "__proto__",
  "constructor",
  "..",
  ""
]
const queries = ["tenant", "cursor", "limit", "sort_by", "sort_dir", "from", "status", "scope", "unit", "include"]
const values = [
  "",
  "acme",
  "-1",
  "1e9",
  "%00",
  "%",
  "TOKENS",
  "tenant:acme",
  "__proto__",
  "2026-99-99T00:00:00Z",
  "bnVsbA"
]

/** A text with random insertions and deletions. */
const mutated = (text: string, random: (below: number) => number): string => {
  const pieces = [
    "{",
    "}",
    "[",
    "null",
    '"',
    ":",
    "1e400",
    "-0",
    "\\u0000",
    '"__proto__":',
    "\ud800",
    "9".repeat(40),
    ","
  ]
  let result = text
  for (let i = random(4); i > 0; i--) {
    const at = random(result.length)
    result = result.slice(0, at) + (pieces[random(pieces.length)] ?? "") + result.slice(at + random(8))
  }
  return result
}

/** A seeded generator of integers from 0 to below a bound. */
const generator = (seed: number): ((below: number) => number) => {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 4_294_967_296) * below)
  }
}
