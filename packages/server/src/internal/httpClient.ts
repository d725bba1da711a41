/**
 * An `HttpClient` that calls the handler of a server instead of the network.
 */
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import type { Request, Response } from "./call.ts"

/** Creates the client. It ignores the host of the URL. */
export const makeHttpClient = (handle: (request: Request) => Effect.Effect<Response>): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.map(
      handle({
        method: request.method,
        url: url.pathname + url.search,
        headers: {
          ...request.headers,
          ...("contentType" in request.body && request.body.contentType !== undefined
            ? { "content-type": request.body.contentType }
            : undefined)
        },
        ...(request.body._tag === "Uint8Array" ? decode(request.body.body) : { body: "" })
      }),
      (response) => {
        const hasBody = response.body !== "" && request.method !== "HEAD"
        const web = new globalThis.Response(hasBody ? response.body : null, {
          status: response.status,
          headers: response.headers
        })
        // The text is already in memory, so reading it does not need an asynchronous step.
        return Object.defineProperties(HttpClientResponse.fromWeb(request, web), {
          text: { value: Effect.succeed(response.body) },
          headers: { value: Headers.fromInput(response.headers) }
        })
      }
    )
  )

/** Decodes as a socket does: a byte order mark is kept, and bytes that aren't UTF-8 are reported. */
const decode = (bytes: Uint8Array): Pick<Request, "body" | "isMalformed"> => {
  try {
    return { body: utf8.decode(bytes) }
  } catch {
    return { body: "", isMalformed: true }
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
