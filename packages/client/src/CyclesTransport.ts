/**
 * How the client reaches the server. The contract is that of `@effect-cycles/protocol`; this module adds the transport over
 * Effect's `HttpClient`. `effect-cycles/node` has a cheaper one for Node.
 *
 * **Gotchas**
 *
 * An `HttpClient` under `layerHttpClient` must not repeat requests by itself: the client can't tell the response to a second
 * attempt from the response to the first.
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
import { headerNames } from "./internal/transport/redact.ts"

export {
  /** Sends requests to a server. */
  CyclesTransport,
  /** The failure that an error of an HTTP library amounts to. */
  failureOf,
  /** Makes a transport from callbacks. */
  fromStart,
  /** Makes a transport from an Effect. */
  make,
  /** The failure of a request that was never sent. */
  notSent,
  /** Sends one request through a transport. */
  send,
  /** The failure of a response whose body is larger than the request accepts. */
  tooLarge
} from "@effect-cycles/protocol/CyclesTransport"

export type {
  /** Why there is no response. */
  TransportFailure,
  /** One request. */
  TransportRequest,
  /** A whole response. */
  TransportResponse
} from "@effect-cycles/protocol/CyclesTransport"

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The transport over any `HttpClient`. Effect's own span, its `b3` header and redirects are off for these requests, and the
 * key headers are among the redacted names.
 */
export const layerHttpClient: Layer.Layer<CyclesTransport, never, HttpClient.HttpClient> = Layer.effect(
  CyclesTransport,
  Effect.map(HttpClient.HttpClient, (client) => make((request) => exchange(client, request)))
)

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

/** The body, piece by piece, so that one without an end takes no more memory than the request accepts. */
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

/** A response without a body has no stream. */
const noBody: TransportFailure = { kind: "unknown", mayHaveArrived: true, problem: "no body", cause: undefined }

const bodyFailure = (error: HttpClientError.HttpClientError): TransportFailure =>
  error.reason._tag === "EmptyBodyError" ? noBody : toFailure(error)

const toFailure = (error: HttpClientError.HttpClientError): TransportFailure => {
  const { reason } = error
  return reason._tag === "EncodeError" || reason._tag === "InvalidUrlError"
    ? notSent("the request could not be made", reason.cause)
    : failureOf(reason.cause ?? error)
}

/** `fetch` would follow a redirect, and carry the key to wherever it leads. */
const quiet = (context: Context.Context<never>): Context.Context<never> =>
  Context.add(context, HttpClient.TracerDisabledWhen, always).pipe(
    Context.add(Headers.CurrentRedactedNames, headerNames(Context.get(context, Headers.CurrentRedactedNames))),
    Context.add(FetchHttpClient.RequestInit, {
      ...Context.getOrUndefined(context, FetchHttpClient.RequestInit),
      redirect: "manual"
    })
  )

const always = (): boolean => true
