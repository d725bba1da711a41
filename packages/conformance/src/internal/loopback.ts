/** A small HTTP server on the loopback interface. It is closed with its scope. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"

/** Handles a request whose body has been read. */
export type Listener = (incoming: Http.IncomingMessage, body: string, outgoing: Http.ServerResponse) => void

/** Returns the request for `CyclesServer.handle`. Node joins repeated headers into one string, except `set-cookie`. */
export const requestOf = ({ headers, method = "GET", url = "/" }: Http.IncomingMessage, body: string) => ({
  method,
  url,
  headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
  body
})

/** Called when the headers of a request have arrived. Returns whether the request is processed. */
export type RequestFilter = (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => boolean

/** Listens on a port, or on a free one for 0. Returns the URL. */
export const listen = (
  port: number,
  handle: Listener,
  isServed: RequestFilter = () => true
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const server = Http.createServer((incoming, outgoing) => {
          if (!isServed(incoming, outgoing)) return
          const chunks: Array<Buffer> = []
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
          incoming.on("end", () => handle(incoming, Buffer.concat(chunks).toString("utf8"), outgoing))
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
