/**
 * Faults from outside: a transport around another one that loses, delays, repeats and garbles the requests that a test
 * names, and keeps a log of what was sent.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CyclesTransport } from "effect-cycles"

/** What goes wrong with one request. */
export type Fault =
  | { readonly _tag: "LoseRequest" }
  | { readonly _tag: "LoseAnswer" }
  | { readonly _tag: "Hang" }
  | { readonly _tag: "Delay"; readonly ms: number }
  /** The request is processed at once; the response takes a while. */
  | { readonly _tag: "DelayResponse"; readonly ms: number }
  | { readonly _tag: "Duplicate" }
  /** The first response is lost, the transport repeats the request by itself, and this comes back. */
  | { readonly _tag: "Repeat"; readonly status: number; readonly body: string }
  | { readonly _tag: "Garble"; readonly body: string; readonly status?: number }
  | {
      readonly _tag: "Answer"
      readonly status: number
      readonly body: object
      readonly headers?: Record<string, string>
    }
  /** The transport itself misbehaves. */
  | { readonly _tag: "Custom"; readonly start: CyclesTransport.CyclesTransport["start"] }

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

/** An error of the protocol, as a response. */
export const refuse = (status: number, code: string, headers?: Record<string, string>): Fault => ({
  _tag: "Answer",
  status,
  body: { error: code, message: code, request_id: "req" },
  ...(headers === undefined ? undefined : { headers })
})

/** An error page of a proxy: the request was processed, and the response is not the server's. */
export const pageAfter = (status: number): Fault => ({ _tag: "Garble", status, body: "<html>an error page</html>" })

/** An error page of a proxy that did not forward the request. */
export const page = (status: number): Fault => ({ _tag: "Answer", status, body: {} })

const operationOf = (method: string, path: string): string => {
  const match = /^\/v1\/([a-z]+)(?:\/([^/?]+))?(?:\/([a-z]+))?/.exec(path)
  if (match?.[1] === "reservations") {
    if (match[3] !== undefined) return match[3]
    if (match[2] !== undefined) return "get"
    return method === "POST" ? "reserve" : "list"
  }
  return match?.[1] ?? path
}

const keyOf = (body: string): string | undefined => {
  const key: unknown = body === "" ? undefined : JSON.parse(body)["idempotency_key"]
  return typeof key === "string" ? key : undefined
}

/** Does to a request what a fault says. */
const meet = (
  inner: CyclesTransport.CyclesTransport,
  request: CyclesTransport.TransportRequest,
  fault: Exclude<Fault, { readonly _tag: "Custom" }> | undefined
): Effect.Effect<CyclesTransport.TransportResponse, CyclesTransport.TransportFailure> => {
  const pass = CyclesTransport.send(inner, request)
  const lost = Effect.fail(CyclesTransport.failureOf(Object.assign(new Error("reset"), { code: "ECONNRESET" })))
  const respond = (status: number, body: string, headers?: Record<string, string>, attempts = 1) =>
    Effect.succeed({ status, headers: { "content-type": "application/json", ...headers }, body, attempts })
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
    case "Repeat":
      return Effect.andThen(pass, respond(fault.status, fault.body, undefined, 2))
    case "Garble":
      return Effect.andThen(pass, respond(fault.status ?? 200, fault.body))
    case "Answer":
      return respond(fault.status, JSON.stringify(fault.body), fault.headers)
  }
}

/** The faulty transport, over the one that is there. */
export const layer: Layer.Layer<Faults | CyclesTransport.CyclesTransport, never, CyclesTransport.CyclesTransport> =
  Layer.effectContext(
    Effect.map(CyclesTransport.CyclesTransport, (inner) => {
      const planned = new Map<string, Array<Fault | undefined>>()
      const standing = new Map<string, Fault>()
      const log: Array<Sent> = []
      const transport = CyclesTransport.fromStart((request, context, done) => {
        const { pathname, search } = new URL(request.url)
        const path = pathname + search
        const operation = operationOf(request.method, path)
        const body = request.body ?? ""
        log.push({ operation, path, key: keyOf(body), body })
        const queue = planned.get(operation)
        const fault = queue !== undefined && queue.length > 0 ? queue.shift() : standing.get(operation)
        if (fault?._tag === "Custom") return fault.start(request, context, done)
        return CyclesTransport.make((request) => meet(inner, request, fault)).start(request, context, done)
      })
      return Context.make(CyclesTransport.CyclesTransport, transport).pipe(
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
