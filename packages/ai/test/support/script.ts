/**
 * A model with scripted responses, and an embedded server with the amounts that were charged for them.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import type * as Response from "effect/ai/Response"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as CyclesEmbedding from "../../src/CyclesEmbedding.ts"
import * as CyclesModel from "../../src/CyclesModel.ts"

/** A response of the model, and its failure after it. */
export interface Turn {
  readonly parts: ReadonlyArray<Response.PartEncoded | Response.StreamPartEncoded>
  readonly fails?: AiError.AiError | undefined
  /** Never ends, after its parts. */
  readonly hangs?: boolean | undefined
}

/** The requests to the model, in order, and its next responses. */
export class Script extends Context.Service<
  Script,
  {
    readonly asked: Array<{ readonly options: LanguageModel.ProviderOptions; readonly config: unknown }>
    readonly turns: Array<Turn>
  }
>()("test/Script") {}

/** Usage as a provider reports it. */
export const usage = (input: number | undefined, output: number | undefined): typeof Response.Usage.Encoded => ({
  inputTokens: { uncached: input, total: input, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: output, text: output, reasoning: undefined }
})

/** The end of a response. */
export const finish = (
  input: number | undefined,
  output: number | undefined,
  reason: Response.FinishReason = "stop"
): Response.FinishPartEncoded => ({ type: "finish", reason, usage: usage(input, output), response: undefined })

/** A text. */
export const text = (text: string): Response.TextPartEncoded => ({ type: "text", text })

/** A piece of a streamed text. */
export const delta = (delta: string): Response.StreamPartEncoded => ({ type: "text-delta", id: "t", delta })

/** A call of a tool. */
export const toolCall = (name: string, params: unknown, id = "call-1"): Response.ToolCallPartEncoded => ({
  type: "tool-call",
  id,
  name,
  params
})

/** A failure of the provider. */
export const failure = (reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: "Script", method: "ask", reason })

/** A refusal of the provider. */
export const rateLimited = new AiError.RateLimitError({})

/** The settings of the scripted provider, under the key of `@effect/ai-openai`. */
export const OpenAiConfig = Context.Service<object, { readonly [field: string]: unknown }>(
  "@effect/ai-openai/OpenAiLanguageModel/Config"
)

const next = (script: Script["Service"], options: LanguageModel.ProviderOptions) =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync((): Turn => {
      const config = Context.getOrUndefined(context, OpenAiConfig)
      // As the provider packages do it: a copy of the settings goes into the request.
      script.asked.push({ options, config: config === undefined ? undefined : { ...config } })
      return script.turns.shift() ?? { parts: [text("Nothing is scripted"), finish(1, 1)] }
    })
  )

const isWhole = (part: Turn["parts"][number]): part is Response.PartEncoded => !/-(start|delta|end)$/.test(part.type)
const isStreamed = (part: Turn["parts"][number]): part is Response.StreamPartEncoded =>
  part.type !== "text" && part.type !== "reasoning"

/** The model without a guard. */
export const bare: Layer.Layer<LanguageModel.LanguageModel | Model.ProviderName | Model.ModelName, never, Script> =
  Layer.effect(
    LanguageModel.LanguageModel,
    Effect.flatMap(Script, (script) =>
      LanguageModel.make({
        generateText: (options) =>
          Effect.flatMap(next(script, options), ({ fails, hangs, parts }) =>
            hangs ? Effect.never : fails === undefined ? Effect.succeed(parts.filter(isWhole)) : Effect.fail(fails)
          ),
        streamText: (options) =>
          Stream.unwrap(
            Effect.map(next(script, options), ({ fails, hangs, parts }) =>
              Stream.concat(
                Stream.rechunk(Stream.fromIterable(parts.filter(isStreamed)), 1),
                hangs ? Stream.never : fails === undefined ? Stream.empty : Stream.fail(fails)
              )
            )
          )
      })
    )
  ).pipe(
    Layer.merge(Layer.succeedContext(Context.add(Context.make(Model.ProviderName, "openai"), Model.ModelName, "gpt-5")))
  )

/** The services of a test. */
export type World = Layer.Success<ReturnType<typeof CyclesTest.layer>> | Script

/** A server with 10,000 tokens and 1 dollar, a client, and a script. */
export const world = (turns: ReadonlyArray<Turn>, server?: CyclesServer.MemoryOptions): Layer.Layer<World> =>
  Layer.merge(
    CyclesTest.layer({
      budgets: [
        { unit: "TOKENS", allocated: 10_000 },
        { unit: "USD_MICROCENTS", allocated: 100_000_000 }
      ],
      ...server
    }),
    Layer.sync(Script, () => ({ asked: [], turns: [...turns] }))
  )

/** The bodies of the commits that the client sent. */
export const commits = Effect.map(CyclesTest.requests("commit"), (sent) =>
  sent.map(({ body }): unknown => JSON.parse(body))
)

/** The guarded model and the services of a test. */
export const guarded = (
  turns: ReadonlyArray<Turn>,
  options?: CyclesModel.Options,
  server?: CyclesServer.MemoryOptions
): Layer.Layer<LanguageModel.LanguageModel | World> =>
  CyclesModel.layer(options).pipe(Layer.provide(bare), Layer.provideMerge(world(turns, server)))

/** A guarded embedding model that uses 7 tokens for each input. */
export const embeddings = CyclesEmbedding.layer({ provider: "openai", model: "text-embedding-4" }).pipe(
  Layer.provide(
    Layer.effect(
      EmbeddingModel.EmbeddingModel,
      EmbeddingModel.make({
        embedMany: ({ inputs }) =>
          Effect.succeed({ results: inputs.map(() => [1, 2]), usage: { inputTokens: inputs.length * 7 } })
      })
    )
  )
)

/** The spent and the reserved tokens of the tenant's budget. */
export const books = Effect.gen(function* () {
  const { reserved, spent } = yield* (yield* CyclesServer.CyclesServer).books("TOKENS")
  return { spent: Number(spent), reserved: Number(reserved) }
})

/** A logger that collects the messages of all levels, and those of warnings. */
export const logs = () => {
  const messages: Array<string> = []
  const warnings: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    messages.push(String(message))
    if (logLevel === "Warn") warnings.push(String(message))
  })
  return { messages, warnings, layer: Logger.layer([logger]) }
}

/** A tracer that collects its spans. */
export const recorder = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}
