/**
 * Faults between the client and the server. A fault replaces the normal exchange of one request.
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
  /** The operation of the protocol; `undefined` if the protocol doesn't have the path. */
  readonly operation: Name | undefined
  /** The request. Its headers contain the API key. */
  readonly request: TransportRequest
  /** Sends the request to the server. It can be run more than once. */
  readonly send: Effect.Effect<TransportResponse, TransportFailure>
}

/**
 * A replacement for the normal exchange of a request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  /** Identifies the type. */
  readonly [TypeId]: typeof TypeId
  /** The name of the fault in error messages. */
  readonly name: string
  /** How many requests in a row meet the fault. 1 unless `times` changed it. */
  readonly times: number
  /** Returns the outcome of the exchange. If it throws, the transport throws. */
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
  /** A string is used as it is; an object is encoded as JSON. Default: an empty string. */
  readonly body?: string | object | undefined
  /** Lower-case names. The default `content-type` is `application/json`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a custom fault from a function of the exchange.
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
 * Lets a request through. It uses up one position in the sequence that `inject` takes.
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
 * The server processes the request at once, and the response arrives after a delay. If the delay exceeds the client's
 * `timeout`, the client times out although the request was processed.
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
 * The request reaches the server after a delay, and the response arrives at once. If the client times out
 * first, the request never reaches the server.
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
 * The request is denied with `BUDGET_EXCEEDED`: with status 409, or with the decision `DENY` for `decide` and dry runs. The
 * ledger doesn't change.
 *
 * @see `CyclesServer.denyWhen` for a rule that denies only some requests
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
 * A status without an error code, like the response of a proxy that doesn't forward the request.
 *
 * **Details**
 *
 * A status outside 100 to 599 throws a `RangeError`. For a proxy that forwards the request, use `replaced`.
 *
 * @since 0.1.0
 * @category responses
 */
export const status = (status: number): Fault => {
  checkStatus("status", status)
  return make(`status(${status})`, () => Effect.succeed(responseOf({ status, ...page })))
}

/**
 * This response arrives, and the request isn't processed.
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
 * The server gets the request twice, one after the other, and the client gets the second response.
 *
 * @since 0.1.0
 * @category responses
 */
export const duplicated: Fault = make("duplicated", ({ send }) => Effect.andThen(send, send))

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Applies a fault to `count` requests in a row, instead of one.
 *
 * **Details**
 *
 * Throws a `RangeError` unless `count` is a positive integer. `CyclesTest.always` applies a fault without a limit.
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
