/**
 * Effect's `HttpClient` over undici's `dispatch`, the cheapest way to the wire on Node: one suspension a request, no abort
 * controller, no span of its own, answers of JSON collected before they are handed on.
 *
 * Redirects are not followed. Interrupting a request closes its connection. A kept connection that the server closed just
 * as a request was written is no answer to that request: where the user says that it may be, it is sent again, once, on a
 * new connection.
 *
 * Source: ours.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as UrlParams from "effect/http/UrlParams"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Pipeable from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import type { Dispatcher } from "undici"
import * as Connections from "./internal/connections.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** How connections are made. */
export interface Options {
  /** How long connecting may take. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Connections to one origin. Default 64. */
  readonly connections?: number | undefined
  /**
   * Which requests may be sent again, once and on a new connection, when a connection that had been used before ended
   * without a byte of an answer. The server may have acted on the first one. Default: none.
   */
  readonly isRepeatable?: ((request: HttpClientRequest.HttpClientRequest) => boolean) | undefined
  /** A dispatcher of one's own, such as a `ProxyAgent` or one for a Unix socket. It is not closed with the layer, and repeats nothing. */
  readonly dispatcher?: Dispatcher | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a client; its connections are closed with the scope. */
export const make = (options?: Options): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.map(Connections.make(options), (connections) =>
    HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
      (request) => Effect.flatMap(request, (request) => send(connections, request)),
      Effect.succeed
    )
  )

/** The `HttpClient` over undici. */
export const layer = (options?: Options): Layer.Layer<HttpClient.HttpClient> =>
  Layer.effect(HttpClient.HttpClient, make(options))

// ---------------------------------------------------------------------------------------------------------------------
// one request
// ---------------------------------------------------------------------------------------------------------------------

type Sent = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

const send = (connections: Connections.Connections, request: HttpClientRequest.HttpClientRequest): Sent =>
  Effect.callback((resume) => {
    const url = originAndPath(request)
    if (url === undefined) {
      return resume(Effect.fail(failed(new HttpClientError.InvalidUrlError({ request }))))
    }
    let controller: Dispatcher.DispatchController | undefined
    let isAborted = false
    let isOver = false
    let hasAnswer = false
    let isRepeat = false
    const answer: Dispatcher.DispatchHandler = {
      onRequestStart: (started) => {
        controller = started
        if (isAborted) started.abort(new Error("interrupted"))
      },
      onResponseStart: (started, status, headers) => {
        hasAnswer = true
        if (status < 200) return
        const type = headers["content-type"]
        if (typeof type === "string" && type.startsWith("application/json")) collect(status, headers)
        else stream(started, status, headers)
      },
      onResponseData: (_controller, chunk) => sink.push(chunk),
      onResponseEnd: () => {
        isOver = true
        sink.end()
      },
      onResponseError: (_controller, error) => {
        if (!isRepeat && !hasAnswer && !isAborted && connections.isWorthRepeating(request, error)) {
          isRepeat = true
          dispatch()
          return
        }
        isOver = true
        sink.fail(error)
      }
    }

    const fail = (error: Error): void =>
      resume(Effect.fail(failed(new HttpClientError.TransportError({ request, cause: error }))))

    let sink: Sink = { push: () => {}, end: () => {}, fail }

    /** JSON is handed on whole. */
    const collect = (status: number, headers: RawHeaders): void => {
      const chunks: Array<Buffer> = []
      sink = {
        push: (chunk) => void chunks.push(chunk),
        end: () => {
          const first = chunks[0]
          const bytes = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
          resume(Effect.succeed(new UndiciResponse(request, status, headers, bytes)))
        },
        fail
      }
    }

    /** Anything else is handed on as it comes. */
    const stream = (started: Dispatcher.DispatchController, status: number, headers: RawHeaders): void => {
      const readable = new Readable({
        read: () => started.resume(),
        destroy: (error, done) => {
          if (!isOver) started.abort(error ?? new Error("not read to the end"))
          done(error)
        }
      })
      // An answer may break off before anybody reads it; who reads it then is told.
      readable.on("error", () => {})
      sink = {
        push: (chunk) => {
          if (!readable.push(chunk)) started.pause()
        },
        end: () => void readable.push(null),
        fail: (error) => void readable.destroy(error)
      }
      resume(Effect.succeed(new UndiciResponse(request, status, headers, readable)))
    }

    const options = optionsOf(url, request)
    if (options instanceof Error) {
      return resume(Effect.fail(failed(new HttpClientError.EncodeError({ request, cause: options }))))
    }
    const dispatch = (): void => {
      try {
        if (isRepeat) connections.fresh.dispatch({ ...options, reset: true }, answer)
        else connections.kept.dispatch(options, answer)
      } catch (error) {
        isOver = true
        fail(error instanceof Error ? error : new Error(String(error)))
      }
    }
    dispatch()

    return Effect.sync(() => {
      isAborted = true
      if (!isOver) controller?.abort(new Error("interrupted"))
    })
  })

/** Where the body of an answer goes. */
interface Sink {
  readonly push: (chunk: Buffer) => void
  readonly end: () => void
  readonly fail: (error: Error) => void
}

type RawHeaders = Readonly<Record<string, string | Array<string> | undefined>>

