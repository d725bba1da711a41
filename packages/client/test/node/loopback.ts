/**
 * An HTTP server on a free port of the loopback interface, for as long as a scope is open.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { listening } from "../support/listening.ts"

/** A server and its request log. */
export interface Loopback {
  readonly url: string
  /** Method and path of each request. */
  readonly requests: ReadonlyArray<string>
  /** The headers of each request. */
  readonly headers: ReadonlyArray<Http.IncomingHttpHeaders>
  /** The body of each request that was read to its end. */
  readonly bodies: ReadonlyArray<string>
  /** Every connection that was made. */
  readonly sockets: ReadonlyArray<Socket>
  /** Waits until the first request has arrived. */
  readonly arrived: Effect.Effect<void>
  /** Waits until every connection that was made is closed. */
  readonly closed: Effect.Effect<void>
}

/** Handles each request with `response`, which gets the number of the request, from 1. */
export const listen = (
  response: (outgoing: Http.ServerResponse, count: number) => void,
  configure?: (server: Http.Server) => void
): Effect.Effect<Loopback, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<string> = []
    const headers: Array<Http.IncomingHttpHeaders> = []
    const bodies: Array<string> = []
    const sockets: Array<Socket> = []
    const first = yield* Deferred.make<void>()
    const server = Http.createServer((incoming, outgoing) => {
      requests.push(`${incoming.method} ${incoming.url}`)
      headers.push(incoming.headers)
      const count = requests.length
      const chunks: Array<Buffer> = []
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
      incoming.on("end", () => {
        bodies.push(Buffer.concat(chunks).toString("utf8"))
        response(outgoing, count)
        Deferred.doneUnsafe(first, Effect.void)
      })
    })
    configure?.(server)
    server.on("connection", (socket) => {
      sockets.push(socket)
      socket.on("error", () => {})
    })
    return {
      url: yield* listening(server),
      requests,
      headers,
      bodies,
      sockets,
      arrived: Deferred.await(first),
      closed: Effect.suspend(() =>
        Effect.forEach(
          sockets.filter((socket) => !socket.destroyed),
          (socket) =>
            Effect.callback<void>((resume) => {
              socket.once("close", () => resume(Effect.void))
            }),
          { discard: true }
        )
      )
    }
  })

/** An address without a listener: its server was closed. */
export const refusingUrl: Effect.Effect<string> = Effect.scoped(
  Effect.map(
    listen(() => {}),
    ({ url }) => url
  )
)
