/**
 * Connections to a server: those that are kept, new ones for requests that are sent again, and those through a proxy.
 *
 * A server closes idle connections when it likes, also just as a request is written. Such an end differs from that of a
 * server that breaks while it works in two things: the connection had brought a response before, and not a byte came back
 * after the request was written. A byte of `100 Continue` counts.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type { buildConnector, Dispatcher } from "undici"
import * as Proxy from "./proxy.ts"
import type { Undici } from "./undici.ts"

/** The ways to a server. */
export interface Connections {
  readonly kept: (origin: string) => Sends
  /** Where a request is sent again: each gets a connection of its own there, if it asks for `reset`. */
  readonly fresh: (origin: string) => Sends
  /** Whether undici itself sends: then a request that it never started was never sent. */
  readonly isUndici: boolean
  /** Whether an error is the end of an idle connection that the server had closed. */
  readonly isStale: (error: Error) => boolean
}

/** The part of a dispatcher that is used. */
export interface Sends {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean
}

/** A dispatcher of the user's: it is not closed, and nothing is sent again. */
export const over = (dispatcher: Sends): Connections => ({
  kept: () => dispatcher,
  fresh: () => dispatcher,
  isUndici: false,
  isStale: () => false
})

/** Makes connections; they are closed with the scope. */
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
    const proxied = new Map<string, Sends>()
    for (const uri of Proxy.uris(options.proxies)) {
      proxied.set(
        uri,
        yield* closed(() => new undici.ProxyAgent({ ...common, uri, connectTimeout: options.connectTimeoutMs }))
      )
    }
    const chosen = new Map<string, Sends | undefined>()
    const proxyFor = (origin: string): Sends | undefined => {
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
      isUndici: true,
      isStale: (error) => stale.has(error)
    }
  })

/** Counts on the socket itself: undici writes requests by `write` and takes what has come, decrypted, by `read`. */
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
