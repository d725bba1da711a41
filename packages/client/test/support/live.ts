/**
 * A client on an embedded server, with faults between them.
 */
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Amount, Cycles, SettlementJournal } from "effect-cycles"
import type { CyclesClient, CyclesConfig, CyclesTransport } from "effect-cycles"
import * as Faults from "./faults.ts"

/** What a test asks for. */
export const action = { kind: "llm.completion", name: "openai:gpt-5" }

/** Tokens. */
export const tokens = Amount.tokens

/** What a test can use. */
export type Live =
  | Cycles.Cycles
  | CyclesClient.CyclesClient
  | CyclesServer.CyclesServer
  | Faults.Faults
  | CyclesTransport.CyclesTransport
  | SettlementJournal.SettlementJournal

/** The whole, with 1,000 tokens for the tenant. */
export const live = (
  config?: Partial<CyclesConfig.CyclesConfig>,
  options?: {
    readonly server?: CyclesServer.MemoryOptions
    readonly journal?: Layer.Layer<SettlementJournal.SettlementJournal>
  }
): Layer.Layer<Live> =>
  Layer.unwrap(
    Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
      Cycles.layer({ baseUrl, apiKey, subject: { tenant }, ...config })
    )
  ).pipe(
    Layer.provideMerge(Faults.layer),
    Layer.provideMerge(
      CyclesServer.layerMemory({ budgets: [{ unit: "TOKENS", allocated: 1_000 }], ...options?.server })
    ),
    Layer.provideMerge(options?.journal ?? SettlementJournal.layerMemory)
  )

/** What the tenant's budget has spent and holds. */
export const books = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  const { reserved, spent } = yield* server.books("TOKENS")
  return { spent: Number(spent), reserved: Number(reserved) }
})

/** No reservation is left behind. */
export const nothingLeft = Effect.flatMap(CyclesServer.CyclesServer, (server) => server.assertNoneActive)
