/**
 * Runs one row of the stream benchmark in a separate process: `parts.ts ROW`. The model is scripted, the server runs in
 * process, and each part is a chunk, as from a provider.
 */
import * as CyclesModel from "@effect-cycles/ai/CyclesModel"
import * as OutputLimit from "@effect-cycles/ai/OutputLimit"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import { layerNone } from "effect-cycles/SettlementJournal"
import * as Child from "./child.ts"

const [, , row = ""] = process.argv

let partsOfResponse = 0

const finish: Response.StreamPartEncoded = {
  type: "finish",
  reason: "stop",
  response: undefined,
  usage: {
    inputTokens: { uncached: 10, total: 10, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: 10, text: 10, reasoning: undefined }
  }
}

const scripted = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: () => Effect.succeed([]),
    streamText: () =>
      Stream.rechunk(
        Stream.fromIterable([
          ...Array.from({ length: partsOfResponse }, () => ({ type: "text-delta", id: "1", delta: " word" }) as const),
          finish
        ]),
        1
      )
  })
)

const client = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(
  Layer.provide(layerNone),
  Layer.provide(CyclesServer.layerMemory({ budgets: [{ unit: "TOKENS", allocated: 1_000_000_000_000 }] }))
)

const guarded = CyclesModel.layer({ outputLimit: OutputLimit.none }).pipe(
  Layer.provide(scripted),
  Layer.provide(client)
)

const toolkit = Toolkit.make(Tool.make("look", { success: Schema.String }))

const handlers = toolkit.toLayer({ look: () => Effect.succeed("nothing") })

const runtime = ManagedRuntime.make(Layer.merge(row.startsWith("guarded") ? guarded : scripted, handlers))

const streamed: Effect.Effect<void, unknown, ManagedRuntime.ManagedRuntime.Services<typeof runtime>> = row.endsWith(
  "tools"
)
  ? Stream.runDrain(LanguageModel.streamText({ prompt: "Hello", toolkit }))
  : Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))

Child.serve(Schema.Struct({ count: Schema.Finite }), async ({ count }) => {
  partsOfResponse = count
  const before = Child.usage()
  await runtime.runPromise(streamed)
  return Child.between(before, Child.usage())
})
