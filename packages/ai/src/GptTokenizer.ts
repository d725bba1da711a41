/**
 * The tokenizer of OpenAI's models, from the optional peer dependency `gpt-tokenizer`. It is exact for text in the vocabulary
 * o200k, and loads about 70 MB.
 *
 * **Details**
 *
 * Strings of special tokens, such as `<|endoftext|>`, are encoded as text. Runs of more than 512 characters without a boundary
 * are encoded in pieces, which takes up to 0.4 % more tokens.
 *
 * **Example** (Estimating by the tokenizer)
 *
 * ```ts
 * import { Estimator } from "@effect-cycles/ai"
 * import * as GptTokenizer from "@effect-cycles/ai/GptTokenizer"
 * import { Layer } from "effect"
 *
 * export const ExactEstimator = Estimator.layerTokenizer().pipe(Layer.provide(GptTokenizer.layer))
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Tokenizer from "effect/ai/Tokenizer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { encode } from "gpt-tokenizer"
import { vocabulariesOf } from "./internal/estimator/columns.ts"
import { cut } from "./internal/estimator/cut.ts"
import { contentsOf } from "./internal/estimator/parts.ts"

/**
 * A tokenizer with the models that have its vocabulary.
 *
 * @category models
 * @since 0.1.0
 */
export interface GptTokenizer extends Tokenizer.Service {
  /** Returns whether a model, `provider:model`, has the vocabulary o200k. */
  readonly hasVocabularyOf: (model: string) => boolean
}

/**
 * The tokenizer of o200k. It tokenizes the texts of a prompt, and skips attachments that aren't text. It fails with
 * `AiError` if the encoder throws.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: GptTokenizer = {
  ...Tokenizer.make({
    tokenize: (prompt) =>
      Effect.gen(function* () {
        const tokens: Array<number> = []
        let sinceTurn = 0
        for (const { text } of contentsOf(prompt, "", () => undefined).texts) {
          for (const piece of cut(text)) {
            for (const token of yield* encodePiece(piece)) tokens.push(token)
            sinceTurn += piece.length
            if (sinceTurn >= 65_536) {
              sinceTurn = 0
              yield* Effect.yieldNow
            }
          }
        }
        return tokens
      })
  }),
  hasVocabularyOf: (model) => vocabulariesOf(model).every((vocabulary) => vocabulary === "o200k")
}

/**
 * Provides the tokenizer of o200k.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Tokenizer.Tokenizer> = Layer.succeed(Tokenizer.Tokenizer, make)

const noSpecialTokens = { disallowedSpecial: new Set<string>() }

const encodePiece = (piece: string): Effect.Effect<ReadonlyArray<number>, AiError.AiError> =>
  Effect.try({
    try: () => encode(piece, noSpecialTokens),
    catch: (cause) =>
      AiError.make({
        module: "GptTokenizer",
        method: "tokenize",
        reason: new AiError.InternalProviderError({ description: `gpt-tokenizer failed: ${String(cause)}` })
      })
  })
