/** The bytes of requests, as HTTP or in a shape that violates it. */
import * as Schema from "effect/Schema"
import type { Rendered } from "../traffic/step.ts"
import * as Json from "./json.ts"

/** The shapes of a request's bytes. */
export const Shape = Schema.Literals([
  "whole",
  "whole",
  "whole",
  "whole",
  "bytes",
  "pipelined",
  "no host",
  "long length",
  "short length",
  "negative length",
  "two lengths",
  "length and chunks",
  "chunked",
  "bad chunks",
  "endless chunks",
  "huge header",
  "many headers",
  "folded header",
  "binary header",
  "long path",
  "absolute path",
  "bad method",
  "long method",
  "old version",
  "wrong version",
  "no version",
  "expect",
  "upgrade",
  "half",
  "half, then reset",
  "big body",
  "deep body",
  "wide body",
  "form body",
  "utf-16 body",
  "get with body",
  "tls",
  "empty lines",
  "nothing"
])

export type Shape = typeof Shape.Type

/** Whether the connection is reset after the bytes. */
export const isCut = (shape: Shape): boolean => shape === "half, then reset"

/** The bytes of a request; the last one of its connection closes it. */
export const bytesOf = (
  { body, headers, method, path }: Rendered,
  isLast: boolean,
  lines: ReadonlyArray<string> = []
): Buffer =>
  Buffer.concat([
    Buffer.from(
      [
        `${method} ${path} HTTP/1.1`,
        "host: localhost",
        ...(isLast ? ["connection: close"] : []),
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
        ...(body === undefined ? [] : [`content-length: ${body.length}`]),
        ...lines,
        "",
        ""
      ].join("\r\n"),
      "latin1"
    ),
    body ?? Buffer.alloc(0)
  ])

const text = (value: string): Buffer => Buffer.from(value, "latin1")

/** The bytes of a request in another shape. */
export const damaged = (shape: Shape, request: Rendered, mutations: ReadonlyArray<Json.Mutation>): Buffer => {
  const whole = bytesOf(request, true)
  const body = request.body ?? text("{}")
  const replaced = (from: string | RegExp, to: string): Buffer => text(whole.toString("latin1").replace(from, to))
  const withBody = (bytes: Buffer, type = "application/json"): Buffer =>
    bytesOf({ ...request, method: "POST", headers: { ...request.headers, "content-type": type }, body: bytes }, true)
  const chunked = (chunks: string): Buffer =>
    Buffer.concat([
      bytesOf({ ...request, method: "POST", body: undefined }, true, ["transfer-encoding: chunked"]),
      text(chunks)
    ])
  const chunk = `${body.length.toString(16)}\r\n${body.toString("latin1")}\r\n`
  switch (shape) {
    case "whole":
      return whole
    case "bytes":
      return Json.mutateBytes(whole, mutations)
    case "pipelined":
      return Buffer.concat([
        bytesOf(request, false),
        bytesOf(request, false),
        Json.mutateBytes(whole, mutations),
        whole
      ])
    case "no host":
      return replaced(/host: localhost\r\n/, "")
    case "long length":
      return replaced(/content-length: \d+/, "content-length: 99999")
    case "short length":
      return replaced(/content-length: \d+/, "content-length: 3")
    case "negative length":
      return replaced(/content-length: \d+/, "content-length: -1")
    case "two lengths":
      return bytesOf(request, true, ["content-length: 1", "content-length: 2"])
    case "length and chunks":
      return bytesOf(request, true, ["transfer-encoding: chunked"])
    case "chunked":
      return chunked(`${chunk}0\r\n\r\n`)
    case "bad chunks":
      return chunked(`zz\r\n${chunk}`)
    case "endless chunks":
      return chunked(`10000\r\n${"a".repeat(65_536)}\r\n`.repeat(200))
    case "huge header":
      return bytesOf(request, true, [`x-huge: ${"a".repeat(100_000)}`])
    case "many headers":
      return bytesOf(
        request,
        true,
        Array.from({ length: 1_900 }, (_, i) => `x${i}: 1`)
      )
    case "folded header":
      return bytesOf(request, true, ["x-folded: a", " b"])
    case "binary header":
      return bytesOf(request, true, ["x-request-id: a\u00ff\u0001", "x-injected: \u0000", "traceparent: 00-zz"])
    case "long path":
      return text(`GET /v1/reservations/${"a".repeat(12_000)} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
    case "absolute path":
      return replaced(request.path, `http://other.example${request.path}`)
    case "bad method":
      return replaced(request.method, "G\u00cbT")
    case "long method":
      return replaced(request.method, "A".repeat(10_000))
    case "old version":
      return replaced("HTTP/1.1", "HTTP/1.0")
    case "wrong version":
      return replaced("HTTP/1.1", "HTTP/9.9")
    case "no version":
      return replaced(" HTTP/1.1", "")
    case "expect":
      return bytesOf(request, true, ["expect: 100-continue"])
    case "upgrade":
      return bytesOf(request, true, ["upgrade: websocket", "sec-websocket-key: a"])
    case "half":
    case "half, then reset":
      return whole.subarray(0, whole.length >> 1)
    case "big body":
      return withBody(Buffer.alloc(3_000_000, 0x20))
    case "deep body":
      return withBody(text(`{"metadata":${"[".repeat(500_000)}${"]".repeat(500_000)}}`))
    case "wide body":
      return withBody(text(`{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":${i}`).join(",")}}`))
    case "form body":
      return withBody(text("a=b&c=d"), "application/x-www-form-urlencoded")
    case "utf-16 body":
      return withBody(Buffer.from(body.toString("utf8"), "utf16le"), "application/json; charset=utf-16")
    case "get with body":
      return bytesOf({ ...request, method: "GET", body }, true)
    case "tls":
      return Buffer.from("16030100f8010000f40303", "hex")
    case "empty lines":
      return text("\r\n".repeat(1_000))
    case "nothing":
      return Buffer.alloc(0)
  }
}
