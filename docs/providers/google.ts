/**
 * Guarded calls through `@google/genai`, whole and streamed.
 *
 * `GOOGLE_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node google.ts gemini-3-flash "A question"`
 */
import { Usage } from "@effect-cycles/ai"
import { ApiError, GoogleGenAI } from "@google/genai"
import { Effect, Stream } from "effect"
import { guardCall, guardStream, inputEstimate, main, providerErrors, recordUsage } from "./support.ts"

/** A question to a model. Without `retryOptions`, the client doesn't retry. */
export interface Question {
  readonly client: GoogleGenAI
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, thoughts included. */
  readonly maxOutputTokens: number
}

const errorOf = providerErrors("google", (cause) => (cause instanceof ApiError ? { status: cause.status } : undefined))

const callOf = ({ maxOutputTokens, model, prompt }: Question) => ({
  name: `google:${model}`,
  input: inputEstimate(prompt),
  maxOutputTokens,
  errorOf
})

const bodyOf = ({ model, prompt }: Question, limit: number, abortSignal: AbortSignal) => ({
  model,
  contents: prompt,
  config: { maxOutputTokens: limit, abortSignal }
})

/** Asks a model, and returns its whole response. */
export const ask = (question: Question) =>
  guardCall({
    ...callOf(question),
    send: (limit, signal) => question.client.models.generateContent(bodyOf(question, limit, signal)),
    usageOf: (response) => Usage.fromGoogle(response.usageMetadata)
  })

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = (question: Question) => {
  const call = callOf(question)
  return guardStream({
    ...call,
    open: (limit, signal) => question.client.models.generateContentStream(bodyOf(question, limit, signal)),
    // Every chunk has the usage so far.
    read: (meter) => (chunk) => {
      const usage = Usage.fromGoogle(chunk.usageMetadata)
      const text = chunk.text ?? ""
      return Effect.as(usage === undefined ? meter(call.input, text) : recordUsage(usage), text)
    }
  }).pipe(Stream.filter((text) => text !== ""))
}

if (import.meta.main) {
  await main("gemini-3-flash", (model, prompt) => {
    const question = { client: new GoogleGenAI({}), model, prompt, maxOutputTokens: 2_000 }
    return Stream.concat(Stream.fromEffect(Effect.map(ask(question), ({ text = "" }) => text)), stream(question))
  })
}
