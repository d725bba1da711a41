/**
 * The transport for Node, over undici's `dispatch`. If undici isn't installed or has no `dispatch`, as on Bun, it uses
 * `fetch`.
 *
 * **Details**
 *
 * - Redirects aren't followed.
 * - Abandoning an exchange closes its connection.
 * - `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are used, the lower-case variables first. A loopback address never uses
 *   a proxy.
 * - If the server closes an idle connection while a request is written, the request is sent once more on a new
 *   connection, unless it extends a lease.
 *
 * **Gotchas**
 *
 * With `fetch`, the connect timeout and the repetition don't apply, and the runtime chooses the proxy.
 *
 * @since 0.1.0
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

/**
 * The part of undici's `Dispatcher` that the transport uses. Declared here because undici is an optional peer
 * dependency.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dispatcher {
  /** Starts one exchange, as `Dispatcher.dispatch` of undici does. */
  dispatch(options: object, handler: object): boolean
}

/**
 * The options of the transport.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The timeout of connecting to the server, 1 ms to 1 h. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The number of open connections to the server, 1 or more. Default 64. */
  readonly connections?: number | undefined
  /**
   * A dispatcher of undici, such as a `ProxyAgent` or an `Agent` for a Unix socket. It replaces the client's own
   * connections and the proxies of the environment. It isn't closed with the layer, and the transport doesn't repeat
   * requests over it. Default: none.
   */
  readonly dispatcher?: Dispatcher | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides the transport. Its connections are closed with the layer. Dies with a `RangeError` if an option is out of
 * range.
 *
 * **Example** (Using the transport with another journal)
 *
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { Cycles, SettlementJournal } from "effect-cycles"
 * import { NodeTransport } from "effect-cycles/node"
 *
 * export const CyclesLive = Cycles.layer({
 *   baseUrl: "https://cycles.example.com",
 *   apiKey: Redacted.make("cyc_live_example")
 * }).pipe(Layer.provide([NodeTransport.layer({ connectTimeout: "1 second" }), SettlementJournal.layerMemory]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
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
      const connectTimeout = options?.connectTimeout ?? Connections.defaultConnectTimeout
      const connectTimeoutMs = durationWithin("connectTimeout", connectTimeout, 1, 3_600_000)
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
