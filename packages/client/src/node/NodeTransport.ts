/**
 * The transport for Node: over undici's `dispatch`, the cheapest way to a server there, or over `fetch` if undici isn't installed
 * or can't dispatch, as on Bun.
 *
 * **Details**
 *
 * Redirects are not followed. An abandoned exchange closes its connection. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are
 * honoured, in lower case first; a server on this machine is never asked through a proxy. A kept connection that the server
 * closed just as a request was written doesn't fail the request: it is sent again, once, unless it extends a lease.
 *
 * **Gotchas**
 *
 * Over `fetch` the connect timeout and the repetition don't apply; proxies are up to the runtime.
 */
import { CyclesTransport, fromStart } from "@effect-cycles/protocol/CyclesTransport"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import { layerHttpClient } from "../CyclesTransport.ts"
import { durationWithin } from "../internal/config/time.ts"
import * as Connections from "./internal/connections.ts"
import * as Dispatch from "./internal/dispatch.ts"
import * as Proxy from "./internal/proxy.ts"
import * as Undici from "./internal/undici.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A `Dispatcher` of undici. Described here, so that a program without undici, an optional peer, type-checks. */
export interface Dispatcher {
  dispatch(options: object, handler: object): boolean
}

/** How connections are made. */
export interface Options {
  /** How long connecting may take, 1 ms to 1 h. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How many connections to one server are open at once. Default 64. */
  readonly connections?: number | undefined
  /**
   * A dispatcher of undici, such as a `ProxyAgent` or one for a Unix socket, instead of the other options and the environment's
   * proxies. It isn't closed with the layer, and no request is sent again over it.
   */
  readonly dispatcher?: Dispatcher | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** The transport; its connections are closed with the layer. Options out of range throw a `RangeError`. */
export const layer = (options?: Options): Layer.Layer<CyclesTransport> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { dispatcher } = options ?? {}
      if (dispatcher !== undefined) {
        if (typeof dispatcher.dispatch !== "function") {
          throw new RangeError("dispatcher must be a Dispatcher of undici: it has no dispatch")
        }
        return Layer.succeed(CyclesTransport, over(Connections.over(dispatcher)))
      }
      const connectTimeoutMs = durationWithin("connectTimeout", options?.connectTimeout ?? "2 seconds", 1, 3_600_000)
      const connections = options?.connections ?? 64
      if (!Number.isInteger(connections) || connections < 1) {
        throw new RangeError(`connections must be an integer of at least 1, got ${connections}`)
      }
      const undici = yield* Undici.load
      if (undici === undefined) return Layer.provide(layerHttpClient, FetchHttpClient.layer)
      const proxies = Proxy.fromEnv(process.env)
      return Layer.effect(
        CyclesTransport,
        Effect.map(Connections.make(undici, { connectTimeoutMs, connections, proxies }), over)
      )
    })
  )

const over = (connections: Connections.Connections): CyclesTransport =>
  fromStart((request, _context, done) => Dispatch.start(connections, request, done))
