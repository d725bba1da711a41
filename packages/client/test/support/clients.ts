/**
 * Clients over the transports of a program, without the faults of `live`.
 */
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { CyclesConfig } from "effect-cycles"
import { Cycles, CyclesClient, CyclesTransport, SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"

/** The normalized base URL. Dies with a `RangeError` if it is refused. */
export const normalizedBaseUrl = (baseUrl: string) =>
  Effect.suspend(() => CyclesClient.make({ baseUrl, apiKey: Redacted.make("cyc_live_0123456789") })).pipe(
    Effect.map((client) => client.baseUrl),
    Effect.provide(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)),
    Effect.scoped
  )

/** A client over undici, as Node programs have it, with a journal in memory. */
export const nodeClient = (config: CyclesConfig.CyclesConfig) =>
  NodeCycles.layer(config, { journal: SettlementJournal.layerMemory })

/** A client over `fetch`. */
export const fetchClient = (config: CyclesConfig.CyclesConfig) =>
  Cycles.layer(config).pipe(
    Layer.provide(CyclesTransport.layerHttpClient),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(SettlementJournal.layerMemory)
  )
