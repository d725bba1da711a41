/**
 * The transport: one HTTP exchange with the server. This module adds transports over Effect's `HttpClient` and over
 * `fetch` to the contract of `@effect-cycles/protocol`. On Node, `NodeTransport` is faster.
 *
 * **Gotchas**
 *
 * - An `HttpClient` under `layerHttpClient` must not retry: the client takes the response to a retry for the response
 *   to the first request, and may report charged spend as refused.
 * - A request contains the API key in its headers. Don't log it.
 *
 * @since 0.1.0
 */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import { CyclesTransport, failureOf, make, notSent, tooLarge } from "@effect-cycles/protocol/CyclesTransport"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Fetch from "./internal/transport/fetch.ts"
import { headerNames } from "./internal/transport/redact.ts"

export {
  /** Sends requests to a server. */
  CyclesTransport,
  /** Converts an error of an HTTP library to a failure. */
  failureOf,
  /** Makes a transport from callbacks. */
  fromStart,
  /** Makes a transport from an Effect. */
  make,
  /** Makes the failure of a request that wasn't sent. */
  notSent,
  /** Sends one request through a transport. */
  send,
  /** Makes the failure of a response that is larger than the request accepts. */
  tooLarge
} from "@effect-cycles/protocol/CyclesTransport"

export type {
  /** Why there is no response. */
  TransportFailure,
  /** One request. */
  TransportRequest,
  /** One complete response. */
  TransportResponse
} from "@effect-cycles/protocol/CyclesTransport"

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides a transport over any `HttpClient`.
 *
 * **Details**
 *
 * For these requests it disables Effect's own span, its `b3` header and redirects, and redacts the key headers. A
 * redirect fails, since following it could send the key to another server.
 *
 * **Example** (Sending requests by `fetch`)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { FetchHttpClient } from "effect/http"
 * import { CyclesTransport } from "effect-cycles"
 *
 * export const TransportLive = Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttpClient: Layer.Layer<CyclesTransport, never, HttpClient.HttpClient> = Layer.effect(
  CyclesTransport,
  Effect.map(HttpClient.HttpClient, (client) => make((request) => exchange(client, request)))
)

/**
 * Provides a transport over `fetch`, for edge runtimes and browsers.
 *
 * **Details**
 *
 * A program that uses no `HttpClient` has a smaller bundle than with `layerHttpClient`: 8 kB less after gzip.
 * `FetchHttpClient.Fetch` replaces the global `fetch`. A redirect fails, since following it could send the key to
 * another server.
 *
 * @example
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { Cycles, CyclesTransport, SettlementJournal } from "effect-cycles"
 *
 * export const layer = Cycles.layer({
 *   baseUrl: "https://cycles.example",
 *   apiKey: Redacted.make("cyc_live_0123456789abcdef")
 * }).pipe(Layer.provide([CyclesTransport.layerFetch, SettlementJournal.layerMemory]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFetch: Layer.Layer<CyclesTransport> = Layer.succeed(CyclesTransport, make(Fetch.exchange))

const exchange = (
  client: HttpClient.HttpClient,
  request: TransportRequest
): Effect.Effect<TransportResponse, TransportFailure> =>
  Effect.updateContext(
    Effect.gen(function* () {
      const response = yield* Effect.mapError(client.execute(toRequest(request)), toFailure)
      const body = yield* read(response, request)
      return { status: response.status, headers: response.headers, body, attempts: 1 }
    }),
    quiet
  )

const toRequest = ({ body, headers, method, url }: TransportRequest): HttpClientRequest.HttpClientRequest =>
  HttpClientRequest.makeWith(
    method,
    url,
    UrlParams.empty,
    Option.none(),
    Headers.fromRecordUnsafe(headers),
    body === undefined ? HttpBody.empty : HttpBody.text(body, headers["content-type"])
  )

/** Reads the body in chunks and stops at `maxResponseBytes`, so that an endless body can't exhaust the memory. */
const read = (
  response: HttpClientResponse.HttpClientResponse,
  request: TransportRequest
): Effect.Effect<string, TransportFailure> =>
  Effect.suspend(() => {
    if (Number(response.headers["content-length"]) > request.maxResponseBytes) return Effect.fail(tooLarge(request))
    const decoder = new TextDecoder()
    let size = 0
    let text = ""
    return Stream.runForEach(Stream.mapError(response.stream, bodyFailure), (chunk) => {
      size += chunk.byteLength
      if (size > request.maxResponseBytes) return Effect.fail(tooLarge(request))
      text += decoder.decode(chunk, { stream: true })
      return Effect.void
    }).pipe(
      Effect.catchIf(
        (failure) => failure === noBody,
        () => Effect.void
      ),
      Effect.map(() => text + decoder.decode())
    )
  })

/** `HttpClient` fails with `EmptyBodyError` for a response without a body. */
const noBody: TransportFailure = { kind: "unknown", mayHaveArrived: true, problem: "no body", cause: undefined }

const bodyFailure = (error: HttpClientError.HttpClientError): TransportFailure =>
  error.reason._tag === "EmptyBodyError" ? noBody : toFailure(error)

const toFailure = (error: HttpClientError.HttpClientError): TransportFailure => {
  const { reason } = error
  return reason._tag === "EncodeError" || reason._tag === "InvalidUrlError"
    ? notSent("the request could not be made", reason.cause)
    : failureOf(reason.cause ?? error)
}

/** `fetch` follows redirects by default, and would send the key to the target. */
const quiet = (context: Context.Context<never>): Context.Context<never> =>
  Context.add(context, HttpClient.TracerDisabledWhen, always).pipe(
    Context.add(Headers.CurrentRedactedNames, headerNames(Context.get(context, Headers.CurrentRedactedNames))),
    Context.add(FetchHttpClient.RequestInit, {
      ...Context.getOrUndefined(context, FetchHttpClient.RequestInit),
      redirect: "manual"
    })
  )

const always = (): boolean => true
