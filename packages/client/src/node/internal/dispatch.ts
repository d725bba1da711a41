/**
 * One HTTP exchange over undici's `dispatch`, with callbacks only: without a fiber, a stream or an abort controller.
 *
 * If the server had closed a pooled connection just as the request was written, a repeatable request is sent once more
 * on a new connection. The response then has `attempts: 2`.
 */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import { failureOf, notSent, tooLarge } from "@effect-cycles/protocol/CyclesTransport"
import * as Exit from "effect/Exit"
import type { Dispatcher } from "undici"
import type * as Connections from "./connections.ts"

/** Starts an exchange. Returns a function that abandons it and closes its connection. */
export const start = (
  connections: Connections.Connections,
  request: TransportRequest,
  done: (exit: Exit.Exit<TransportResponse, TransportFailure>) => void
): (() => void) => {
  const parts = address.exec(request.url)
  if (parts === null) {
    done(Exit.fail(notSent("the URL must start with http:// or https://", undefined)))
    return nothing
  }
  const [, origin = "", rest = ""] = parts
  const exchange = new Exchange(connections, origin, rest.startsWith("/") ? rest : `/${rest}`, request, done)
  exchange.send()
  return () => exchange.abandon()
}

const address = /^(https?:\/\/[^/?#]+)([^#]*)/

const nothing = (): void => {}

type RawHeaders = Readonly<Record<string, string | Array<string> | undefined>>

class Exchange implements Dispatcher.DispatchHandler {
  readonly #connections: Connections.Connections
  readonly #origin: string
  readonly #path: string
  readonly #request: TransportRequest
  readonly #done: (exit: Exit.Exit<TransportResponse, TransportFailure>) => void
  readonly #chunks: Array<Buffer> = []
  #controller: Dispatcher.DispatchController | undefined
  #attempts = 0
  #status = 0
  #headers: RawHeaders = {}
  #size = 0
  /** Whether any byte of a response has arrived, including an interim response. */
  #hasResponse = false
  #isOver = false
  #isAbandoned = false

  constructor(
    connections: Connections.Connections,
    origin: string,
    path: string,
    request: TransportRequest,
    done: (exit: Exit.Exit<TransportResponse, TransportFailure>) => void
  ) {
    this.#connections = connections
    this.#origin = origin
    this.#path = path
    this.#request = request
    this.#done = done
    connections.batch.begin()
  }

  send(): void {
    this.#attempts += 1
    const { body, headers, method } = this.#request
    const isRepeat = this.#attempts > 1
    const options = { origin: this.#origin, path: this.#path, method, headers, body: body ?? null, reset: isRepeat }
    try {
      const dispatcher = isRepeat ? this.#connections.fresh : this.#connections.kept
      dispatcher(this.#origin).dispatch(options, this)
    } catch (error) {
      this.#fail(error)
    }
  }

  abandon(): void {
    this.#isAbandoned = true
    if (this.#isOver) return
    this.#end()
    this.#controller?.abort(new Error("abandoned"))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isOver) controller.abort(new Error("abandoned"))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: RawHeaders): void {
    this.#hasResponse = true
    if (status < 200) return
    this.#status = status
    this.#headers = headers
    if (Number(headers["content-length"]) > this.#request.maxResponseBytes) this.#refuse(controller)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return
    this.#size += chunk.byteLength
    if (this.#size > this.#request.maxResponseBytes) return this.#refuse(controller)
    this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    if (!this.#isOver) this.#end(() => this.#deliver())
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#isOver) return
    const wasLost = this.#attempts === 1 && !this.#hasResponse && this.#connections.isStale(error)
    if (wasLost && this.#request.isRepeatable) this.send()
    else this.#fail(error)
  }

  #deliver(): void {
    if (this.#isAbandoned) return
    const [first] = this.#chunks
    const bytes = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)
    this.#done(
      Exit.succeed({
        status: this.#status,
        headers: singleHeaders(this.#headers),
        body: bytes.toString("utf8"),
        attempts: this.#attempts
      })
    )
  }

  #refuse(controller: Dispatcher.DispatchController): void {
    this.#end()
    controller.abort(new Error("too large"))
    this.#done(Exit.fail(tooLarge(this.#request)))
  }

  #end(deliver?: () => void): void {
    this.#isOver = true
    this.#connections.batch.end(deliver)
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#end()
    const failure = failureOf(error)
    // The first request may have arrived, even if the repeated one wasn't sent.
    if (this.#attempts > 1) this.#done(Exit.fail({ ...failure, kind: "interrupted", mayHaveArrived: true }))
    else if (this.#controller === undefined && this.#connections.isUndici) {
      this.#done(Exit.fail(notSent(failure.kind === "unknown" ? messageOf(error) : failure.problem, error)))
    } else this.#done(Exit.fail(failure))
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : "the request was not sent")

/** Joins repeated headers. Most responses have none, and aren't copied. */
const singleHeaders = (raw: RawHeaders): TransportResponse["headers"] => {
  const headers: Record<string, string> = {}
  for (const name in raw) {
    const value = raw[name]
    if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ")
  }
  return headers
}
