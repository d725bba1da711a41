/**
 * Runs one row of the stream benchmark in a separate process: `parts.ts ROW`. The model is scripted, the server runs in
 * process, and each part is a chunk, as from a provider.
 */
import * as CyclesModel from "@effect-cycles/ai/CyclesModel"
import * as OutputLimit from "@effect-cycles/ai/OutputLimit"
import * as Amount from "@effect-cycles/protocol/Amount"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Run from "effect-cycles/Run"
import * as Child from "./child.ts"
import * as InProcess from "./inProcess.ts"

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

const guarded = CyclesModel.layer({ outputLimit: OutputLimit.none }).pipe(
  Layer.provide(scripted),
  Layer.provide(InProcess.client)
)

const toolkit = Toolkit.make(Tool.make("look", { success: Schema.String }))

const handlers = toolkit.toLayer({ look: () => Effect.succeed("nothing") })

const runtime = ManagedRuntime.make(Layer.merge(row.startsWith("guarded") ? guarded : scripted, handlers))

type Services = ManagedRuntime.ManagedRuntime.Services<typeof runtime>

const parts: Stream.Stream<unknown, unknown, Services> = row.endsWith("tools")
  ? LanguageModel.streamText({ prompt: "Hello", toolkit })
  : LanguageModel.streamText({ prompt: "Hello" })

const budget = Amount.tokens(1_000_000_000_000)

/** The number of runs around the stream. */
const levels = row.includes("-runs") ? 2 : row.includes("-run") ? 1 : 0

const streamed: Effect.Effect<void, unknown, Services> = Effect.scoped(
  Effect.gen(function* () {
    let parent: Run.Run | undefined
    for (let level = 0; level < levels; level += 1) {
      const made = Run.make({ name: "bench", budget })
      parent = yield* parent === undefined ? made : Run.within(made, parent)
    }
    yield* Stream.runDrain(parent === undefined ? parts : Run.withinStream(parts, parent))
  })
)

Child.serve(Schema.Struct({ count: Schema.Finite }), async ({ count }) => {
  partsOfResponse = count
  const before = Child.usage()
  await runtime.runPromise(streamed)
  return Child.between(before, Child.usage())
})
