/**
 * One request over undici's `dispatch`, told by callbacks: the head of its answer, the pieces of its body, its end.
 *
 * A kept connection that the server closed just as a request was written is no answer to that request: where the user says
 * that it may be, it is sent again, once, on a new connection.
 */
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as UrlParams from "effect/http/UrlParams"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import type { Dispatcher } from "undici"
import type * as Connections from "./connections.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The head of an answer. */
export interface Head {
  readonly status: number
  readonly headers: RawHeaders
  readonly controller: Dispatcher.DispatchController
  /** Whether the whole body has come. */
  readonly isOver: () => boolean
}

/** Headers as undici has them, by names in lower case. */
export type RawHeaders = Readonly<Record<string, string | Array<string> | undefined>>

/** Where the body of an answer goes. */
export interface Sink {
  readonly push: (chunk: Buffer) => void
  readonly end: () => void
  readonly fail: (error: Error) => void
}

/** Who is told of an answer. */
export interface Receiver {
  /** The head is there; returns where the body goes. */
  readonly open: (head: Head) => Sink
  /** There will be no answer. */
  readonly fail: (error: HttpClientError.HttpClientError) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// dispatch
// ---------------------------------------------------------------------------------------------------------------------

/** Sends a request. Returns how to give it up, which closes its connection. */
export const dispatch = (
  connections: Connections.Connections,
  request: HttpClientRequest.HttpClientRequest,
  receiver: Receiver
): (() => void) => {
  const options = optionsOf(request)
  if (options instanceof HttpClientError.HttpClientError) {
    receiver.fail(options)
    return () => {}
  }
  let controller: Dispatcher.DispatchController | undefined
  let isAborted = false
  let isOver = false
  let hasAnswer = false
  let isRepeat = false
  let sink: Sink | undefined

  const fail = (error: Error): void => {
    isOver = true
    if (sink === undefined) receiver.fail(broken(request, error))
    else sink.fail(error)
  }

  const send = (): void => {
    try {
      if (isRepeat) connections.fresh.dispatch({ ...options, reset: true }, answer)
      else connections.kept.dispatch(options, answer)
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)))
    }
  }

  const answer: Dispatcher.DispatchHandler = {
    onRequestStart: (started) => {
      controller = started
      if (isAborted) started.abort(new Error("interrupted"))
    },
    onResponseStart: (started, status, headers) => {
      hasAnswer = true
      if (status >= 200) sink = receiver.open({ status, headers, controller: started, isOver: () => isOver })
    },
    onResponseData: (_controller, chunk) => sink?.push(chunk),
    onResponseEnd: () => {
      isOver = true
      sink?.end()
    },
    onResponseError: (_controller, error) => {
      if (isRepeat || hasAnswer || isAborted || !connections.isWorthRepeating(request, error)) return fail(error)
      isRepeat = true
      send()
    }
  }

  send()
  return () => {
    isAborted = true
    if (!isOver) controller?.abort(new Error("interrupted"))
  }
}

/** Collects a body, and hands it on whole. */
export const collect = (done: (bytes: Buffer) => void, fail: (error: Error) => void): Sink => {
  const chunks: Array<Buffer> = []
  return {
    push: (chunk) => void chunks.push(chunk),
    end: () => {
      const [first] = chunks
      done(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks))
    },
    fail
  }
}

/** The error of an exchange that broke off. */
export const broken = (request: HttpClientRequest.HttpClientRequest, cause: Error): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })

/** Each header once. */
export const singleHeaders = (raw: RawHeaders): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const name in raw) {
    const value = raw[name]
    if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ")
  }
  return headers
}

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

/** What undici is told, or why it can't be. */
const optionsOf = (
  request: HttpClientRequest.HttpClientRequest
): Dispatcher.DispatchOptions | HttpClientError.HttpClientError => {
  const target = targetOf(request)
  if (target === undefined) {
    return new HttpClientError.HttpClientError({ reason: new HttpClientError.InvalidUrlError({ request }) })
  }
  const method = methodOf(request.method)
  const body = bodyOf(request)
  if (method instanceof Error) return unsendable(request, method)
  if (body instanceof Error) return unsendable(request, body)
  return { origin: target.origin, path: target.path, method, headers: headersOf(request), body }
}

const unsendable = (request: HttpClientRequest.HttpClientRequest, cause: TypeError): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.EncodeError({ request, cause }) })

/** Origin and path, with the query. */
const targetOf = ({
  url,
  urlParams
}: HttpClientRequest.HttpClientRequest): { readonly origin: string; readonly path: string } | undefined => {
  const parts = address.exec(url)
  if (parts === null) return undefined
  const [, origin = "", rest = ""] = parts
  const path = rest.startsWith("/") ? rest : `/${rest}`
  const params = urlParams.params.length === 0 ? "" : UrlParams.toString(urlParams)
  return { origin, path: params === "" ? path : `${path}${path.includes("?") ? "&" : "?"}${params}` }
}

const address = /^(https?:\/\/[^/?#]+)([^#]*)/

/** The headers of a request, with the type of its body. */
const headersOf = ({ body, headers }: HttpClientRequest.HttpClientRequest): Readonly<Record<string, string>> =>
  !("contentType" in body) || body.contentType === undefined || headers["content-type"] === body.contentType
    ? headers
    : { ...headers, "content-type": body.contentType }

const bodyOf = (request: HttpClientRequest.HttpClientRequest): Uint8Array | Readable | null | TypeError => {
  const { body } = request
  switch (body._tag) {
    case "Empty":
      return null
    case "Uint8Array":
      return body.body
    case "Stream":
      return Readable.fromWeb(Stream.toReadableStream(body.stream))
    default:
      return new TypeError(`A body of the kind ${body._tag} can't be sent by this client`)
  }
}

const methodOf = (method: string): Dispatcher.HttpMethod | TypeError => {
  switch (method) {
    case "GET":
    case "POST":
    case "PUT":
    case "PATCH":
    case "DELETE":
    case "HEAD":
    case "OPTIONS":
      return method
    default:
      return new TypeError(`The method ${method} can't be sent by this client`)
  }
}
