/**
 * A guarded stream through `openai`'s Responses API.
 *
 * `OPENAI_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node openai-responses.ts gpt-5 "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { Console, Effect, Stream } from "effect"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import OpenAI, { APIError } from "openai"
import type { Question } from "./openai-chat.ts"
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

const errorOf = (cause: unknown, hasBegun = false) =>
  cause instanceof APIError && !hasBegun
    ? providerError("openai", cause, cause.status, cause.code, cause.type)
    : providerError("openai", cause, undefined)

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const input = inputEstimate(prompt)
  return Stream.unwrap(
    Effect.gen(function* () {
      const limit = yield* outputLimit(maxOutputTokens)
      const meter = textMeter(limit)
      const events = yield* cancellable(
        (signal) =>
          client.responses.create(
            { model, input: prompt, max_output_tokens: limit, stream: true },
            // A retry of the SDK would be a second call under the same reservation.
            { signal, maxRetries: 0 }
          ),
        errorOf
      ).pipe(chargeIfLost(input))
      yield* recordEstimate(input)

      return events.pipe(
        Stream.mapEffect((event) => {
          switch (event.type) {
            case "response.output_text.delta":
            case "response.reasoning_summary_text.delta":
            case "response.function_call_arguments.delta":
              return Effect.as(
                meter(input, event.delta),
                event.type === "response.output_text.delta" ? event.delta : ""
              )
            case "response.completed":
            case "response.incomplete": {
              const usage = Usage.fromOpenAi(event.response.usage)
              return Effect.as(usage === undefined ? Effect.void : recordUsage(usage, input), "")
            }
            // A failure in the stream is an event: without this, the stream would end as if it were complete.
            case "response.failed": {
              const usage = Usage.fromOpenAi(event.response.usage)
              return Effect.andThen(
                usage === undefined ? Effect.void : recordUsage(usage, input),
                Effect.fail(errorOf(new Error(event.response.error?.message ?? "The response failed"), true))
              )
            }
            case "error":
              return Effect.fail(errorOf(new Error(event.message), true))
            default:
              return Effect.succeed("")
          }
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
  await stream({ client: new OpenAI(), model, prompt, maxOutputTokens: 2_000 }).pipe(
    Stream.runForEach((text) => Console.log(text)),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}
