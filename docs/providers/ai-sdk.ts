/**
 * Guarded calls through the AI SDK, `ai`. A middleware guards each call of a model, so that every step of a tool loop has its own
 * reservation.
 *
 * `OPENAI_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node ai-sdk.ts gpt-5 "A question"`
 */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4StreamPart } from "@ai-sdk/provider"
import { Usage } from "@effect-cycles/ai"
import { APICallError, generateText, streamText, wrapLanguageModel } from "ai"
import { Effect, Stream } from "effect"
import { CyclesError } from "effect-cycles"
import type { Cycles } from "effect-cycles"
import {
  cancellable,
  guardCall,
  guardStream,
  main,
  ProviderError,
  providerErrors,
  recordUsage,
  textEstimate
} from "./support.ts"

/** The model of a guarded call, and its output limit. */
export interface Options {
  readonly model: LanguageModelV4
  /** The most tokens that each call may generate, unless the call asks for fewer. */
  readonly maxOutputTokens: number
}

const errorOf = providerErrors("ai", (cause) =>
  APICallError.isInstance(cause) ? { status: cause.statusCode, details: cause.responseBody } : undefined
)

/**
 * Guards each call of a model. The returned model uses the `Cycles` and the subject of the effect that made it.
 *
 * The AI SDK retries only its own errors. A guarded model fails with `ProviderError` or `BudgetExceeded`, so a call isn't repeated
 * under the same reservation even if `maxRetries` was left out.
 *
 * A cancelled call closes its connection at once, and is settled in the background.
 */
export const guarded = (options: Options) =>
  Effect.map(Effect.context<Cycles.Cycles>(), (context) =>
    wrapLanguageModel({
      model: options.model,
      middleware: {
        wrapGenerate: ({ params }) =>
          Effect.runPromiseWith(context)(
            generate(options, params),
            params.abortSignal === undefined ? {} : { signal: params.abortSignal }
          ),
        wrapStream: async ({ params }) => ({
          stream: Stream.toReadableStreamWith(
            stream(options, params),
            context,
            params.abortSignal === undefined ? {} : { signal: params.abortSignal }
          )
        })
      }
    })
  )

const callOf = ({ maxOutputTokens, model }: Options, params: LanguageModelV4CallOptions) => ({
  name: `${model.provider}:${model.modelId}`,
  input: 8 + textEstimate(JSON.stringify([params.prompt, params.tools ?? [], params.responseFormat ?? null])),
  maxOutputTokens: Math.min(maxOutputTokens, params.maxOutputTokens ?? maxOutputTokens),
  errorOf
})

const generate = (options: Options, params: LanguageModelV4CallOptions) =>
  guardCall({
    ...callOf(options, params),
    send: (limit, abortSignal) => options.model.doGenerate({ ...params, maxOutputTokens: limit, abortSignal }),
    usageOf: (result) => Usage.fromAiSdk(result.usage)
  })

const stream = (options: Options, params: LanguageModelV4CallOptions) => {
  const call = callOf(options, params)
  return guardStream<LanguageModelV4StreamPart, LanguageModelV4StreamPart>({
    ...call,
    open: async (limit, abortSignal) =>
      (await options.model.doStream({ ...params, maxOutputTokens: limit, abortSignal })).stream,
    read: (meter) => (part) => {
      switch (part.type) {
        case "text-delta":
        case "reasoning-delta":
        case "tool-input-delta":
          return Effect.as(meter(call.input, part.delta), part)
        case "finish":
          return Effect.as(recordUsage(Usage.fromAiSdk(part.usage)), part)
        case "error":
          return Effect.fail(errorOf(part.error, true))
        default:
          return Effect.succeed(part)
      }
    }
  })
}

/** The error of a guarded model. `BudgetExceeded` and other errors of Cycles pass through the AI SDK unchanged. */
const failureOf = (cause: unknown, hasBegun: boolean): ProviderError | CyclesError.CyclesError =>
  CyclesError.isCyclesError(cause) ? cause : errorOf(cause, hasBegun)

/** Asks a guarded model, and returns the result of `generateText`. */
export const ask = (options: Options & { readonly prompt: string }) =>
  Effect.flatMap(guarded(options), (model) =>
    Effect.tryPromise({
      try: (abortSignal) => generateText({ model, prompt: options.prompt, maxRetries: 0, abortSignal }),
      catch: (cause) => failureOf(cause, false)
    })
  )

/** Asks a guarded model, and returns the text of its response as it arrives. */
export const askStream = (options: Options & { readonly prompt: string }) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const model = yield* guarded(options)
      const parts = yield* cancellable(
        // An error is a part of the stream: `textStream` would end as if the response were complete.
        (abortSignal) =>
          streamText({ model, prompt: options.prompt, maxRetries: 0, abortSignal, onError: () => {} }).fullStream,
        failureOf
      )
      return parts.pipe(
        Stream.mapEffect((part) =>
          part.type === "error"
            ? Effect.fail(failureOf(part.error, true))
            : Effect.succeed(part.type === "text-delta" ? part.text : "")
        ),
        Stream.filter((text) => text !== "")
      )
    })
  )

if (import.meta.main) {
  const provider = createOpenAICompatible({
    name: "openai",
    baseURL: process.env["OPENAI_BASE_URL"] ?? "https://api.openai.com/v1",
    apiKey: process.env["OPENAI_API_KEY"] ?? "",
    // Without it, a stream never reports its usage.
    includeUsage: true
  })
  await main("gpt-5", (model, prompt) => {
    const question = { model: provider(model), prompt, maxOutputTokens: 2_000 }
    return Stream.concat(Stream.fromEffect(Effect.map(ask(question), ({ text }) => text)), askStream(question))
  })
}
