/**
 * Guarded calls through `@anthropic-ai/sdk`, whole and streamed.
 *
 * `ANTHROPIC_API_KEY=... CYCLES_BASE_URL=... CYCLES_API_KEY=... CYCLES_TENANT=... node anthropic.ts claude-sonnet-5 "A question"`
 */
import Anthropic, { APIError } from "@anthropic-ai/sdk"
import { Usage } from "@effect-cycles/ai"
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

/** A question to a model. */
export interface Question {
  readonly client: Anthropic
  readonly model: string
  readonly prompt: string
  /** The most tokens that the model may generate, thinking included. `ask` needs a timeout above 21,333. */
  readonly maxOutputTokens: number
}

const errorOf = (cause: unknown, hasBegun = false) =>
  cause instanceof APIError && !hasBegun
    ? providerError("anthropic", cause, cause.status, cause.type)
    : providerError("anthropic", cause, undefined)

/** Asks a model, and returns its whole response. */
export const ask = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const input = inputEstimate(prompt)
  return Effect.gen(function* () {
    const limit = yield* outputLimit(maxOutputTokens)
    const response = yield* Effect.tryPromise({
      try: (signal) =>
        client.messages.create(
          { model, messages: [{ role: "user", content: prompt }], max_tokens: limit },
          // A retry of the SDK would be a second call under the same reservation.
          { signal, maxRetries: 0 }
        ),
      catch: errorOf
    }).pipe(chargeIfLost(input + limit))
    yield* recordUsage(Usage.fromAnthropic(response.usage), input + limit)
    return response
  }).pipe(
    Cycles.withCycles({
      action: { kind: "llm.completion", name: `anthropic:${model}` },
      estimate: Amount.tokens(input + maxOutputTokens)
    })
  )
}

/** Asks a model, and returns the text of its response as it arrives. */
export const stream = ({ client, maxOutputTokens, model, prompt }: Question) => {
  const estimate = inputEstimate(prompt)
  return Stream.unwrap(
    Effect.gen(function* () {
      const limit = yield* outputLimit(maxOutputTokens)
      const meter = textMeter(limit)
      const events = yield* cancellable(
        (signal) =>
          client.messages.create(
            { model, messages: [{ role: "user", content: prompt }], max_tokens: limit, stream: true },
            { signal, maxRetries: 0 }
          ),
        errorOf
      ).pipe(chargeIfLost(estimate))
      yield* recordEstimate(estimate)

      // `message_start` reports the input, `message_delta` the output so far.
      let start: Usage.Usage | undefined
      const input = () => start?.inputTokens ?? estimate
      return events.pipe(
        Stream.mapEffect((event) => {
          switch (event.type) {
            case "message_start":
              start = Usage.fromAnthropic(event.message.usage)
              return Effect.as(meter(input(), ""), "")
            case "content_block_delta": {
              const { delta } = event
              const text = delta.type === "text_delta" ? delta.text : ""
              const other =
                delta.type === "thinking_delta"
                  ? delta.thinking
                  : delta.type === "input_json_delta"
                    ? delta.partial_json
                    : ""
              return Effect.as(meter(input(), text + other), text)
            }
            case "message_delta": {
              const end = Usage.fromAnthropic(event.usage)
              const usage = start === undefined || end === undefined ? end : Usage.larger(start, end)
              return Effect.as(usage === undefined ? Effect.void : recordUsage(usage, estimate), "")
            }
            default:
              return Effect.succeed("")
          }
        }),
        Stream.filter((text) => text !== "")
      )
    })
  ).pipe(
    Cycles.withCyclesStream({
      action: { kind: "llm.completion", name: `anthropic:${model}` },
      estimate: Amount.tokens(estimate + maxOutputTokens)
    })
  )
}

if (import.meta.main) {
  const [model = "claude-sonnet-5", prompt = "Hello"] = process.argv.slice(2)
  const question = { client: new Anthropic(), model, prompt, maxOutputTokens: 2_000 }
  await ask(question).pipe(
    Effect.andThen(({ content }) =>
      Console.log(content.map((block) => (block.type === "text" ? block.text : "")).join(""))
    ),
    Effect.andThen(Stream.runForEach(stream(question), (text) => Console.log(text))),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}
