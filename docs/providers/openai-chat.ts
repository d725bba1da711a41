/**
 * Guarded calls through `openai`: chat completions, whole and streamed.
 *
 * `OPENAI_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node openai-chat.ts gpt-5 "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { Effect, Stream } from "effect"
import OpenAI, { APIError } from "openai"
import { guardCall, guardStream, inputEstimate, main, providerErrors, recordUsage } from "./support.ts"

/** A question to a model. */
export interface Question {
  readonly client: OpenAI
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, reasoning included. */
  readonly maxOutputTokens: number
}

/** The call of a question, for its guard. */
export const callOf = ({ maxOutputTokens, model, prompt }: Question) => ({
  name: `openai:${model}`,
  input: inputEstimate(prompt),
  maxOutputTokens,
  errorOf: providerErrors("openai", (cause) =>
    cause instanceof APIError ? { status: cause.status, details: [cause.code, cause.type] } : undefined
  )
})

const bodyOf = ({ model, prompt }: Question, limit: number) => ({
  model,
  messages: [{ role: "user" as const, content: prompt }],
  max_completion_tokens: limit
})

/** Asks a model, and returns its whole response. */
export const ask = (question: Question) =>
  guardCall({
    ...callOf(question),
    send: (limit, signal) =>
      question.client.chat.completions.create(bodyOf(question, limit), { signal, maxRetries: 0 }),
    usageOf: (response) => Usage.fromOpenAi(response.usage)
  })

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = (question: Question) => {
  const call = callOf(question)
  return guardStream({
    ...call,
    open: (limit, signal) =>
      question.client.chat.completions.create(
        // Without this option, a stream never reports its usage.
        { ...bodyOf(question, limit), stream: true, stream_options: { include_usage: true } },
        { signal, maxRetries: 0 }
      ),
    // Only the last chunk has the usage.
    read: (meter) => (chunk) => {
      const usage = Usage.fromOpenAi(chunk.usage)
      const text = chunk.choices[0]?.delta.content ?? ""
      return Effect.as(usage === undefined ? meter(call.input, text) : recordUsage(usage), text)
    }
  }).pipe(Stream.filter((text) => text !== ""))
}

/** The text of a whole response. */
export const textOf = ({ choices }: OpenAI.ChatCompletion): string => choices[0]?.message.content ?? ""

if (import.meta.main) {
  await main("gpt-5", (model, prompt) => {
    const question = { client: new OpenAI(), model, prompt, maxOutputTokens: 2_000 }
    return Stream.concat(Stream.fromEffect(Effect.map(ask(question), textOf)), stream(question))
  })
}
