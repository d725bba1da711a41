/**
 * One HTTP exchange on a connection of Node: it reads the request as bytes, and writes the response.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import { isUtf8 } from "node:buffer"
import type * as Http from "node:http"
import type { Request, Response } from "./call.ts"

/** Handles a request, and sends the response later. */
export type Respond = (request: Request, send: (response: Response) => void) => void

/** Reads a request, and writes the response to it. A body above `maxBodyBytes` gets a 413. */
export const serve = (
  incoming: Http.IncomingMessage,
  outgoing: Http.ServerResponse,
  respond: Respond,
  maxBodyBytes: number
): void => {
  const send = ({ body, headers, status }: Response): void => {
    const length = Buffer.byteLength(body)
    const fields: Array<string> = []
    for (const name in headers) fields.push(name, headers[name] ?? "")
    if (length > 0) fields.push("content-length", String(length))
    outgoing.writeHead(status, fields)
    // If each character is one byte, latin1 avoids the encoding to UTF-8.
    outgoing.end(body, length === body.length ? "latin1" : "utf8")
  }
  const respondTo = (bytes: Buffer): void => {
    const { headers, method = "GET", url = "/" } = incoming
    respond(
      {
        method,
        url,
        headers: hasSingleValues(headers) ? headers : singleValues(headers),
        body: bytes.toString("utf8"),
        isMalformed: !isUtf8(bytes)
      },
      send
    )
  }
  incoming.on("error", () => outgoing.destroy())
  if (incoming.method === "GET" || incoming.method === "HEAD") {
    incoming.resume()
    respondTo(noBytes)
    return
  }
  const chunks: Array<Buffer> = []
  let size = 0
  incoming.on("data", (chunk: Buffer) => {
    const before = size
    size += chunk.length
    if (size <= maxBodyBytes) {
      chunks.push(chunk)
      return
    }
    if (before <= maxBodyBytes) {
      chunks.length = 0
      rejectBody(outgoing, maxBodyBytes)
    }
    // Reading and dropping the rest lets the client receive the 413. The limit ends an endless body.
    if (size > 8 * maxBodyBytes) incoming.destroy()
  })
  incoming.on("end", () => {
    if (size > maxBodyBytes) outgoing.end()
    else respondTo(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
  })
}

const noBytes = Buffer.alloc(0)

/** Sends a 413 that announces the end of the connection. */
const rejectBody = (outgoing: Http.ServerResponse, maxBodyBytes: number): void => {
  const id = globalThis.crypto.randomUUID()
  const trace = globalThis.crypto.randomUUID().replaceAll("-", "")
  const body = JSON.stringify({
    error: "INVALID_REQUEST",
    message: `A body has at most ${maxBodyBytes} bytes`,
    request_id: id,
    trace_id: trace
  })
  outgoing.writeHead(413, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
    [Headers.REQUEST_ID]: id,
    [Headers.TRACE_ID]: trace
  })
  outgoing.write(body)
}

/** Whether all header values are strings. Node joins repeated headers into one string, except `set-cookie`. */
const hasSingleValues = (headers: Http.IncomingHttpHeaders): headers is Record<string, string | undefined> =>
  headers["set-cookie"] === undefined

const singleValues = (headers: Http.IncomingHttpHeaders): Request["headers"] => {
  const result: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === "string") result[name] = value
  }
  return result
}
