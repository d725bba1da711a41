/** Responses over real sockets: any bytes, any framing and any pace, to every operation, over each transport. */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { CyclesClient, layer as layerClient } from "effect-cycles/CyclesClient"
import { isCyclesError } from "effect-cycles/CyclesError"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as NodeTransport from "effect-cycles/node/NodeTransport"
import type { Area } from "./area.ts"
import type { Plan } from "./hostileServer.ts"
import * as HostileServer from "./hostileServer.ts"
import * as Json from "./json.ts"
import type { Message } from "./messages.ts"
import { errorBody, messages } from "./messages.ts"
import * as Watch from "./watch.ts"

const Case = Schema.Struct({
  transport: Schema.Literals(["undici", "undici", "fetch", "HttpClient"]),
  operation: Schema.Literals([
    "reserve",
    "commit",
    "release",
    "extend",
    "decide",
    "event",
    "getReservation",
    "listReservations",
    "streamReservations",
    "balances",
    "streamBalances",
    "getEvidence",
    "getJwks"
  ]),
  status: Schema.Literals([
    "expected",
    "expected",
    "expected",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 201 Created",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 206 Partial",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Switching",
    "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 302 Found",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 400 Bad",
    "HTTP/1.1 401 No",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 409 Conflict",
    "HTTP/1.1 410 Gone",
    "HTTP/1.1 429 Slow",
    "HTTP/1.1 500 Error",
    "HTTP/1.1 503 Busy",
    "HTTP/1.1 599",
    "HTTP/1.1 999 Huge",
    "HTTP/1.1 000 Zero",
    "HTTP/1.1 -1 Minus",
    "HTTP/1.0 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/9.9 200 OK",
    "ICY 200 OK",
    "SSH-2.0-OpenSSH_9.9",
    "",
    "\u0000\u0001\u00ff"
  ]),
  body: Schema.Literals([
    "valid",
    "valid",
    "valid",
    "error",
    "error",
    "page",
    "none",
    "endless",
    "gigabyte",
    "gigabyte of quotes",
    "gzip bomb",
    "echo"
  ]),
  mutations: Json.Mutations,
  framing: Schema.Literals([
    "length",
    "length",
    "chunked",
    "close",
    "long length",
    "short length",
    "two lengths",
    "bad chunks"
  ]),
  headers: Schema.Array(
    Schema.Literals([
      "html",
      "gzip",
      "deflate",
      "br",
      "zstd",
      "unknown encoding",
      "many encodings",
      "flood",
      "long",
      "folded",
      "binary",
      "no colon",
      "cookies",
      "location",
      "retry",
      "retry date",
      "retry never",
      "date",
      "echo",
      "prototype",
      "trailer",
      "upgrade",
      "close"
    ])
  ).check(Schema.isMaxLength(3)),
  pace: Schema.Literals([
    "at once",
    "at once",
    "at once",
    "drip",
    "half, then end",
    "half, then reset",
    "half, then nothing"
  ])
})

type Case = typeof Case.Type

const timeoutMs = 300

const largeTimeoutMs = 5_000

/** With characters that JSON, URLs and HTML escape. */
const apiKey = `cyc_live_"quo\\te/<&>'_0123456789`

const adminKey = "admin-key-/+=_0123456789abcdef"

