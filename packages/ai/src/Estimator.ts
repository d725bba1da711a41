/**
 * Estimates how many tokens a call takes, before it is made.
 *
 * The default estimator counts features of the text (pieces of words, digits, signs, white space and scripts) and weighs them for
 * the vocabulary of the model. The weights make the estimate an upper bound for prose, code and data in the vocabularies that
 * they were measured with. It loads no vocabulary. Attachments are estimated by the rules of the provider.
 *
 * **Details**
 *
 * - The usage of finished calls corrects later estimates of the same model. A hidden prompt raises a constant part, a
 *   vocabulary that needs more tokens raises a factor, and attachments have separate factors. Text is never estimated below
 *   the weights.
 * - `fromTokenizer` counts by a tokenizer, for at most 50 ms per request by default. The rest, and everything if the
 *   tokenizer fails, is counted by features.
 *
 * **Gotchas**
 *
 * - Estimates can be too low for rare languages, for Chinese characters or Hangul in random order, and for content that the
 *   request doesn't have, such as the results of a web search that the provider runs.
 * - A model whose name isn't known is estimated by the largest of ten vocabularies. Vocabularies of 32,000 tokens that aren't
 *   recognized by name can need more.
 *
 * **Example** (Estimating a prompt)
 *
 * ```ts
 * import { Estimator } from "@effect-cycles/ai"
 * import { Effect } from "effect"
 * import { Prompt } from "effect/ai"
 *
 * export const program = Effect.gen(function* () {
 *   const estimator = Estimator.make()
 *   const estimate = yield* estimator.input({ model: "openai:gpt-5", prompt: Prompt.make("Hello"), tools: [] })
 *   return estimate.tokens
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as AiTokenizer from "effect/ai/Tokenizer"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { isClaude, isKnown, vocabulariesOf } from "./internal/estimator/columns.ts"
import { countAll, tokensOfString } from "./internal/estimator/count.ts"
import * as Exact from "./internal/estimator/exact.ts"
import * as Line from "./internal/estimator/line.ts"
import * as Parts from "./internal/estimator/parts.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A request that is about to be sent to a model.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** `provider:model`, or the model alone. The name decides the vocabulary and the rules for attachments. */
  readonly model: string
  /** The prompt of the request. */
  readonly prompt: Prompt.Prompt
  /** The tools that the request declares. */
  readonly tools: ReadonlyArray<Tool.Any>
  /** The schema of a structured response. */
  readonly schema?: Schema.Top | undefined
}

/**
 * A file in a prompt or in the result of a tool.
 *
 * @category models
 * @since 0.1.0
 */
export type Attachment = Prompt.FilePart

/**
 * Options of an estimator.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Returns the tokens of an attachment, or `undefined` to use the rule of the provider. The usage of calls corrects
   * later estimates in both cases. If it throws or returns a negative number or NaN, the rule of the provider is used.
   *
   * By default images are counted by their size, PDFs by pages, recordings by seconds, and texts such as JSON as text. An
   * address of a file that isn't an image counts 52,500 tokens.
   */
  readonly attachmentTokens?: ((attachment: Attachment) => number | undefined) | undefined
}

/**
 * Options of an estimator that counts by a tokenizer.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenizerOptions extends Options {
  /**
   * Returns whether the tokenizer has the vocabulary of a model. Its count is used alone for these models. For any other model
   * the larger of its count and the count by features is used. Default: the OpenAI models of o200k for `GptTokenizer`, no model
   * for another tokenizer.
   */
  readonly hasVocabularyOf?: ((model: string) => boolean) | undefined
  /** The time that one request may take the tokenizer. The rest of the request is counted by features. Default: 50 ms. */
  readonly timeLimit?: Duration.Input | undefined
}

const TypeId = "~@effect-cycles/ai/Estimator"

/**
 * The estimate of a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Estimate {
  /** `provider:model`, as in the request. */
  readonly model: string
  /** Input tokens to reserve, an integer of at least 1. */
  readonly tokens: number
  /** Tokens of everything but attachments, without corrections. */
  readonly text: number
  /** Tokens of the attachments by class (`image`, `pdf`, `audio`, `video`, `bytes`, `address`), without corrections. */
  readonly attachments: Readonly<Record<string, number>>
  /** Whether the request declares tools that the provider runs. Their results are input that isn't in the request. */
  readonly hasProviderTools: boolean
}

/**
 * The usage of a finished call, as its provider reported it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Actual {
  /** All input tokens, cached ones included, or `undefined` if the provider didn't report them. */
  readonly inputTokens: number | undefined
  /** Output tokens without reasoning, or `undefined` if the provider didn't report them. */
  readonly outputTokens: number | undefined
  /** The text of the response: text, visible reasoning, tool calls as JSON. */
  readonly output: string
}

/**
 * Estimates the tokens of calls.
 *
 * @category models
 * @since 0.1.0
 */
