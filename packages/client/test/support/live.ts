/**
 * A client on an embedded server, with faults between them.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { Amount } from "effect-cycles"
import type { CyclesConfig, SettlementJournal } from "effect-cycles"

/** The action of the tests. */
export const action = { kind: "llm.completion", name: "openai:gpt-5" }

/** Makes an amount of tokens. */
export const tokens = Amount.tokens

/** The services of a test. */
export type Live = Layer.Success<ReturnType<typeof CyclesTest.layer>>

/** The client and the server, with 1,000 tokens for the tenant. */
export const live = (
  config?: Partial<CyclesConfig.CyclesConfig>,
  options?: {
    readonly server?: CyclesServer.MemoryOptions
    readonly journal?: Layer.Layer<SettlementJournal.SettlementJournal>
  }
): Layer.Layer<Live> =>
  CyclesTest.layer({
    budgets: [{ unit: "TOKENS", allocated: 1_000 }],
    ...options?.server,
    client: config,
    journal: options?.journal
  })

/** The operations that the client has sent, in order. */
export const operations = Effect.map(CyclesTest.requests(), (sent) => sent.map(({ operation }) => operation))

/** The spent and the reserved amount of the tenant's budget. */
export const books = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  const { reserved, spent } = yield* server.books("TOKENS")
  return { spent: Number(spent), reserved: Number(reserved) }
})
