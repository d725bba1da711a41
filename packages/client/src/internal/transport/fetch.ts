/** One exchange over `fetch`, without the machinery of `HttpClient`. */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import { failureOf, tooLarge } from "@effect-cycles/protocol/CyclesTransport"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"

/** Sends one request. Redirects aren't followed, because that could send the key to another server. */
export const exchange = (request: TransportRequest): Effect.Effect<TransportResponse, TransportFailure> =>
  Effect.gen(function* () {
    const fetch = yield* FetchHttpClient.Fetch
    const { body: sent = null, headers, method, url } = request
    const [response, body] = yield* Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { method, headers, body: sent, signal, redirect: "manual" })
        return [response, await read(response, request.maxResponseBytes)] as const
      },
      catch: failureOf
    })
    if (body === undefined) return yield* Effect.fail(tooLarge(request))
    return { status: response.status, headers: Object.fromEntries(response.headers), body, attempts: 1 }
  })

/** Reads the body in chunks, and abandons it if it is too large, so that an endless body can't exhaust the memory. */
const read = async ({ body, headers }: Response, maxBytes: number): Promise<string | undefined> => {
  if (body === null) return ""
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let size = Number(headers.get("content-length") ?? 0) > maxBytes ? Number.POSITIVE_INFINITY : 0
  let text = ""
  while (size <= maxBytes) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    size += value.byteLength
    text += decoder.decode(value, { stream: true })
  }
  reader.cancel().catch(() => {})
  return undefined
}