export interface Estimator {
  readonly [TypeId]: typeof TypeId
  /** Estimates the input tokens of a request. */
  readonly input: (request: Request) => Effect.Effect<Estimate>
  /** Returns the tokens of a response or of a part of it, an integer of at least 0. */
  readonly output: (model: string, text: string) => number
  /**
   * Corrects later estimates by the usage of a call. Call it for finished calls whose request was sent unchanged.
   * Usage that is missing, negative, zero or NaN is ignored.
   */
  readonly learn: (estimate: Estimate, actual: Actual) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Estimates the tokens of calls. Without this service, each guarded model has a separate estimator from `make`.
 *
 * @category services
 * @since 0.1.0
 */
export const Estimator: Context.Service<Estimator, Estimator> = Context.Service("@effect-cycles/ai/Estimator")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes an estimator that counts features of the text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Estimator => fromCount(countAll, options, slopeCap)

/**
 * Makes an estimator that counts the prompt by a tokenizer, and tools, schemas and attachments like `make`.
 *
 * The text is encoded in pieces of bounded size. A tokenizer that fails, dies, returns no list of tokens or takes longer than
 * `timeLimit` is replaced by `make` for the rest of the request, and so is a tokenizer for a request of more than 1,048,576
 * characters.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromTokenizer = (tokenizer: AiTokenizer.Service, options?: TokenizerOptions): Estimator => {
  const hasVocabularyOf = options?.hasVocabularyOf ?? (isForModels(tokenizer) ? tokenizer.hasVocabularyOf : () => false)
  const count = Exact.make(tokenizer, Duration.fromInputUnsafe(options?.timeLimit ?? 50))
  return fromCount(
    (texts, vocabularies, model) =>
      hasVocabularyOf(model)
        ? count(texts, vocabularies)
        : Effect.zipWith(count(texts, vocabularies), countAll(texts, vocabularies), (a, b) => Math.max(a, b)),
    options,
    (model) => (hasVocabularyOf(model) ? 1.1 : slopeCap(model))
  )
}

/** Whether a tokenizer has a list of models, such as `GptTokenizer.make`. */
const isForModels = (
  tokenizer: AiTokenizer.Service
): tokenizer is AiTokenizer.Service & { readonly hasVocabularyOf: (model: string) => boolean } =>
  Predicate.hasProperty(tokenizer, "hasVocabularyOf") && Predicate.isFunction(tokenizer.hasVocabularyOf)

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides the estimator of `make`. All models that the layer is provided to share it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Estimator> => Layer.sync(Estimator, () => make(options))

/**
 * Provides the estimator of `fromTokenizer`, with the tokenizer of `effect/ai` in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTokenizer = (options?: TokenizerOptions): Layer.Layer<Estimator, never, AiTokenizer.Tokenizer> =>
  Layer.effect(
    Estimator,
    Effect.map(AiTokenizer.Tokenizer, (tokenizer) => fromTokenizer(tokenizer, options))
  )

// ---------------------------------------------------------------------------------------------------------------------
// counting
// ---------------------------------------------------------------------------------------------------------------------

/** Tokens around a message. */
const messageTokens = 4

/** Tokens around the declaration of a tool. */
const toolTokens = 32

/** The prompt about tools that Claude adds: 159 to 530 tokens, by model and tool choice. */
const claudeToolsTokens = 700

/** The largest number of tokens that is estimated. */
const mostTokens = 100_000_000

/** The largest learned slope of a model: small if its vocabulary was measured. */
const slopeCap = (model: string): number => (isKnown(vocabulariesOf(model)) ? 1.25 : 2)

const fromCount = (
  count: (...args: [...Parameters<Exact.Count>, model: string]) => Effect.Effect<number>,
  options: Options | undefined,
  capOf: (model: string) => number
): Estimator => {
  const lineOf = Line.makeLines(capOf)
  const given = (part: Attachment): number | undefined => {
    try {
      const tokens = options?.attachmentTokens?.(part)
      return tokens !== undefined && tokens >= 0 ? Math.min(tokens, mostTokens) : undefined
    } catch {
      return undefined
    }
  }
  return {
    [TypeId]: TypeId,
    input: (request) =>
      Effect.gen(function* () {
        const { model, prompt, schema, tools } = request
        const vocabularies = vocabulariesOf(model)
        const contents = Parts.contentsOf(prompt, model, given)
        const declarations = tools.map(Parts.toolText)
        if (schema !== undefined) declarations.push(Parts.schemaText(schema))
        const hasHiddenPrompt = declarations.length > 0 && isClaude(model)
        const text =
          prompt.content.length * messageTokens +
          tools.length * toolTokens +
          (hasHiddenPrompt ? claudeToolsTokens : 0) +
          (yield* count(contents.texts, vocabularies, model)) +
          (yield* countAll(declarations, vocabularies))
        const attachments: Record<string, number> = {}
        for (const { kind, tokens } of contents.files) attachments[kind] = (attachments[kind] ?? 0) + tokens
        const hasProviderTools = tools.some(Parts.isRunByProvider)
        const tokens = lineOf(model, hasProviderTools).reserve({ text, attachments })
        return {
          model,
          tokens: Math.min(mostTokens, Math.max(1, Math.ceil(tokens))),
          text,
          attachments,
          hasProviderTools
        }
      }),
    output: (model, text) =>
      text === "" ? 0 : Math.ceil(tokensOfString(text, vocabulariesOf(model)) * lineOf(model, false).output()),
    learn: (estimate, { inputTokens, output, outputTokens }) => {
      const { hasProviderTools, model } = estimate
      if (isCount(inputTokens) && estimate.text >= 0) lineOf(model, hasProviderTools).learn(estimate, inputTokens)
      if (isCount(outputTokens) && output !== "") {
        lineOf(model, false).learnOutput(tokensOfString(output, vocabulariesOf(model)), outputTokens)
      }
    }
  }
}

/** Whether a reported number of tokens is possible for a call. */
const isCount = (tokens: number | undefined): tokens is number =>
  tokens !== undefined && tokens > 0 && tokens <= mostTokens