/** The area. */
export const responses: Area<Case> = {
  name: "responses",
  weight: 5,
  concurrency: 1,
  cases: Arbitrary.schema(Case),
  start: (scan) =>
    Effect.gen(function* () {
      scan.hide(apiKey)
      scan.hide(adminKey)
      const server = yield* HostileServer.make
      const client = (timeoutMs: number) => (transport: Layer.Layer<CyclesTransport.CyclesTransport>) =>
        Effect.map(
          Layer.build(
            Layer.provide(
              layerClient({
                baseUrl: server.url,
                apiKey: Redacted.make(apiKey),
                adminKey: Redacted.make(adminKey),
                timeout: timeoutMs
              }),
              transport
            )
          ),
          (context) => Context.get(context, CyclesClient)
        )
      const clientsWith = (timeoutMs: number) =>
        Effect.all({
          undici: client(timeoutMs)(NodeTransport.layer()),
          fetch: client(timeoutMs)(CyclesTransport.layerFetch),
          HttpClient: client(timeoutMs)(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer))
        })
      const quick = yield* clientsWith(timeoutMs)
      // A body without an end must be cut by its size, before the timeout.
      const patient = yield* clientsWith(largeTimeoutMs)
      return (value) => {
        const message: Message = messages[value.operation]
        const isLarge = /endless|gigabyte|bomb/.test(value.body) && value.pace === "at once"
        const clients = isLarge ? patient : quick
        const limitMs = isLarge ? largeTimeoutMs : timeoutMs
        const call = Effect.suspend(() => {
          server.respond((request) => planOf(value, message, request))
          return Effect.exit(message.call(clients[value.transport]))
        })
        const good = Effect.suspend(() => {
          server.respond(() => valid(messages.decide))
          // On a loaded machine a good response may be too late as well.
          return Effect.exit(Effect.retry(messages.decide.call(clients[value.transport]), { times: 20 }))
        })
        return Watch.within(
          limits,
          Effect.gen(function* () {
            const startedAt = performance.now()
            const exit = yield* scan.watch(call)
            const tookMs = performance.now() - startedAt
            scan.see("error", exit)
            const pages = value.operation.startsWith("stream") ? maxPages : 1
            const after = yield* good
            return [
              ...violationsOf(exit),
              ...(tookMs > limitMs * pages + marginMs ? [`the call took ${Math.round(tookMs)} ms`] : []),
              ...(Exit.isSuccess(after) ? [] : [`the next call failed: ${Cause.pretty(after.cause)}`])
            ]
          })
        )
      }
    })
}

/** The requests that one stream may send, for at most 20 rows. */
const maxPages = 21

/** Parsing 16 MiB on a loaded machine takes this long. */
const marginMs = 10_000

const limits: Watch.Limits = { timeMs: timeoutMs * maxPages + 2 * marginMs, bytes: 400 * 1_048_576 }

/** Only typed errors end a call. */
export const violationsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  if (Exit.isSuccess(exit)) return []
  const isTyped = exit.cause.reasons.every((reason) => reason._tag === "Fail" && isCyclesError(reason.error))
  return isTyped ? [] : [`not a typed error: ${Cause.pretty(exit.cause)}`]
}

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

const valid = ({ body, status }: Message): Plan => {
  const bytes = Buffer.from(JSON.stringify(body))
  return {
    head: Buffer.from(
      `HTTP/1.1 ${status} OK\r\ncontent-type: application/json\r\ncontent-length: ${bytes.length}\r\n\r\n`
    ),
    body: bytes,
    pace: "at once",
    closes: false
  }
}

/**
 * The `fetch` of Node 24.21 (undici 7.29) throws an uncaught exception for a response with more than five content encodings
 * whose body breaks the protocol. No caller of `fetch` can prevent that.
 */
const isDefectOfFetch = (value: Case, name: Case["headers"][number]): boolean =>
  name === "many encodings" && value.transport !== "undici"

const planOf = (value: Case, message: Message, request: string): Plan => {
  const body = bodyOf(value, message, request)
  const status = value.status === "expected" ? `HTTP/1.1 ${message.status} OK` : value.status
  const length = Buffer.isBuffer(body) ? body.length : body.bytes
  const lines = [
    status,
    ...(value.headers.includes("html") ? ["content-type: text/html"] : ["content-type: application/json"]),
    ...value.headers.flatMap((name) => (isDefectOfFetch(value, name) ? [] : headerLines(name, request))),
    ...framingLines(value.framing, length)
  ]
  return {
    head: Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"),
    body: Buffer.isBuffer(body) ? framed(value.framing, body) : body,
    pace: value.pace,
    closes: value.framing === "close" || value.framing === "bad chunks"
  }
}

