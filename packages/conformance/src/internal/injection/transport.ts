/**
 * A transport over the embedded server that applies the injected faults. A response takes 20 ms of virtual time.
 *
 * Faults of a transport that keeps its contract are those of `@effect-cycles/testing`; the others, which call back wrongly,
 * throw or end the process, can't be expressed there.
 */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import type { CyclesServer } from "@effect-cycles/server/CyclesServer"
import { transport as serverTransport } from "@effect-cycles/server/CyclesServer"
import * as Fault from "@effect-cycles/testing/Fault"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { CyclesTransport, fromStart, make, send } from "effect-cycles/CyclesTransport"
import type { Injector } from "./faults.ts"
import { injectedDefect } from "./faults.ts"

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
    fromStart((request, context, done) => start(server, injector, request, context, done))
  )

const start = (
  server: CyclesServer,
  injector: Injector,
  request: TransportRequest,
  context: () => Context.Context<never>,
  done: Done
): (() => void) => {
  const [kind = "", status = "", code = ""] = (injector.next("transport") ?? "").split(" ")
  if (kind === "crash") injector.crash()
  if (injector.isCrashed) return () => {}
  const respond = send(serverTransport(server), request)

  /** Runs an exchange, and calls back after the latency. A process that was killed isn't called back. */
  const exchange = (outcome: Effect.Effect<TransportResponse, TransportFailure>, done: Done, afterMs = latencyMs) =>
    make(() => Effect.flatten(Effect.tap(Effect.exit(outcome), () => Effect.sleep(afterMs)))).start(
      request,
      context,
      (exit) => {
        if (!injector.isCrashed) done(exit)
      }
    )

  switch (kind) {
    case "tooLate":
      exchange(respond, done, tooLateMs)
      return () => {}
    case "doneTwice": {
      const abandon = exchange(respond, done)
      exchange(Effect.succeed({ ...htmlPage, status: 500, attempts: 1 }), done)
      return abandon
    }
    case "doneWithNothing":
      // A transport without type checks may do this.
      return exchange(respond, () => done(Reflect.get({}, "nothing")))
    case "doneWithGetters":
      return exchange(Effect.map(respond, throwing), done)
    case "throw":
      throw injectedDefect("transport")
    case "throwAfter":
      exchange(respond, () => {})
      throw injectedDefect("transport")
    case "cancelThrows": {
      const abandon = exchange(respond, done, tooLateMs)
      return () => {
        abandon()
        throw injectedDefect("transport")
      }
    }
    case "atOnce":
      return make(() => respond).start(request, context, done)
    case "crashAfter":
      exchange(respond, () => {})
      injector.crash()
      return () => {}
    default:
      return exchange(faultOf(kind, Number(status), code).run({ operation: undefined, request, send: respond }), done)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// faults
// ---------------------------------------------------------------------------------------------------------------------

/** The fault of a kind that a transport can have without breaking its contract. */
const faultOf = (kind: string, status: number, code: string): Fault.Fault => {
  switch (kind) {
    case "loseRequest":
      return Fault.requestLost
    case "loseResponse":
      return Fault.responseLost
    case "hang":
      return Fault.make("hang", ({ send }) => Effect.andThen(send, Effect.never))
    case "hangBefore":
      return Fault.noResponse
    case "slow":
      return Fault.late(slowMs - latencyMs)
    case "duplicate":
      return Fault.make("duplicate", ({ send }) => Effect.map(Effect.andThen(send, send), repeated))
    case "repeatedPage":
      return Fault.make("repeatedPage", ({ send }) => Effect.as(send, repeated({ ...htmlPage, status, attempts: 1 })))
    case "garbage":
      return Fault.garbage
    case "emptyObject":
      return Fault.replaced({ body: {} })
    case "wrongTypes":
      return Fault.replaced({ body: { status: 7, charged: "much", reservation_id: [], decision: null } })
    case "attemptsMissing":
      return Fault.make(kind, ({ send }) => Effect.map(send, (response) => ({ ...response, attempts: Number.NaN })))
    case "die":
      return Fault.make("die", ({ send }) => Effect.andThen(send, Effect.die(injectedDefect("transport"))))
    case "page":
      return Fault.status(status)
    case "pageAfter":
      return Fault.replaced({ ...htmlPage, status })
    case "code":
      return Fault.error(status, code, status === 429 ? { "retry-after": "2" } : undefined)
    case "codeAfter":
      return Fault.replaced({ status, body: { error: code, message: "injected by the test", request_id: "injected" } })
    default:
      return Fault.none
  }
}

const htmlPage = { body: "<html>an error page</html>", headers: { "content-type": "text/html" } }

/** A response to the second attempt of a transport that repeats a request. */
const repeated = (response: TransportResponse): TransportResponse => ({ ...response, attempts: 2 })

/** A response whose body can't be read. */
const throwing = (response: TransportResponse): TransportResponse =>
  Object.defineProperty({ ...response }, "body", {
    get: () => {
      throw injectedDefect("transport")
    }
  })
