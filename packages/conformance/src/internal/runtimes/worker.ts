/**
 * The program for an edge runtime, which has neither Node nor files: the quickstart over `fetch`, without a durable journal.
 */
import * as Cycles from "effect-cycles/Cycles"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { quickstart } from "./quickstart.ts"

/** Runs the quickstart against the server in the bindings, and returns its lines. */
export const run = (env: { readonly BASE_URL: string; readonly API_KEY: string }): Promise<ReadonlyArray<string>> =>
  Effect.runPromise(
    Effect.provide(
      quickstart,
      Cycles.layer({ baseUrl: env.BASE_URL, apiKey: Redacted.make(env.API_KEY), subject: { tenant: "acme" } }).pipe(
        Layer.provide([CyclesTransport.layerFetch, SettlementJournal.layerMemory])
      )
    )
  )
