/** A client of an embedded server in the same process, without HTTP and without a journal. */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Cycles from "effect-cycles/Cycles"
import { layerNone } from "effect-cycles/SettlementJournal"

/** The client, with budgets in tokens. */
export const client = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(
  Layer.provide(layerNone),
  Layer.provide(CyclesServer.layerMemory({ budgets: [{ unit: "TOKENS", allocated: 1_000_000_000_000 }] }))
)