const failed = (reason: HttpClientError.HttpClientErrorReason): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({ reason })

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

interface Target {
  readonly origin: string
  readonly path: string
}

/** What undici is told, or why it can't be. */
const optionsOf = (
  target: Target,
  request: HttpClientRequest.HttpClientRequest
): Dispatcher.DispatchOptions | TypeError => {
  const method = methodOf(request.method)
  const body = bodyOf(request)
  if (method instanceof Error) return method
  if (body instanceof Error) return body
  return { origin: target.origin, path: target.path, method, headers: headersOf(request), body }
}

const originAndPath = ({ url, urlParams }: HttpClientRequest.HttpClientRequest): Target | undefined => {
  const host = url.startsWith("http://") ? 7 : url.startsWith("https://") ? 8 : undefined
  if (host === undefined) return undefined
  const length = url.slice(host).search(/[/?#]|$/)
  if (length === 0) return undefined
  const [rest = ""] = url.slice(host + length).split("#", 1)
  const path = rest.startsWith("/") ? rest : `/${rest}`
  const params = UrlParams.toString(urlParams)
  return {
    origin: url.slice(0, host + length),
    path: params === "" ? path : `${path}${path.includes("?") ? "&" : "?"}${params}`
  }
}

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

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

/** An answer whose parts are made when they are asked for: most calls need its text and three headers. */
class UndiciResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId] = HttpClientResponse.TypeId
  readonly request: HttpClientRequest.HttpClientRequest
  readonly status: number
  readonly remoteAddress = Option.none<string>()
  readonly #raw: RawHeaders
  #body: Buffer | Readable
  #headers: Headers.Headers | undefined
  #web: HttpClientResponse.HttpClientResponse | undefined

  constructor(request: HttpClientRequest.HttpClientRequest, status: number, raw: RawHeaders, body: Buffer | Readable) {
    super()
    this.request = request
    this.status = status
    this.#raw = raw
    this.#body = body
  }

  get url(): string {
    return this.request.url
  }

  get headers(): Headers.Headers {
    return (this.#headers ??= Headers.fromRecordUnsafe(singleHeaders(this.#raw)))
  }

  get text(): HttpClientResponse.HttpClientResponse["text"] {
    const body = this.#body
    if (Buffer.isBuffer(body)) return Effect.sync(() => body.toString("utf8"))
    if (this.#web !== undefined) return this.#web.text
    return Effect.map(this.#collect(body), (bytes) => {
      this.#body = bytes
      return bytes.toString("utf8")
    })
  }

  get cookies(): HttpClientResponse.HttpClientResponse["cookies"] {
    return this.#full.cookies
  }

  get json(): HttpClientResponse.HttpClientResponse["json"] {
    return this.#full.json
  }

  get arrayBuffer(): HttpClientResponse.HttpClientResponse["arrayBuffer"] {
    return this.#full.arrayBuffer
  }

  get urlParamsBody(): HttpClientResponse.HttpClientResponse["urlParamsBody"] {
    return this.#full.urlParamsBody
  }

  get formData(): HttpClientResponse.HttpClientResponse["formData"] {
    return this.#full.formData
  }

  get stream(): HttpClientResponse.HttpClientResponse["stream"] {
    return this.#full.stream
  }

  get upgrade(): HttpClientResponse.HttpClientResponse["upgrade"] {
    return this.#full.upgrade
  }

  /** The body, whole. Interrupting it closes the connection, which the web's way of reading would keep. */
  #collect(body: Readable): Effect.Effect<Buffer, HttpClientError.HttpClientError> {
    return Effect.callback((resume) => {
      const fail = (cause: unknown): void =>
        resume(Effect.fail(failed(new HttpClientError.DecodeError({ request: this.request, response: this, cause }))))
      if (body.destroyed) return fail(body.errored ?? new Error("the answer was given up"))
      const chunks: Array<Buffer> = []
      body.on("data", (chunk: Buffer) => chunks.push(chunk))
      body.on("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
      body.on("error", fail)
      return Effect.sync(() => body.destroy())
    })
  }

  /** The answer as the web has it, for all that is seldom asked for. */
  get #full(): HttpClientResponse.HttpClientResponse {
    return (this.#web ??= HttpClientResponse.fromWeb(
      this.request,
      new globalThis.Response(hasNoBody.has(this.status) ? null : webBody(this.#body), {
        status: this.status,
        headers: webHeaders(this.#raw)
      })
    ))
  }

  pipe() {
    return Pipeable.pipeArguments(this, arguments)
  }

  override toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
  }
}

const hasNoBody: ReadonlySet<number> = new Set([204, 205, 304])

const webBody = (body: Buffer | Readable): ConstructorParameters<typeof globalThis.Response>[0] =>
  Buffer.isBuffer(body) ? new Uint8Array(body) : Readable.toWeb(body)

/** Each header once. Their names come in lower case. */
const singleHeaders = (raw: RawHeaders): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const name in raw) {
    const value = raw[name]
    if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ")
  }
  return headers
}

const webHeaders = (raw: RawHeaders): globalThis.Headers => {
  const headers = new globalThis.Headers()
  for (const [name, value] of Object.entries(raw)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) headers.append(name, one)
    }
  }
  return headers
}
