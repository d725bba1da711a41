/**
 * Raw requests to a server in this process.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import * as CyclesServer from "../src/CyclesServer.ts"

describe("httpClient", () => {
  it.effect("rejects bytes that are not UTF-8, as a server on a port does", () =>
    Effect.gen(function* () {
      const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 10 }] })
      const client = CyclesServer.httpClient(server)
      const decide = (name: ReadonlyArray<number>) => {
        const text = JSON.stringify({
          idempotency_key: "k",
          subject: { tenant: "acme" },
          action: { kind: "k", name: "NAME" },
          estimate: { unit: "TOKENS", amount: 1 }
        })
        const [head = "", tail = ""] = text.split("NAME")
        const bytes = Uint8Array.from([...Buffer.from(head), ...name, ...Buffer.from(tail)])
        const request = HttpClientRequest.post("http://cycles.local/v1/decide").pipe(
          HttpClientRequest.setHeader("x-cycles-api-key", Redacted.value(server.apiKey)),
          HttpClientRequest.setBody(HttpBody.uint8Array(bytes, "application/json"))
        )
        return Effect.map(client.execute(request), ({ status }) => status)
      }
      expect(yield* decide([0xc3, 0xa9])).toBe(200)
      expect(yield* decide([0xe9])).toBe(400)
    })
  )
})
