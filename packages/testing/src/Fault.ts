/**
 * Faults between the client and the server: what happens to one request instead of a plain exchange.
 *
 * A test injects faults with `CyclesTest.inject` and `CyclesTest.always`.
 *
 * | fault                               | the server processes the request | the client gets                              |
 * | ----------------------------------- | -------------------------------- | -------------------------------------------- |
 * | `connectionRefused`                 | no                               | a failure; the request was never sent        |
 * | `requestLost`                       | no                               | a failure; the request may have arrived      |
 * | `responseLost`                      | yes                              | a failure; the request may have arrived      |
 * | `noResponse`                        | no                               | nothing                                      |
 * | `requestLate(d)`                    | after `d`                        | the response, after `d`                      |
 * | `late(d)`                           | at once                          | the response, after `d`                      |
 * | `denied`                            | no                               | a denial with the code `BUDGET_EXCEEDED`     |
 * | `error(status, code)`               | no                               | an error of the protocol                     |
 * | `status(status)`                    | no                               | an error page without a code                 |
 * | `response({ ... })`                 | no                               | this response                                |
 * | `garbage`                           | yes                              | status 200 and a page that isn't a response  |
 * | `replaced({ ... })`                 | yes                              | this response instead of the server's        |
 * | `duplicated`                        | twice                            | the second response                          |
 * | `none`                              | yes                              | the response                                 |
 *
 * **Gotchas**
 *
 * Late responses wait on Effect's `Clock`. In a test they arrive when the `TestClock` is advanced.
 *
 * @since 0.1.0
 */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import { failureOf } from "@effect-cycles/protocol/CyclesTransport"
import type { Name } from "@effect-cycles/protocol/Operations"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { fieldOf } from "./internal/body.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const TypeId = "~@effect-cycles/testing/Fault"

/**
 * A request that meets a fault.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The operation of the protocol, `undefined` for a path that the protocol doesn't have. */
  readonly operation: Name | undefined
  /** The request. Its headers hold the key. */
  readonly request: TransportRequest
  /** Sends the request to the server. It can be run more than once. */
  readonly send: Effect.Effect<TransportResponse, TransportFailure>
}

/**
 * What happens to a request instead of a plain exchange.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  readonly [TypeId]: typeof TypeId
  /** The name of the fault in error messages. */
  readonly name: string
  /** How many requests in a row meet the fault. 1 unless `times` changed it. */
  readonly times: number
  /** Returns the outcome of the exchange. A throw is a throw of the transport itself. */
  readonly run: (exchange: Exchange) => Effect.Effect<TransportResponse, TransportFailure>
}

/**
 * A response that a fault returns.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseOptions {
  /** 100 to 599. Default 200. */
  readonly status?: number | undefined
  /** A text is sent as it is; an object is sent as JSON. Default: an empty text. */
  readonly body?: string | object | undefined
  /** Lower-case names. The content type is JSON unless it is given. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a fault of your own from the exchange.
 *
 * @example
 * ```ts
 * import { Fault } from "@effect-cycles/testing"
 * import { Effect } from "effect"
 *
 * // The response arrives with another request id.
 * export const renamed = Fault.make("renamed", ({ send }) =>
 *   Effect.map(send, (response) => ({ ...response, headers: { ...response.headers, "x-request-id": "other" } }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: string, run: Fault["run"]): Fault => ({ [TypeId]: TypeId, name, times: 1, run })

/**
 * Lets a request through. It takes a place in the sequence of an `inject`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Fault = make("none", ({ send }) => send)

/**
 * The connection is refused: the request was never sent.
 *
 * @since 0.1.0
 * @category lost messages
 */
export const connectionRefused: Fault = make("connectionRefused", () => Effect.fail(broken("ECONNREFUSED")))

/**
 * The connection breaks before the server has read the request. The client can't distinguish it from `responseLost`.
 *
 * @since 0.1.0
 * @category lost messages
 */
export const requestLost: Fault = make("requestLost", () => Effect.fail(broken("ECONNRESET")))

/**
 * The server processes the request, and the connection breaks before the response arrives.
 *
 * @since 0.1.0
 * @category lost messages
 */
export const responseLost: Fault = make("responseLost", ({ send }) =>
  Effect.andThen(send, Effect.fail(broken("ECONNRESET")))
)

/**
 * The request is not processed and no response arrives. The client gives up at its `timeout`.
 *
 * @since 0.1.0
 * @category lost messages
 */
export const noResponse: Fault = make("noResponse", () => Effect.never)

/**
 * The server processes the request at once, and the response arrives after a delay. A delay beyond the client's `timeout` is
 * a timeout of a request that was processed.
 *
 * **Details**
 *
 * The delay passes on Effect's `Clock`. A negative or infinite delay throws a `RangeError`.
 *
 * @since 0.1.0
 * @category late messages
 */
export const late = (delay: Duration.Input): Fault => {
  const duration = finite("late", delay)
  return make(`late(${Duration.format(duration)})`, ({ send }) => Effect.tap(send, () => Effect.sleep(duration)))
}

/**
 * The request reaches the server after a delay, and the response arrives at once. The request is dropped if the client gives
 * up before.
 *
 * **Details**
 *
 * The delay passes on Effect's `Clock`. A negative or infinite delay throws a `RangeError`.
 *
 * @since 0.1.0
 * @category late messages
 */
