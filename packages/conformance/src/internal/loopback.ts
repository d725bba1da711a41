/**
 * A small HTTP server on the loopback interface, for as long as a scope is open.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"

/** Answers a request whose body has been read. */
export type Listener = (incoming: Http.IncomingMessage, body: string, outgoing: Http.ServerResponse) => void

/** Whether a request is to be read and answered; called when its head has arrived. */
export type Doorkeeper = (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => boolean

/** Listens on a port, 0 takes a free one, and returns the address. */
export const listen = (
  port: number,
  answer: Listener,
  isServed: Doorkeeper = () => true
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const server = Http.createServer((incoming, outgoing) => {
          if (!isServed(incoming, outgoing)) return
          const chunks: Array<Buffer> = []
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
          incoming.on("end", () => answer(incoming, Buffer.concat(chunks).toString("utf8"), outgoing))
        })
        server.listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => {
      const address = server.address()
      return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : port}`
    }
  )
