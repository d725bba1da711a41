/**
 * Faults from outside: an `HttpClient` over another one that loses, delays, repeats and garbles what it is told to, and
 * keeps a log of what was sent.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"

/** What goes wrong with one request. */
export type Fault =
  | { readonly _tag: "LoseRequest" }
  | { readonly _tag: "LoseAnswer" }
  | { readonly _tag: "Hang" }
  | { readonly _tag: "Delay"; readonly ms: number }
  /** The request is processed at once; the response takes a while. */
  | { readonly _tag: "DelayResponse"; readonly ms: number }
  | { readonly _tag: "Duplicate" }
  | { readonly _tag: "Garble"; readonly body: string; readonly status?: number }
  | {
      readonly _tag: "Answer"
      readonly status: number
      readonly body: object
      readonly headers?: Record<string, string>
    }

/** A request as it was sent. */
export interface Sent {
  readonly operation: string
  readonly path: string
  readonly key: string | undefined
  readonly body: string
}

/** Plans faults and shows what was sent. */
export class Faults extends Context.Service<
  Faults,
  {
    /** The next requests of an operation meet these faults, one each; `undefined` lets one through. */
    readonly plan: (operation: string, ...faults: ReadonlyArray<Fault | undefined>) => void
    /** Every request of an operation meets this fault, after the planned ones. */
    readonly always: (operation: string, fault: Fault | undefined) => void
    readonly sent: () => ReadonlyArray<Sent>
    readonly operations: () => ReadonlyArray<string>
  }
>()("test/Faults") {}

/** An error page of a proxy: the request was processed, and the response is not the server's. */
export const pageAfter = (status: number): Fault => ({ _tag: "Garble", status, body: "<html>an error page</html>" })

/** An error page of a proxy that did not forward the request. */
export const page = (status: number): Fault => ({ _tag: "Answer", status, body: {} })

/** An error of the protocol, as an answer. */
export const refuse = (status: number, code: string, headers?: Record<string, string>): Fault => ({
  _tag: "Answer",
  status,
  body: { error: code, message: code, request_id: "req" },
  ...(headers === undefined ? undefined : { headers })
})

const operationOf = (method: string, path: string): string => {
  const match = /^\/v1\/([a-z]+)(?:\/([^/?]+))?(?:\/([a-z]+))?/.exec(path)
  if (match?.[1] === "reservations") {
    if (match[3] !== undefined) return match[3]
    if (match[2] !== undefined) return "get"
    return method === "POST" ? "reserve" : "list"
  }
  return match?.[1] ?? path
}

const textOf = (request: HttpClientRequest.HttpClientRequest): string =>
  request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""

const keyOf = (body: string): string | undefined => {
  const key: unknown = body === "" ? undefined : JSON.parse(body)["idempotency_key"]
  return typeof key === "string" ? key : undefined
}

/** The faulty client, over the one that is there. */
export const layer: Layer.Layer<Faults | HttpClient.HttpClient, never, HttpClient.HttpClient> = Layer.effectContext(
  Effect.map(HttpClient.HttpClient, (inner) => {
    const planned = new Map<string, Array<Fault | undefined>>()
    const standing = new Map<string, Fault>()
    const log: Array<Sent> = []
    const client = HttpClient.make((request, url) => {
      const path = url.pathname + url.search
      const operation = operationOf(request.method, path)
      const body = textOf(request)
      log.push({ operation, path, key: keyOf(body), body })
      const queue = planned.get(operation)
      const fault = queue !== undefined && queue.length > 0 ? queue.shift() : standing.get(operation)
      const pass = inner.execute(request)
      const lost = Effect.fail(
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.TransportError({
            request,
            cause: Object.assign(new Error("reset"), { code: "ECONNRESET" })
          })
        })
      )
      const answer = (status: number, text: string, headers?: Record<string, string>) =>
        Effect.succeed(
          Object.defineProperty(
            HttpClientResponse.fromWeb(
              request,
              new Response(text, { status, headers: { "content-type": "application/json", ...headers } })
            ),
            "text",
            { value: Effect.succeed(text) }
          )
        )
      switch (fault?._tag) {
        case undefined:
          return pass
        case "LoseRequest":
          return lost
        case "LoseAnswer":
          return Effect.andThen(pass, lost)
        case "Hang":
          return Effect.never
        case "Delay":
          return Effect.delay(pass, fault.ms)
        case "DelayResponse":
          return Effect.tap(pass, () => Effect.sleep(fault.ms))
        case "Duplicate":
          return Effect.andThen(pass, pass)
        case "Garble":
          return Effect.andThen(pass, answer(fault.status ?? 200, fault.body))
        case "Answer":
          return answer(fault.status, JSON.stringify(fault.body), fault.headers)
      }
    })
    return Context.make(HttpClient.HttpClient, client).pipe(
      Context.add(Faults, {
        plan: (operation, ...faults) => void planned.set(operation, [...faults]),
        always: (operation, fault) =>
          void (fault === undefined ? standing.delete(operation) : standing.set(operation, fault)),
        sent: () => log,
        operations: () => log.map((sent) => sent.operation)
      })
    )
  })
)
