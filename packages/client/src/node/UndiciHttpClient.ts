/**
 * Effect's `HttpClient` over undici's `dispatch`, the cheapest way to the wire on Node: one suspension a request, no abort
 * controller, no span of its own, answers of JSON collected before they are handed on.
 *
 * Redirects are not followed. Interrupting a request closes its connection. A kept connection that the server closed just
 * as a request was written is no answer to that request; see `isRepeatable`.
 *
 * Source: ours.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Pipeable from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import { Readable } from "node:stream"
import type { Dispatcher } from "undici"
import * as Exchange from "../internal/transport/transport.ts"
import * as Transport from "../internal/transport/describe.ts"
import * as Connections from "./internal/connections.ts"
import * as Dispatch from "./internal/dispatch.ts"

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
  Effect.map(Connections.make(options), (connections) => {
    const client = HttpClient.makeWith<never, never, HttpClientError.HttpClientError, never>(
      (request) => Effect.flatMap(request, (request) => send(connections, request)),
      Effect.succeed
    )
    Exchange.setDirect(client, direct(connections))
    return client
  })

/** The `HttpClient` over undici. */
export const layer = (options?: Options): Layer.Layer<HttpClient.HttpClient> =>
  Layer.effect(HttpClient.HttpClient, make(options))

// ---------------------------------------------------------------------------------------------------------------------
// one request
// ---------------------------------------------------------------------------------------------------------------------

type Sent = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

/** JSON is handed on whole, with one suspension; anything else as it comes. */
const send = (connections: Connections.Connections, request: HttpClientRequest.HttpClientRequest): Sent =>
  Effect.callback((resume) => {
    const fail = (error: HttpClientError.HttpClientError): void => resume(Effect.fail(error))
    const giveUp = Dispatch.dispatch(connections, request, {
      open: (head) => {
        const answer = (body: Buffer | Readable): void =>
          resume(Effect.succeed(new UndiciResponse(request, head.status, head.headers, body)))
        const type = head.headers["content-type"]
        if (typeof type === "string" && type.startsWith("application/json")) {
          return Dispatch.collect(answer, (error) => fail(Dispatch.broken(request, error)))
        }
        const [readable, sink] = stream(head)
        answer(readable)
        return sink
      },
      fail
    })
    return Effect.sync(giveUp)
  })

/** A body that is read as it comes. Nothing more is taken from the connection than its reader asks for. */
const stream = ({ controller, isOver }: Dispatch.Head): readonly [Readable, Dispatch.Sink] => {
  const readable = new Readable({
    read: () => controller.resume(),
    destroy: (error, done) => {
      if (!isOver()) controller.abort(error ?? new Error("not read to the end"))
      done(error)
    }
  })
  // An answer may break off before anybody reads it; who reads it then is told.
  readable.on("error", () => {})
  return [
    readable,
    {
      push: (chunk) => {
        if (!readable.push(chunk)) controller.pause()
      },
      end: () => void readable.push(null),
      fail: (error) => void readable.destroy(error)
    }
  ]
}

/** The direct way: whole answers, told by a callback. */
const direct =
  (connections: Connections.Connections): Exchange.Way =>
  (request, _context, end) => {
    const fail = (error: HttpClientError.HttpClientError): void => end(Exit.fail(Transport.describe(error)))
    return Dispatch.dispatch(connections, request, {
      open: ({ headers, status }) =>
        Dispatch.collect(
          (bytes) =>
            end(Exit.succeed({ status, headers: Dispatch.singleHeaders(headers), text: bytes.toString("utf8") })),
          (error) => fail(Dispatch.broken(request, error))
        ),
      fail
    })
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
  readonly #raw: Dispatch.RawHeaders
  #body: Buffer | Readable
  #headers: Headers.Headers | undefined
  #web: HttpClientResponse.HttpClientResponse | undefined

  constructor(
    request: HttpClientRequest.HttpClientRequest,
    status: number,
    raw: Dispatch.RawHeaders,
    body: Buffer | Readable
  ) {
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
    return (this.#headers ??= Headers.fromRecordUnsafe(Dispatch.singleHeaders(this.#raw)))
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
        resume(
          Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.DecodeError({ request: this.request, response: this, cause })
            })
          )
        )
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

const webHeaders = (raw: Dispatch.RawHeaders): globalThis.Headers => {
  const headers = new globalThis.Headers()
  for (const [name, value] of Object.entries(raw)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) headers.append(name, one)
    }
  }
  return headers
}
