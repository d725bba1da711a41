import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { CyclesClient, CyclesTransport } from "effect-cycles"

/** A client of a server that returns these pages in turn, forever. Counts the requests. */
const clientOf = (...pages: ReadonlyArray<{ readonly rows: number; readonly cursor: (count: number) => string }>) =>
  Effect.gen(function* () {
    const sent = { count: 0 }
    const transport = CyclesTransport.make(() =>
      Effect.sync(() => {
        const page = pages[sent.count % pages.length]
        sent.count += 1
        return {
          status: 200,
          headers: {},
          attempts: 1,
          body: JSON.stringify({
            balances: Array.from({ length: page?.rows ?? 0 }, () => balance),
            has_more: true,
            next_cursor: page?.cursor(sent.count)
          })
        }
      })
    )
    const client = yield* CyclesClient.make({ baseUrl: "http://127.0.0.1:9", apiKey: Redacted.make("k") }).pipe(
      Effect.provide(Layer.succeed(CyclesTransport.CyclesTransport, transport))
    )
    return { client, sent }
  })

const balance = {
  scope: "tenant:acme",
  scope_path: "tenant:acme",
  remaining: { unit: "TOKENS", amount: 1 }
}

const failureOf = (client: CyclesClient.CyclesClient) =>
  Effect.flip(Stream.runDrain(client.streamBalances({ tenant: "acme" })))

describe("pages", () => {
  it.effect("fails with ProtocolError if the server returns the same cursor again", () =>
    Effect.gen(function* () {
      const { client, sent } = yield* clientOf({ rows: 1, cursor: () => "a" })
      expect(yield* failureOf(client)).toMatchObject({ _tag: "ProtocolError", operation: "balances" })
      expect(sent.count).toBe(2)
    })
  )

  it.effect("fails with ProtocolError if the cursors form a longer cycle", () =>
    Effect.gen(function* () {
      const cycle = Array.from({ length: 7 }, (_, i) => ({ rows: 1, cursor: () => `c${i}` }))
      const { client, sent } = yield* clientOf(...cycle)
      expect(yield* failureOf(client)).toMatchObject({ problem: "next_cursor repeats an earlier page" })
      expect(sent.count).toBeLessThan(30)
    })
  )

  it.effect("fails with ProtocolError after 1,000 pages in a row without rows", () =>
    Effect.gen(function* () {
      const { client, sent } = yield* clientOf({ rows: 0, cursor: (count) => `c${count}` })
      expect(yield* failureOf(client)).toMatchObject({ problem: "too many pages without rows" })
      expect(sent.count).toBe(1_001)
    })
  )

  it.effect("continues after pages without rows", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf(
        { rows: 0, cursor: (count) => `c${count}` },
        { rows: 1, cursor: (count) => `c${count}` }
      )
      const rows = yield* Stream.runCollect(Stream.take(client.streamBalances({ tenant: "acme" }), 600))
      expect(rows.length).toBe(600)
    })
  )
})
