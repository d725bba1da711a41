/**
 * The tokenizer of OpenAI's models, from `gpt-tokenizer`, an optional peer: exact for text of the o200k vocabulary. It loads
 * about 70 MB.
 *
 * ```ts
 * const Exact = Estimator.layerTokenizer().pipe(Layer.provide(GptTokenizer.layer))
 * ```
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Tokenizer from "effect/ai/Tokenizer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { encode } from "gpt-tokenizer"

/** The o200k vocabulary. */
export const make: Tokenizer.Service = Tokenizer.make({
  tokenize: (prompt) => Effect.sync(() => prompt.content.flatMap((message) => encode(textOf(message))))
})

/** The o200k vocabulary. */
export const layer: Layer.Layer<Tokenizer.Tokenizer> = Layer.succeed(Tokenizer.Tokenizer, make)

const textOf = (message: Prompt.Message): string =>
  typeof message.content === "string"
    ? message.content
    : message.content
        .map((part) => {
          switch (part.type) {
            case "text":
            case "reasoning":
              return part.text
            case "tool-call":
              return part.name + JSON.stringify(part.params)
            case "tool-result":
              return part.name + JSON.stringify(part.result)
            default:
              return ""
          }
        })
        .join("\n")
