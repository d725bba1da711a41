/**
 * The embedded server on a port of the loopback interface, for tests of real connections. `CyclesTest` injects its
 * faults.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { CyclesTransport } from "effect-cycles"
import * as Http from "node:http"
import { listening } from "./listening.ts"

/** Serves on a free port until the scope closes. */
export const serveBridged = Effect.gen(function* () {
  const context = yield* Layer.build(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 100_000 }] }))
  const server = Context.get(context, CyclesServer.CyclesServer)
  const transport = Context.get(context, CyclesTransport.CyclesTransport)
  const http = Http.createServer((incoming, outgoing) => {
    const chunks: Array<Buffer> = []
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
    incoming.on("end", () => {
      const headers: Record<string, string> = {}
      for (const [name, value] of Object.entries(incoming.headers)) headers[name] = String(value)
      const abandon = transport.start(
        {
          method: incoming.method === "POST" ? "POST" : "GET",
          url: `${server.baseUrl}${incoming.url ?? "/"}`,
          headers,
          body: chunks.length === 0 ? undefined : Buffer.concat(chunks).toString("utf8"),
          isRepeatable: false,
          maxResponseBytes: Number.MAX_SAFE_INTEGER
        },
        () => context,
        (exit) => {
          if (Exit.isSuccess(exit)) outgoing.writeHead(exit.value.status, exit.value.headers).end(exit.value.body)
          else incoming.socket.destroy()
        }
      )
      outgoing.once("close", abandon)
    })
  })
  return {
    server,
    /** The faults and assertions of `CyclesTest`. */
    test: Context.get(context, CyclesTest.CyclesTest),
    url: yield* listening(http),
    apiKey: Redacted.value(server.apiKey)
  }
})