export const requestLate = (delay: Duration.Input): Fault => {
  const duration = finite("requestLate", delay)
  return make(`requestLate(${Duration.format(duration)})`, ({ send }) => Effect.delay(send, duration))
}

/**
 * The budget denies the request with `BUDGET_EXCEEDED`: as a 409, or as the decision `DENY` for `decide` and dry runs. The
 * ledger doesn't change.
 *
 * @see `CyclesServer.denyWhen` for a rule that denies some requests only
 *
 * @since 0.1.0
 * @category responses
 */
export const denied: Fault = make("denied", ({ operation, request }) =>
  Effect.succeed(
    operation === "decide" || (operation === "reserve" && isDryRun(request))
      ? responseOf({ body: { decision: "DENY", reason_code: "BUDGET_EXCEEDED", affected_scopes: [] } })
      : errorOf(409, "BUDGET_EXCEEDED")
  )
)

/**
 * An error of the protocol: a status and an error code. The request is not processed.
 *
 * **Details**
 *
 * A status outside 400 to 599 throws a `RangeError`.
 *
 * @example
 * ```ts
 * import { Fault } from "@effect-cycles/testing"
 *
 * export const expired = Fault.error(410, "RESERVATION_EXPIRED")
 * export const throttled = Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "5" })
 * ```
 *
 * @see ErrorResponse of the protocol
 *
 * @since 0.1.0
 * @category responses
 */
export const error = (status: number, code: string, headers?: Readonly<Record<string, string>>): Fault => {
  checkStatus("error", status, 400)
  return make(`error(${status}, ${code})`, () => Effect.succeed(errorOf(status, code, headers)))
}

/**
 * A status without an error code, as a proxy returns it that doesn't forward the request.
 *
 * **Details**
 *
 * A status outside 100 to 599 throws a `RangeError`. For a proxy that forwarded the request use `replaced`.
 *
 * @since 0.1.0
 * @category responses
 */
export const status = (status: number): Fault => {
  checkStatus("status", status)
  return make(`status(${status})`, () => Effect.succeed(responseOf({ status, ...page })))
}

/**
 * A response in place of the server's. The request is not processed.
 *
 * @since 0.1.0
 * @category responses
 */
export const response = (options: ResponseOptions): Fault => {
  checkStatus("response", options.status ?? 200)
  return make("response", () => Effect.succeed(responseOf(options)))
}

/**
 * The server processes the request, and this response arrives instead of the server's.
 *
 * @since 0.1.0
 * @category responses
 */
export const replaced = (options: ResponseOptions): Fault => {
  checkStatus("replaced", options.status ?? 200)
  return make("replaced", ({ send }) => Effect.as(send, responseOf(options)))
}

/**
 * The server processes the request, and an HTML page with status 200 arrives instead of the response.
 *
 * @since 0.1.0
 * @category responses
 */
export const garbage: Fault = make("garbage", ({ send }) => Effect.as(send, responseOf(page)))

/**
 * The server gets the request twice, as from a network that repeats packets; the second response arrives.
 *
 * @since 0.1.0
 * @category responses
 */
export const duplicated: Fault = make("duplicated", ({ send }) => Effect.andThen(send, send))

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Repeats a fault for so many requests in a row, instead of 1.
 *
 * **Details**
 *
 * Anything but a whole number from 1 throws a `RangeError`. `CyclesTest.always` injects a fault without an end.
 *
 * @example
 * ```ts
 * import { Fault } from "@effect-cycles/testing"
 *
 * export const outage = Fault.times(Fault.status(503), 3)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const times: {
  (count: number): (self: Fault) => Fault
  (self: Fault, count: number): Fault
} = dual(2, (self: Fault, count: number): Fault => {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(`Fault.times expects a whole number from 1, and received ${count}`)
  }
  return { ...self, times: count }
})

// ---------------------------------------------------------------------------------------------------------------------
// internal
// ---------------------------------------------------------------------------------------------------------------------

const page = { body: "<html>an error page</html>", headers: { "content-type": "text/html" } }

const broken = (code: string): TransportFailure =>
  failureOf(Object.assign(new Error(`injected by the test: ${code}`), { code }))

const responseOf = ({ body = "", headers, status = 200 }: ResponseOptions): TransportResponse => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" ? body : JSON.stringify(body),
  attempts: 1
})

const errorOf = (status: number, code: string, headers?: Readonly<Record<string, string>>): TransportResponse =>
  responseOf({ status, headers, body: { error: code, message: "injected by the test", request_id: "injected" } })

const isDryRun = ({ body }: TransportRequest): boolean => fieldOf(body, "dry_run") === true

const finite = (name: string, delay: Duration.Input): Duration.Duration => {
  const duration = Duration.fromInputUnsafe(delay)
  if (!Number.isFinite(Duration.toMillis(duration)) || Duration.isNegative(duration)) {
    throw new RangeError(`Fault.${name} expects a finite duration from 0, and received ${Duration.format(duration)}`)
  }
  return duration
}

const checkStatus = (name: string, status: number, least = 100): void => {
  if (!Number.isInteger(status) || status < least || status > 599) {
    throw new RangeError(`Fault.${name} expects a status from ${least} to 599, and received ${status}`)
  }
}
