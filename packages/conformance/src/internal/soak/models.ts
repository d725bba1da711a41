/** Guarded models, tools and embeddings over a provider in this process. Their forms of calls. */
import * as CyclesEmbedding from "@effect-cycles/ai/CyclesEmbedding"
import * as CyclesModel from "@effect-cycles/ai/CyclesModel"
import * as CyclesToolkit from "@effect-cycles/ai/CyclesToolkit"
import * as OutputLimit from "@effect-cycles/ai/OutputLimit"
import * as Amount from "@effect-cycles/protocol/Amount"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Cycles } from "effect-cycles/Cycles"
import { withSubject } from "effect-cycles/Subject"
import type { Books } from "./books.ts"
import { spend } from "./books.ts"
import type { Form } from "./forms.ts"

const Search = Tool.make("Search", {
  parameters: Schema.Struct({ query: Schema.String }),
  success: Schema.Struct({ hits: Schema.Int })
})
const tools = Toolkit.make(Search)

/** The budgets that the forms charge besides their own. */
export const toolBudget = "tools"

/** Makes the guarded models, and returns their forms. */
export const make = (books: Books): Effect.Effect<ReadonlyArray<Form>, never, Cycles> =>
  Effect.gen(function* () {
    /** The provider notes the spend of a response right before its end. */
    const finish = (form: string, reason: Response.FinishReason) =>
      Effect.sync((): Response.FinishPartEncoded => {
        const input = 20 + Math.floor(Math.random() * 50)
        const output = 1 + Math.floor(Math.random() * 100)
        spend(books, form, input + output)
        return {
          type: "finish",
          reason,
          usage: {
            inputTokens: { uncached: input, total: input, cacheRead: undefined, cacheWrite: undefined },
            outputTokens: { total: output, text: output, reasoning: undefined }
          },
          response: undefined
        }
      })

    const modelOf = (form: string) =>
      Effect.flatMap(
        LanguageModel.make({
          generateText: ({ tools }) =>
            Effect.map(finish(form, tools.length > 0 ? "tool-calls" : "stop"), (end) =>
              tools.length > 0
                ? [{ type: "tool-call", id: "call-1", name: "Search", params: { query: "soak" } }, end]
                : [{ type: "text", text: '{"ok":true}' }, end]
            ),
          streamText: () =>
            Stream.make<ReadonlyArray<Response.StreamPartEncoded>>(
              { type: "text-start", id: "t" },
              { type: "text-delta", id: "t", delta: "Hello " },
              { type: "text-delta", id: "t", delta: "there" },
              { type: "text-end", id: "t" }
            ).pipe(Stream.rechunk(1), Stream.concat(Stream.fromEffect(finish(form, "stop"))))
        }),
        (inner) =>
          CyclesModel.make(inner, {
            provider: "openai",
            model: "gpt-5",
            maxOutputTokens: 200,
            outputLimit: OutputLimit.none
          })
      )

    const text = yield* modelOf("model-text")
    const stream = yield* modelOf("model-stream")
    const object = yield* modelOf("model-object")
    const calling = yield* modelOf("model-tools")

    const toolkit = yield* CyclesToolkit.guard(tools, {
      Search: {
        estimate: Amount.tokens(50),
        actual: ({ hits }) => Amount.tokens(hits),
        subject: { agent: toolBudget }
      }
    }).pipe(
      Effect.provide(
        tools.toLayer({
          Search: () =>
            Effect.sync(() => {
              const hits = Math.floor(Math.random() * 50)
              spend(books, toolBudget, hits)
              return { hits }
            })
        })
      )
    )

    const embedding = yield* Effect.flatMap(
      EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.sync(() => {
            const inputTokens = 3 * inputs.length
            spend(books, "embedding", inputTokens)
            return { results: inputs.map(() => [1, 2]), usage: { inputTokens } }
          })
      }),
      (inner) => CyclesEmbedding.make(inner, { provider: "openai", model: "text-embedding-4" })
    )

    const prompt = "Find a flight and a hotel"
    const form = (name: string, weight: number, run: Form["run"]): Form => ({
      name,
      weight,
      run: withSubject(run, { agent: name })
    })
    return [
      form("model-text", 5, text.generateText({ prompt })),
      form("model-stream", 5, Stream.runDrain(stream.streamText({ prompt }))),
      form("model-object", 3, object.generateObject({ prompt, schema: Schema.Struct({ ok: Schema.Boolean }) })),
      form("model-tools", 4, calling.generateText({ prompt, toolkit })),
      form("embedding", 4, embedding.embedMany(["one", "two", "three"]))
    ]
  })
