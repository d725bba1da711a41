/**
 * A transport over the embedded server that applies the injected faults. A response takes 20 ms of virtual time.
 *
 * Faults of a transport that keeps its contract are those of `@effect-cycles/testing`; the others, which call back wrongly, throw
 * or end the process, can't be expressed there.
 */
import type { TransportFailure, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import type { CyclesServer } from "@effect-cycles/server/CyclesServer"
import { transport as serverTransport } from "@effect-cycles/server/CyclesServer"
import * as Fault from "@effect-cycles/testing/Fault"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { CyclesTransport, fromStart, make, send } from "effect-cycles/CyclesTransport"
import type { Injector } from "./faults.ts"
import { boom } from "./faults.ts"

type Done = (exit: Exit.Exit<TransportResponse, TransportFailure>) => void

/** How long a response takes, in milliseconds. */
const latencyMs = 20

/** Longer than the time limit of a call. */
const tooLateMs = 15_000

/** Within the time limit of a call. */
const slowMs = 9_500

/** The transport of one process. */
export const layer = (server: CyclesServer, injector: Injector): Layer.Layer<CyclesTransport> =>
  Layer.succeed(
    CyclesTransport,
    fromStart((request, context, done) => start(server, injector, request, context(), done))
  )

const start = (
  server: CyclesServer,
  injector: Injector,
  request: TransportRequest,
  context: Context.Context<never>,
  done: Done
): (() => void) => {
  let isAbandoned = false
  const abandon = (): void => {
    isAbandoned = true
  }
  const fault = injector.next("transport")
  const [kind = "", status = "", code = ""] = (fault ?? "").split(" ")
  if (kind === "crash") injector.crash()
  if (injector.isCrashed) return abandon

  const process = (): TransportResponse => respond(server, request, context)
  /** Calls back later. An abandoned exchange isn't called back, except by a transport that breaks its contract. */
  const later = (
    exit: () => Exit.Exit<TransportResponse, TransportFailure>,
    afterMs = latencyMs,
    evenAbandoned = false
  ) => {
    Effect.runForkWith(context)(
      Effect.andThen(
        Effect.sleep(afterMs),
        Effect.sync(() => {
          if (!injector.isCrashed && (evenAbandoned || !isAbandoned)) done(exit())
        })
      )
    )
    return abandon
  }
  const succeed = (response: TransportResponse, afterMs?: number, evenAbandoned?: boolean) =>
    later(() => Exit.succeed(response), afterMs, evenAbandoned)

  switch (kind) {
    case "loseRequest":
      return later(() => Exit.fail(reset))
    case "loseResponse":
      process()
      return later(() => Exit.fail(reset))
    case "hang":
      process()
      return abandon
    case "hangBefore":
      return abandon
    case "tooLate":
      return succeed(process(), tooLateMs, true)
    case "slow":
      return succeed(process(), slowMs)
    case "duplicate":
      process()
      return succeed({ ...process(), attempts: 2 })
    case "repeatedPage":
      process()
      return succeed({ ...page(Number(status)), attempts: 2 })
    case "garbage":
      return succeed({ ...process(), body: "<html>it works</html>" })
    case "emptyObject":
      return succeed({ ...process(), body: "{}" })
    case "wrongTypes":
      return succeed({ ...process(), body: '{"status":7,"charged":"much","reservation_id":[],"decision":null}' })
    case "doneTwice": {
      const response = process()
      succeed(response)
      return succeed(page(500), latencyMs, true)
    }
    case "doneWithNothing":
      process()
      // A transport without type checks may do this.
      return later(() => Reflect.get({}, "nothing"))
    case "doneWithGetters":
      return succeed(throwing(process()))
    case "attemptsMissing":
      return succeed({ ...process(), attempts: Number.NaN })
    case "throw":
      throw boom("transport")
    case "throwAfter":
      process()
      throw boom("transport")
    case "die":
      process()
      return later(() => Exit.die(boom("transport")))
    case "cancelThrows":
      succeed(process(), tooLateMs)
      return () => {
        isAbandoned = true
        throw boom("transport")
      }
    case "atOnce":
      done(Exit.succeed(process()))
      return abandon
    case "page":
      return succeed(page(Number(status)))
    case "pageAfter":
      process()
      return succeed(page(Number(status)))
    case "code":
      return succeed(refusal(Number(status), code))
    case "codeAfter":
      process()
      return succeed(refusal(Number(status), code))
    case "crashAfter":
      process()
      injector.crash()
      return abandon
    default:
      return succeed(process())
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

const respond = (
  server: CyclesServer,
  { body, headers, method, url }: TransportRequest,
  context: Context.Context<never>
): TransportResponse => {
  const { pathname, search } = new URL(url)
  const response = Effect.runSyncWith(context)(
    server.handle({ method, url: pathname + search, headers, body: body ?? "" })
  )
  return { ...response, attempts: 1 }
}

const reset: TransportFailure = {
  kind: "interrupted",
  mayHaveArrived: true,
  problem: "ECONNRESET",
  cause: Object.assign(new Error("reset"), { code: "ECONNRESET" })
}

/** A page of a proxy: no code of the protocol. */
const page = (status: number): TransportResponse => ({
  status,
  headers: { "content-type": "text/html" },
  body: "<html>an error page</html>",
  attempts: 1
})

const refusal = (status: number, code: string): TransportResponse => ({
  status,
  headers: { "content-type": "application/json", ...(status === 429 ? { "retry-after": "2" } : undefined) },
  body: JSON.stringify({ error: code, message: "refused by the test", request_id: "req" }),
  attempts: 1
})

/** A response whose parts can't be read. */
const throwing = (response: TransportResponse): TransportResponse =>
  Object.defineProperty({ ...response }, "body", {
    get: () => {
      throw boom("transport")
    }
  })
