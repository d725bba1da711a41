/**
 * A guarded stream through `openai`'s Responses API.
 *
 * `OPENAI_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node openai-responses.ts gpt-5 "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { Effect, Stream } from "effect"
import OpenAI from "openai"
import { callOf } from "./openai-chat.ts"
import type { Question } from "./openai-chat.ts"
import { guardStream, main, recordUsage } from "./support.ts"

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = (question: Question) => {
  const call = callOf(question)
  return guardStream({
    ...call,
    open: (limit, signal) =>
      question.client.responses.create(
        { model: question.model, input: question.prompt, max_output_tokens: limit, stream: true },
        { signal, maxRetries: 0 }
      ),
    read: (meter) => (event) => {
      switch (event.type) {
        case "response.output_text.delta":
          return Effect.as(meter(call.input, event.delta), event.delta)
        case "response.reasoning_summary_text.delta":
        case "response.function_call_arguments.delta":
          return Effect.as(meter(call.input, event.delta), "")
        case "response.completed":
        case "response.incomplete":
          return Effect.as(recordUsage(Usage.fromOpenAi(event.response.usage)), "")
        // A failure in the stream is an event: without this, the stream would end as if it were complete.
        case "response.failed":
          return Effect.andThen(
            recordUsage(Usage.fromOpenAi(event.response.usage)),
            Effect.fail(call.errorOf(new Error(event.response.error?.message ?? "The response failed"), true))
          )
        case "error":
          return Effect.fail(call.errorOf(new Error(event.message), true))
        default:
          return Effect.succeed("")
      }
    }
  }).pipe(Stream.filter((text) => text !== ""))
}

if (import.meta.main) {
  await main("gpt-5", (model, prompt) => stream({ client: new OpenAI(), model, prompt, maxOutputTokens: 2_000 }))
}
