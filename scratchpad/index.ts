/**
 * A place to try things: the client on an embedded server, in process. Copy this file, or change it; only this one is kept.
 *
 *     node scratchpad/index.ts
 */
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Amount, Cycles, Settlement, SettlementJournal } from "effect-cycles"

const Server = CyclesServer.layerMemory({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

const Live = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(Layer.provide(SettlementJournal.layerMemory), Layer.provideMerge(Server))

const program = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  yield* Effect.succeed("hello").pipe(
    Cycles.withCycles({
      action: { kind: "llm.completion", name: "openai:gpt-5" },
      estimate: Amount.tokens(100),
      actual: (text) => Amount.tokens(text.length),
      onSettled: (settlement) => Effect.sync(() => console.log(Settlement.format(settlement)))
    })
  )
  console.log(yield* server.books("TOKENS"))
})

Effect.runPromise(Effect.provide(program, Live)).catch(console.error)
