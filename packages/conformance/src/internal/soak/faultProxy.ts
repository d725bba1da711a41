/** A proxy on the loopback interface that applies a fault to some of the requests. All connections are sockets. */
import * as Fault from "@effect-cycles/testing/Fault"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as NodeTransport from "effect-cycles/node/NodeTransport"
import * as Loopback from "../loopback.ts"

/** The proxy. */
export interface FaultProxy {
  readonly url: string
  /** From now on no request meets a fault. */
  readonly stopFaults: Effect.Effect<void>
}

/** Faults that end by themselves, so that a later attempt succeeds. */
const faults: ReadonlyArray<Fault.Fault> = [
  Fault.requestLost,
  Fault.responseLost,
  Fault.noResponse,
  Fault.late("300 millis"),
  Fault.requestLate("300 millis"),
  Fault.garbage,
  Fault.duplicated,
  Fault.status(502),
  Fault.error(500, "INTERNAL_ERROR"),
  Fault.error(503, "INTERNAL_ERROR"),
  Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "1" })
]

/** Starts a proxy of a server. `rate` is the share of requests with a fault; `onFault` is called for each of them. */
export const make = (
  serverUrl: string,
  connections: number,
  rate: number,
  onFault: (name: string) => void
): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const transport = Context.get(
      yield* Layer.build(NodeTransport.layer({ connections })),
      CyclesTransport.CyclesTransport
    )
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    let isStopped = false

    const exchange = Effect.fnUntraced(function* (request: CyclesTransport.TransportRequest) {
      const send = CyclesTransport.send(transport, request)
      if (isStopped || (yield* Random.next) >= rate) return yield* send
      const fault = faults[yield* Random.nextIntBetween(0, faults.length, { halfOpen: true })] ?? Fault.none
      onFault(fault.name)
      return yield* fault.run({ operation: undefined, request, send })
    })

    const url = yield* Loopback.listen(0, (incoming, text, outgoing) => {
      const { headers, method, url } = Loopback.requestOf(incoming, text)
      const fiber = runFork(
        exchange({
          method: method === "POST" ? "POST" : "GET",
          url: `${serverUrl}${url}`,
          headers: endToEnd(headers),
          body: text === "" ? undefined : text,
          isRepeatable: false,
          maxResponseBytes: Number.MAX_SAFE_INTEGER
        })
      )
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) {
          const { body, headers, status } = exit.value
          outgoing.writeHead(status, endToEnd(headers)).end(body)
        } else outgoing.destroy()
      })
      outgoing.once("close", () => runFork(Fiber.interrupt(fiber)))
    })
    return { url, stopFaults: Effect.sync(() => void (isStopped = true)) }
  })

/** The headers without those of one connection. */
const endToEnd = (headers: Readonly<Record<string, string | undefined>>): Record<string, string> => {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !ofConnection.has(name)) kept[name] = value
  }
  return kept
}

const ofConnection: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "transfer-encoding"
])
