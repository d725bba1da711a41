/**
 * Connections to a server: pooled ones, new ones for repeated requests, and those through a proxy.
 *
 * A server may close an idle connection just as a request is written. Two conditions distinguish this from a server
 * that fails during a request: the connection has already carried a response, and the server has sent no byte since the
 * request was written, not even of `100 Continue`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type { buildConnector, Dispatcher } from "undici"
import * as Batch from "./batch.ts"
import * as Proxy from "./proxy.ts"
import type { Undici } from "./undici.ts"

/** The connections to a server. */
export interface Connections {
  /** The dispatcher for a first request, which may use an idle connection. */
  readonly kept: (origin: string) => Dispatching
  /** The dispatcher for a repeated request. With the option `reset`, each request gets a new connection. */
  readonly fresh: (origin: string) => Dispatching
  /** The exchanges in flight, and the responses that are delivered together. */
  readonly batch: Batch.Batch
  /** Whether undici itself sends the request. If so, a request that it never started was never sent. */
  readonly isUndici: boolean
  /** Whether the error means that the server had closed an idle connection. */
  readonly isStale: (error: Error) => boolean
}

/** The part of a dispatcher that the transport uses. */
export interface Dispatching {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean
}

/** The default timeout of connecting to the server. */
export const defaultConnectTimeout = Duration.seconds(2)

/** Uses a custom dispatcher. It isn't closed, and no request is repeated. */
export const over = (dispatcher: Dispatching): Connections => ({
  kept: () => dispatcher,
  fresh: () => dispatcher,
  batch: Batch.make(),
  isUndici: false,
  isStale: () => false
})

/** Makes connections, which are closed with the scope. */
export const make = (
  undici: Undici,
  options: { readonly connectTimeoutMs: number; readonly connections: number; readonly proxies: Proxy.Proxies }
): Effect.Effect<Connections, never, Scope.Scope> =>
  Effect.gen(function* () {
    const stale = new WeakSet<Error>()
    const connector = undici.buildConnector({ timeout: options.connectTimeoutMs })
    const connect: buildConnector.connector = (to, done) =>
      connector(to, (...made) => {
        const [error, socket] = made
        if (error === null && socket !== null) watch(socket, stale)
        done(...made)
      })
    const common = { connections: options.connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 }
    const closed = <A extends Dispatcher>(make: () => A) =>
      Effect.acquireRelease(Effect.sync(make), (made) => Effect.ignoreCause(Effect.promise(() => made.destroy())))
    const kept = yield* closed(() => new undici.Agent({ ...common, connect }))
    const fresh = yield* closed(() => new undici.Agent({ ...common, connect }))
    const proxied = new Map<string, Dispatching>()
    for (const uri of Proxy.uris(options.proxies)) {
      proxied.set(
        uri,
        yield* closed(() => new undici.ProxyAgent({ ...common, uri, connectTimeout: options.connectTimeoutMs }))
      )
    }
    const chosen = new Map<string, Dispatching | undefined>()
    const proxyFor = (origin: string): Dispatching | undefined => {
      if (proxied.size === 0) return undefined
      if (!chosen.has(origin)) {
        const uri = Proxy.uriFor(options.proxies, origin)
        chosen.set(origin, uri === undefined ? undefined : proxied.get(uri))
      }
      return chosen.get(origin)
    }
    return {
      kept: (origin) => proxyFor(origin) ?? kept,
      fresh: (origin) => proxyFor(origin) ?? fresh,
      batch: Batch.make(),
      isUndici: true,
      isStale: (error) => stale.has(error)
    }
  })

/**
 * Marks the errors of stale connections. It observes the socket itself: undici writes requests by `write`, and reads
 * decrypted responses by `read`.
 */
const watch = (socket: Socket, stale: WeakSet<Error>): void => {
  let hasRead = false
  let isKept = false
  const { read, write } = socket
  Object.assign(socket, {
    write: (...args: Parameters<Socket["write"]>): boolean => {
      isKept ||= hasRead
      hasRead = false
      return Reflect.apply(write, socket, args)
    },
    read: (size?: number): unknown => {
      const chunk: unknown = Reflect.apply(read, socket, [size])
      if (chunk !== null) hasRead = true
      return chunk
    }
  })
  socket.once("error", (error) => {
    if (isKept && !hasRead) stale.add(error)
  })
}
