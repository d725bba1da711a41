/**
 * Guarded calls through `@google/genai`, whole and streamed.
 *
 * `GOOGLE_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node google.ts gemini-3-flash "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { ApiError, GoogleGenAI } from "@google/genai"
import { Console, Effect, Stream } from "effect"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import {
  cancellable,
  chargeIfLost,
  inputEstimate,
  outputLimit,
  providerError,
  recordEstimate,
  recordUsage,
  textMeter
} from "./support.ts"

/** A question to a model. Without `retryOptions`, the client doesn't retry. */
export interface Question {
  readonly client: GoogleGenAI
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, thoughts included. */
  readonly maxOutputTokens: number
}

const errorOf = (cause: unknown, hasBegun = false) =>
  providerError("google", cause, cause instanceof ApiError && !hasBegun ? cause.status : undefined)

/** Asks a model, and returns its whole response. */
export const ask = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const input = inputEstimate(prompt)
  return Effect.gen(function* () {
    const limit = yield* outputLimit(maxOutputTokens)
    const response = yield* Effect.tryPromise({
      try: (abortSignal) =>
        client.models.generateContent({ model, contents: prompt, config: { maxOutputTokens: limit, abortSignal } }),
      catch: errorOf
    }).pipe(chargeIfLost(input + limit))
    yield* recordUsage(Usage.fromGoogle(response.usageMetadata), input + limit)
    return response
  }).pipe(
    Cycles.withCycles({
      action: { kind: "llm.completion", name: `google:${model}` },
      estimate: Amount.tokens(input + maxOutputTokens)
    })
  )
}

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const input = inputEstimate(prompt)
  return Stream.unwrap(
    Effect.gen(function* () {
      const limit = yield* outputLimit(maxOutputTokens)
      const meter = textMeter(limit)
      const chunks = yield* cancellable(
        (abortSignal) =>
          client.models.generateContentStream({
            model,
            contents: prompt,
            config: { maxOutputTokens: limit, abortSignal }
          }),
        errorOf
      ).pipe(chargeIfLost(input))
      yield* recordEstimate(input)

      // Every chunk has the usage so far.
      return chunks.pipe(
        Stream.mapEffect((chunk) => {
          const usage = Usage.fromGoogle(chunk.usageMetadata)
          const text = chunk.text ?? ""
          return Effect.as(usage === undefined ? meter(input, text) : recordUsage(usage, input), text)
        }),
        Stream.filter((text) => text !== "")
      )
    })
  ).pipe(
    Cycles.withCyclesStream({
      action: { kind: "llm.completion", name: `google:${model}` },
      estimate: Amount.tokens(input + maxOutputTokens)
    })
  )
}

if (import.meta.main) {
  const [model = "gemini-3-flash", prompt = "Hello"] = process.argv.slice(2)
  const question = { client: new GoogleGenAI({}), model, prompt, maxOutputTokens: 2_000 }
  await ask(question).pipe(
    Effect.andThen(({ text }) => Console.log(text)),
    Effect.andThen(Stream.runForEach(stream(question), (text) => Console.log(text))),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}
