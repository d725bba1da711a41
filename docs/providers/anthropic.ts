/**
 * Guarded calls through `@anthropic-ai/sdk`, whole and streamed.
 *
 * `ANTHROPIC_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node anthropic.ts claude-sonnet-5 "A question"`
 */
import Anthropic, { APIError } from "@anthropic-ai/sdk"
import { Usage } from "@effect-cycles/ai"
import { Effect, Stream } from "effect"
import { guardCall, guardStream, inputEstimate, main, providerErrors, recordUsage } from "./support.ts"

/** A question to a model. */
export interface Question {
  readonly client: Anthropic
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, thinking included. `ask` needs a timeout above 21,333. */
  readonly maxOutputTokens: number
}

const errorOf = providerErrors("anthropic", (cause) =>
  cause instanceof APIError ? { status: cause.status, details: cause.type } : undefined
)

const callOf = ({ maxOutputTokens, model, prompt }: Question) => ({
  name: `anthropic:${model}`,
  input: inputEstimate(prompt),
  maxOutputTokens,
  errorOf
})

const bodyOf = ({ model, prompt }: Question, limit: number) => ({
  model,
  messages: [{ role: "user" as const, content: prompt }],
  max_tokens: limit
})

/** Asks a model, and returns its whole response. */
export const ask = (question: Question) =>
  guardCall({
    ...callOf(question),
    send: (limit, signal) => question.client.messages.create(bodyOf(question, limit), { signal, maxRetries: 0 }),
    usageOf: (response) => Usage.fromAnthropic(response.usage)
  })

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = (question: Question) => {
  const call = callOf(question)
  return guardStream({
    ...call,
    open: (limit, signal) =>
      question.client.messages.create({ ...bodyOf(question, limit), stream: true }, { signal, maxRetries: 0 }),
    read: (meter) => {
      // `message_start` reports the input, `message_delta` the output so far.
      let start: Usage.Usage | undefined
      const count = (text: string) => meter(start?.inputTokens ?? call.input, text)
      return (event) => {
        switch (event.type) {
          case "message_start":
            start = Usage.fromAnthropic(event.message.usage)
            return Effect.as(count(""), "")
          case "content_block_delta":
            switch (event.delta.type) {
              case "text_delta":
                return Effect.as(count(event.delta.text), event.delta.text)
              case "thinking_delta":
                return Effect.as(count(event.delta.thinking), "")
              case "input_json_delta":
                return Effect.as(count(event.delta.partial_json), "")
              default:
                return Effect.succeed("")
            }
          case "message_delta": {
            const end = Usage.fromAnthropic(event.usage)
            return Effect.as(recordUsage(start === undefined || end === undefined ? end : Usage.larger(start, end)), "")
          }
          default:
            return Effect.succeed("")
        }
      }
    }
  }).pipe(Stream.filter((text) => text !== ""))
}

/** The text of a whole response. */
export const textOf = ({ content }: Anthropic.Message): string =>
  content.map((block) => (block.type === "text" ? block.text : "")).join("")

if (import.meta.main) {
  await main("claude-sonnet-5", (model, prompt) => {
    const question = { client: new Anthropic(), model, prompt, maxOutputTokens: 2_000 }
    return Stream.concat(Stream.fromEffect(Effect.map(ask(question), textOf)), stream(question))
  })
}