const bodyOf = ({ body, mutations }: Case, message: Message, request: string): Plan["body"] => {
  switch (body) {
    case "valid":
      return Json.mutate(message.body, mutations)
    case "error":
      return Json.mutate(errorBody, mutations)
    case "page":
      return Json.mutateBytes(Buffer.from(`<!doctype html><html><body>${"<p>".repeat(1_000)}`), mutations)
    case "none":
      return Buffer.alloc(0)
    case "echo":
      return Json.mutate(
        { ...errorBody, message: request, details: { request, escaped: `${apiKey}${adminKey}` } },
        mutations
      )
    case "endless":
      return { chunk: Buffer.alloc(65_536, 0x5b), bytes: Number.POSITIVE_INFINITY }
    case "gigabyte":
      return { chunk: Buffer.alloc(65_536, 0x20), bytes: 1_073_741_824 }
    case "gigabyte of quotes":
      return { chunk: Buffer.alloc(65_536, '"\\'), bytes: 1_073_741_824 }
    case "gzip bomb":
      return HostileServer.gzipBomb()
  }
}

const framingLines = (framing: Case["framing"], length: number): ReadonlyArray<string> => {
  switch (framing) {
    case "length":
      return Number.isFinite(length) ? [`content-length: ${length}`] : []
    case "chunked":
    case "bad chunks":
      return ["transfer-encoding: chunked"]
    case "close":
      return ["connection: close"]
    case "long length":
      return [`content-length: ${length + 10}`]
    case "short length":
      return [`content-length: ${Math.max(0, Math.min(length, 1_000_000) - 10)}`]
    case "two lengths":
      return ["content-length: 5", "content-length: 6", "transfer-encoding: chunked"]
  }
}

const framed = (framing: Case["framing"], body: Buffer): Buffer => {
  const last = Buffer.from("0\r\n\r\n")
  if (framing === "bad chunks")
    return Buffer.concat([Buffer.from("zz;=\r\n"), body, Buffer.from("\r\nffffffffffffffff\r\n")])
  if (framing !== "chunked") return body
  return body.length === 0
    ? last
    : Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n"), last])
}

const headerLines = (name: Case["headers"][number], request: string): ReadonlyArray<string> => {
  const encoding = { gzip: "gzip", deflate: "deflate", br: "br", zstd: "zstd" }
  switch (name) {
    case "html":
      return []
    case "gzip":
    case "deflate":
    case "br":
    case "zstd":
      return [`content-encoding: ${encoding[name]}`]
    case "unknown encoding":
      return ["content-encoding: nope"]
    case "many encodings":
      return [`content-encoding: ${"gzip, ".repeat(100)}gzip`]
    case "flood":
      return Array.from({ length: 2_000 }, (_, i) => `x-header-${i}: ${i}`)
    case "long":
      return [`x-long: ${"a".repeat(100_000)}`]
    case "folded":
      return ["x-folded: a", " b", "\tc"]
    case "binary":
      return ["x-binary: \u00ff\u0001\u0000"]
    case "no colon":
      return ["no colon here"]
    case "cookies":
      return Array.from({ length: 100 }, (_, i) => `set-cookie: a${i}=b`)
    case "location":
      return ["location: http://127.0.0.1:1/stolen"]
    case "retry":
      return ["retry-after: 99999999999999999999", "x-ratelimit-remaining: -1", "x-ratelimit-reset: NaN"]
    case "retry date":
      return ["retry-after: Fri, 31 Dec 9999 23:59:59 GMT"]
    case "retry never":
      return ["retry-after: Infinity, -1"]
    case "date":
      return ["date: Thu, 01 Jan 0000 00:00:00 GMT", "date: never"]
    case "echo": {
      const sent = /x-cycles-api-key: *([^\r]*)/i.exec(request)?.[1] ?? apiKey
      return ["x-request-id", "x-cycles-trace-id", "x-cycles-tenant", "server"].map((header) => `${header}: ${sent}`)
    }
    case "prototype":
      return ["__proto__: a", "constructor: b", "tostring: c", "then: d"]
    case "trailer":
      return ["trailer: content-length, x-request-id"]
    case "upgrade":
      return ["connection: upgrade", "upgrade: websocket"]
    case "close":
      return ["connection: close"]
  }
}
