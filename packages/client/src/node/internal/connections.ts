/**
 * Connections to a server: those that are kept, and new ones for requests that are sent again.
 *
 * A server closes connections when it likes, also just as a request is written. Such an end is told from a server that
 * broke while it worked by two things: the connection had brought answers before, and not a byte of this one came.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Scope from "effect/Scope"
import type { Dispatcher } from "undici"
import { Agent, buildConnector } from "undici"
import type { Options } from "../UndiciHttpClient.ts"

/** The ways to a server. */
export interface Connections {
  readonly kept: Dispatcher
  /** Where a request is sent again: each gets a connection of its own there, if it asks for `reset`. */
  readonly fresh: Dispatcher
  /** Whether a request, of whose answer nothing has come, is to be sent again after this end of its connection. */
  readonly isWorthRepeating: (request: HttpClientRequest.HttpClientRequest, error: Error) => boolean
}

/** Makes them; they are closed with the scope, a dispatcher of the user's own is not. */
export const make = (options: Options | undefined): Effect.Effect<Connections, never, Scope.Scope> => {
  if (options?.dispatcher !== undefined) {
    const { dispatcher } = options
    return Effect.succeed({ kept: dispatcher, fresh: dispatcher, isWorthRepeating: () => false })
  }
  const ends = new WeakSet<Error>()
  const connector = buildConnector({ timeout: Duration.toMillis(options?.connectTimeout ?? "2 seconds") })
  const connect: buildConnector.connector = (to, done) =>
    connector(to, (...made) => {
      const [error, socket] = made
      if (error === null && socket !== null) {
        const bytesAtFirst = socket.bytesRead
        socket.once("error", (error) => {
          if (socket.bytesRead > bytesAtFirst) ends.add(error)
        })
      }
      done(...made)
    })
  const agent = Effect.acquireRelease(
    Effect.sync(
      () =>
        new Agent({
          connections: options?.connections ?? 64,
          pipelining: 1,
          headersTimeout: 0,
          bodyTimeout: 0,
          connect
        })
    ),
    (agent) => Effect.promise(() => agent.destroy())
  )
  const isRepeatable = options?.isRepeatable ?? (() => false)
  return Effect.map(Effect.all([agent, agent]), ([kept, fresh]) => ({
    kept,
    fresh,
    isWorthRepeating: (request, error) => ends.has(error) && request.body._tag !== "Stream" && isRepeatable(request)
  }))
}
