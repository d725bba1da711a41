/**
 * The quickstart against an embedded server in this process: no port, no files, the journal in memory.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Cycles from "effect-cycles/Cycles"
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { quickstart } from "./quickstart.ts"

const client = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(
  Layer.provide(SettlementJournal.layerMemory),
  Layer.provideMerge(CyclesServer.layerMemory({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 10_000 }] }))
)

/** The lines of the quickstart. */
export const embedded = Effect.gen(function* () {
  const lines = yield* quickstart
  const server = yield* CyclesServer.CyclesServer
  yield* server.assertNoneActive
  return lines
}).pipe(Effect.provide(client))
