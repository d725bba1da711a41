/** The cases of responses, and the bytes that a server sends for them. */
import * as Schema from "effect/Schema"
import * as Bombs from "./bombs.ts"
import type { Plan } from "./hostileServer.ts"
import type * as HostileServer from "./hostileServer.ts"
import * as Json from "./json.ts"
import type { Message } from "./messages.ts"
import { errorBody } from "./messages.ts"

/** A response to an operation over a transport. */
export const Case = Schema.Struct({
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
    "deflate bomb",
    "br bomb",
    "zstd bomb",
    "deep",
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

/** A response to an operation over a transport. */
export type Case = typeof Case.Type

/** The API key of the clients, with characters that JSON, URLs and HTML escape. */
export const apiKey = `cyc_live_"quo\\te/<&>'_0123456789`

/** The admin key of the clients. */
export const adminKey = "admin-key-/+=_0123456789abcdef"

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

/** A good response. */
export const valid = ({ body, status }: Message): Plan => {
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
 * The `fetch` of Node 24.21 (undici 7.29) throws an uncaught exception for a response with more than five content
 * encodings whose body breaks the protocol. No caller of `fetch` can prevent that.
 */
const isDefectOfFetch = (value: Case, name: Case["headers"][number]): boolean =>
  name === "many encodings" && value.transport !== "undici"

/** The bytes of a case's response to a request, which is given as text. */
export const planOf = (value: Case, message: Message, request: string): Plan => {
  const body = bodyOf(value, message, request)
  const status = value.status === "expected" ? `HTTP/1.1 ${message.status} OK` : value.status
  const length = Buffer.isBuffer(body) ? body.length : body.bytes
  const lines = [
    status,
    ...(value.headers.includes("html") ? ["content-type: text/html"] : ["content-type: application/json"]),
    ...value.headers.flatMap((name) => (isDefectOfFetch(value, name) ? [] : headerLines(name, request))),
    ...(isBomb(value.body) ? [`content-encoding: ${encodingOf(value.body)}`] : []),
    ...framingLines(value.framing, length)
  ]
  return {
    head: Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"),
    body: Buffer.isBuffer(body) ? framed(value.framing, body) : { ...body, isChunked: value.framing === "chunked" },
    pace: value.pace,
    closes: value.framing === "close" || value.framing === "bad chunks"
  }
}

const bodyOf = ({ body, mutations }: Case, message: Message, request: string): Buffer | HostileServer.Endless => {
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
    case "deflate bomb":
    case "br bomb":
    case "zstd bomb":
      return Bombs.make(encodingOf(body))
    case "deep":
      return Buffer.from(
        JSON.stringify({ ...Object(message.body), metadata: 0 }).replace('"metadata":0', `"metadata":{"a":${deep}}`)
      )
  }
}

const deep = "[".repeat(200_000) + "]".repeat(200_000)

const encodingOf = (body: Bomb): Bombs.Encoding => {
  switch (body) {
    case "gzip bomb":
      return "gzip"
    case "deflate bomb":
      return "deflate"
    case "br bomb":
      return "br"
    case "zstd bomb":
      return "zstd"
  }
}

type Bomb = Extract<Case["body"], `${string} bomb`>

const isBomb = (body: Case["body"]): body is Bomb => body.endsWith(" bomb")

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
