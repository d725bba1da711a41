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
import { Console, Effect, Stream } from "effect"
import { Amount, Cycles, CyclesError } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import {
  cancellable,
  chargeIfLost,
  outputLimit,
  ProviderError,
  providerError,
  recordEstimate,
  recordUsage,
  textEstimate,
  textMeter
} from "./support.ts"

/** The model of a guarded call, and its output limit. */
export interface Options {
  readonly model: LanguageModelV4
  /** The most tokens that each call may generate, unless the call asks for fewer. */
  readonly maxOutputTokens: number
}

const errorOf = (cause: unknown, hasBegun = false): ProviderError =>
  cause instanceof ProviderError
    ? cause
    : APICallError.isInstance(cause) && !hasBegun
      ? providerError("ai", cause, cause.statusCode, cause.responseBody)
      : providerError("ai", cause, undefined)

/**
 * Guards each call of a model. The returned model uses the `Cycles` and the subject of the effect that made it.
 *
 * The AI SDK retries only its own errors. A guarded model fails with `ProviderError` or `BudgetExceeded`, so a call isn't repeated
 * under the same reservation even if `maxRetries` was left out.
 *
 * A cancelled call hangs up at once, and is settled in the background.
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

const callOf = ({ maxOutputTokens, model }: Options, params: LanguageModelV4CallOptions) => {
  const input = 8 + textEstimate(JSON.stringify([params.prompt, params.tools ?? [], params.responseFormat ?? null]))
  const wanted = Math.min(maxOutputTokens, params.maxOutputTokens ?? maxOutputTokens)
  return {
    input,
    wanted,
    guard: {
      action: { kind: "llm.completion", name: `${model.provider}:${model.modelId}` },
      estimate: Amount.tokens(input + wanted)
    }
  }
}

const generate = (options: Options, params: LanguageModelV4CallOptions) => {
  const { guard, input, wanted } = callOf(options, params)
  return Effect.gen(function* () {
    const limit = yield* outputLimit(wanted)
    const result = yield* Effect.tryPromise({
      try: async (abortSignal) => options.model.doGenerate({ ...params, maxOutputTokens: limit, abortSignal }),
      catch: errorOf
    }).pipe(chargeIfLost(input + limit))
    yield* recordUsage(Usage.fromAiSdk(result.usage), input + limit)
    return result
  }).pipe(Cycles.withCycles(guard))
}

const stream = (options: Options, params: LanguageModelV4CallOptions) => {
  const { guard, input, wanted } = callOf(options, params)
  return Stream.unwrap(
    Effect.gen(function* () {
      const limit = yield* outputLimit(wanted)
      const meter = textMeter(limit)
      const parts = yield* cancellable<LanguageModelV4StreamPart, ProviderError>(
        async (abortSignal) =>
          (await options.model.doStream({ ...params, maxOutputTokens: limit, abortSignal })).stream,
        errorOf
      ).pipe(chargeIfLost(input))
      yield* recordEstimate(input)
      return Stream.tap(parts, (part) => {
        switch (part.type) {
          case "text-delta":
          case "reasoning-delta":
          case "tool-input-delta":
            return meter(input, part.delta)
          case "finish": {
            const usage = Usage.fromAiSdk(part.usage)
            return usage === undefined ? Effect.void : recordUsage(usage, input)
          }
          case "error":
            return Effect.fail(errorOf(part.error, true))
          default:
            return Effect.void
        }
      })
    })
  ).pipe(Cycles.withCyclesStream(guard))
}

/** The error of a guarded model. `BudgetExceeded` and other errors of Cycles come out of the AI SDK as they were. */
const failureOf = (cause: unknown, hasBegun = false): ProviderError | CyclesError.CyclesError =>
  CyclesError.isCyclesError(cause) ? cause : errorOf(cause, hasBegun)

/** Asks a guarded model, and returns the result of `generateText`. */
export const ask = (options: Options & { readonly prompt: string }) =>
  Effect.flatMap(guarded(options), (model) =>
    Effect.tryPromise({
      try: (abortSignal) => generateText({ model, prompt: options.prompt, maxRetries: 0, abortSignal }),
      catch: (cause) => failureOf(cause)
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
  const [name = "gpt-5", prompt = "Hello"] = process.argv.slice(2)
  const provider = createOpenAICompatible({
    name: "openai",
    baseURL: process.env["OPENAI_BASE_URL"] ?? "https://api.openai.com/v1",
    apiKey: process.env["OPENAI_API_KEY"] ?? "",
    // Without it, a stream never reports its usage.
    includeUsage: true
  })
  const question = { model: provider(name), prompt, maxOutputTokens: 2_000 }
  await ask(question).pipe(
    Effect.andThen(({ text }) => Console.log(text)),
    Effect.andThen(Stream.runForEach(askStream(question), (text) => Console.log(text))),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}
