/**
 * Guarded calls through `openai`: chat completions, whole and streamed.
 *
 * `OPENAI_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node openai-chat.ts gpt-5 "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { Console, Effect, Stream } from "effect"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import OpenAI, { APIError } from "openai"
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

/** A question to a model. */
export interface Question {
  readonly client: OpenAI
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, reasoning included. */
  readonly maxOutputTokens: number
}

const errorOf = (cause: unknown, hasBegun = false) =>
  cause instanceof APIError && !hasBegun
    ? providerError("openai", cause, cause.status, cause.code, cause.type)
    : providerError("openai", cause, undefined)

/** Asks a model, and returns its whole response. */
export const ask = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const input = inputEstimate(prompt)
  return Effect.gen(function* () {
    const limit = yield* outputLimit(maxOutputTokens)
    const response = yield* Effect.tryPromise({
      try: (signal) =>
        client.chat.completions.create(
          { model, messages: [{ role: "user", content: prompt }], max_completion_tokens: limit },
          // A retry of the SDK would be a second call under the same reservation.
          { signal, maxRetries: 0 }
        ),
      catch: errorOf
    }).pipe(chargeIfLost(input + limit))
    yield* recordUsage(Usage.fromOpenAi(response.usage), input + limit)
    return response
  }).pipe(
    Cycles.withCycles({
      action: { kind: "llm.completion", name: `openai:${model}` },
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
        (signal) =>
          client.chat.completions.create(
            {
              model,
              messages: [{ role: "user", content: prompt }],
              max_completion_tokens: limit,
              stream: true,
              stream_options: { include_usage: true }
            },
            { signal, maxRetries: 0 }
          ),
        errorOf
      ).pipe(chargeIfLost(input))
      yield* recordEstimate(input)

      // Only the last chunk has the usage.
      return chunks.pipe(
        Stream.mapEffect((chunk) => {
          const usage = Usage.fromOpenAi(chunk.usage)
          const text = chunk.choices[0]?.delta.content ?? ""
          return Effect.as(usage === undefined ? meter(input, text) : recordUsage(usage, input), text)
        }),
        Stream.filter((text) => text !== "")
      )
    })
  ).pipe(
    Cycles.withCyclesStream({
      action: { kind: "llm.completion", name: `openai:${model}` },
      estimate: Amount.tokens(input + maxOutputTokens)
    })
  )
}

if (import.meta.main) {
  const [model = "gpt-5", prompt = "Hello"] = process.argv.slice(2)
  const question = { client: new OpenAI(), model, prompt, maxOutputTokens: 2_000 }
  await ask(question).pipe(
    Effect.andThen(({ choices }) => Console.log(choices[0]?.message.content)),
    Effect.andThen(Stream.runForEach(stream(question), (text) => Console.log(text))),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}
