/**
 * The embedded server on a port of the loopback interface, with a say in what becomes of each request.
 */
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { ServerResponse } from "node:http"
import * as Http from "node:http"

/** What happens to a request: processed and responded to, processed without a response, neither, or something of the test's. */
export type Reaction =
  | "respond"
  | "process and hang"
  | "process and cut"
  | "hang"
  | ((outgoing: ServerResponse) => void)

/** Serves on a free port until the scope closes. `react` gets the path of a request and how many had that path before. */
export const serveBridged = (react: (path: string, before: number) => Reaction) =>
  Effect.gen(function* () {
    const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 100_000 }] })
    const runSync = Effect.runSyncWith(yield* Effect.context<never>())
    const requests: Array<string> = []
    const http = Http.createServer((incoming, outgoing) => {
      const chunks: Array<Buffer> = []
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
      incoming.on("end", () => {
        const url = incoming.url ?? "/"
        const before = requests.filter((one) => one === url).length
        requests.push(url)
        const reaction = react(url, before)
        if (reaction === "hang") return
        if (typeof reaction === "function") return reaction(outgoing)
        const headers: Record<string, string> = {}
        for (const [name, value] of Object.entries(incoming.headers)) headers[name] = String(value)
        const response = runSync(
          server.handle({
            method: incoming.method ?? "GET",
            url,
            headers,
            body: Buffer.concat(chunks).toString("utf8")
          })
        )
        if (reaction === "process and cut") incoming.socket.destroy()
        if (reaction === "respond") outgoing.writeHead(response.status, response.headers).end(response.body)
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        http.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          http.close(() => resume(Effect.void))
          http.closeAllConnections()
        })
    )
    const address = http.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return { server, requests, url: `http://127.0.0.1:${port}`, apiKey: Redacted.value(server.apiKey) }
  })
