/**
 * How many tokens a call will take, before it is made.
 *
 * The default counts bytes and takes one token for every two: above what today's vocabularies need for prose in any script,
 * for code and for JSON, and it loads nothing. What calls then really took corrects it, for each model: an estimate that was
 * too low is raised at once, one that was too high sinks slowly.
 *
 * Source: ours; measured against the o200k vocabulary.
 */
import * as AiTokenizer from "effect/ai/Tokenizer"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import { utf8Length } from "./internal/bytes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What is about to be sent to a model. */
export interface Request {
  /** `provider:model`, or what is known of it. */
  readonly model: string
  readonly prompt: Prompt.Prompt
  /** The tools that the model is shown. */
  readonly tools: ReadonlyArray<Tool.Any>
  /** The schema of a structured answer. */
  readonly schema?: Schema.Top | undefined
}

/** A file in a prompt. */
export type Attachment = Prompt.FilePart

/** How a default estimator counts. */
export interface Options {
  /**
   * Tokens of an attachment. Default: 2,000 for an image, half its bytes for a text, 20,000 for an address of anything else,
   * a tenth of its bytes for the rest; the provider's first answers correct it.
   */
  readonly attachmentTokens?: ((attachment: Attachment) => number) | undefined
}

const TypeId = "~@effect-cycles/ai/Estimator"

/** The estimate of a request. */
export interface Estimate {
  /** `provider:model`, as in the request. */
  readonly model: string
  /** Input tokens to reserve, an integer of at least 1. */
  readonly tokens: number
}

/** What a finished call used, as its provider reported it. */
export interface Actual {
  /** All input tokens, cached ones included, or `undefined` if the provider didn't report them. */
  readonly inputTokens: number | undefined
  /** Output tokens without reasoning, or `undefined` if the provider didn't report them. */
  readonly outputTokens: number | undefined
  /** The text of the response: text, visible reasoning, tool calls as JSON. */
  readonly output: string
}

/** Estimates how many tokens a call takes. */
export interface Estimator {
  readonly [TypeId]: typeof TypeId
  /** The input tokens of a request. */
  readonly input: (request: Request) => Effect.Effect<Estimate>
  /** The tokens of a response or a part of it, an integer of at least 0. */
  readonly output: (model: string, text: string) => number
  /** Corrects later estimates by the usage of a call. */
  readonly learn: (estimate: Estimate, actual: Actual) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** How many tokens a call will take. Where none is provided, each guarded model has one of its own, by bytes. */
export const Estimator: Context.Service<Estimator, Estimator> = Context.Service("@effect-cycles/ai/Estimator")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** By bytes. */
export const make = (options?: Options): Estimator => {
  const attachmentTokens = options?.attachmentTokens ?? defaultAttachmentTokens
  return calibrated((request) => Effect.sync(() => byBytes(request, attachmentTokens)))
}

/** By a tokenizer; tools, schemas and attachments, which it doesn't count, by bytes. Where it fails, all by bytes. */
export const fromTokenizer = (tokenizer: AiTokenizer.Service, options?: Options): Estimator => {
  const attachmentTokens = options?.attachmentTokens ?? defaultAttachmentTokens
  return calibrated((request) =>
    Effect.match(tokenizer.tokenize(request.prompt), {
      onFailure: () => byBytes(request, attachmentTokens),
      onSuccess: (tokens) =>
        tokens.length +
        request.prompt.content.length * messageTokens +
        attachmentsOf(request.prompt).reduce((all, part) => all + sane(attachmentTokens(part)), 0) +
        Math.ceil(declarationBytes(request) / bytesPerToken)
    })
  )
}

/** Corrects what a count says by what calls really took. */
const calibrated = (count: (request: Request) => Effect.Effect<number>): Estimator => {
  const ratios = new Map<string, number>()
  return {
    [TypeId]: TypeId,
    input: (request) =>
      Effect.map(count(request), (tokens) => ({
        model: request.model,
        tokens: Math.max(1, Math.ceil(sane(tokens) * (ratios.get(request.model) ?? 1)))
      })),
    output: (model, text) => Math.ceil((utf8Length(text) / bytesPerToken) * Math.max(minRatio, ratios.get(model) ?? 1)),
    learn: ({ model, tokens }, { inputTokens }) => {
      if (inputTokens === undefined || !(inputTokens > 0)) return
      const before = ratios.get(model) ?? 1
      const seen = clamp((before * inputTokens * headroom) / tokens)
      ratios.set(model, seen >= before ? seen : clamp(before + (seen - before) * sinking))
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** By bytes; one for all models that it is provided to. */
export const layer = (options?: Options): Layer.Layer<Estimator> => Layer.sync(Estimator, () => make(options))

/** By the tokenizer of `effect/ai` that is there. */
export const layerTokenizer = (options?: Options): Layer.Layer<Estimator, never, AiTokenizer.Tokenizer> =>
  Layer.effect(
    Estimator,
    Effect.map(AiTokenizer.Tokenizer, (tokenizer) => fromTokenizer(tokenizer, options))
  )

// ---------------------------------------------------------------------------------------------------------------------
// counting
// ---------------------------------------------------------------------------------------------------------------------

const bytesPerToken = 2

/** What the frame around a message costs. */
const messageTokens = 4

const byBytes = (request: Request, attachmentTokens: (attachment: Attachment) => number): number => {
  let bytes = declarationBytes(request)
  let tokens = 0
  for (const message of request.prompt.content) {
    tokens += messageTokens
    if (typeof message.content === "string") {
      bytes += utf8Length(message.content)
      continue
    }
    for (const part of message.content) {
      if (part.type === "file") tokens += sane(attachmentTokens(part))
      else bytes += partBytes(part)
    }
  }
  return tokens + Math.ceil(bytes / bytesPerToken)
}

const partBytes = (part: Exclude<Prompt.Part, Prompt.FilePart>): number => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return utf8Length(part.text)
    case "tool-call":
      return utf8Length(part.name) + jsonBytes(part.params)
    case "tool-result":
      return utf8Length(part.name) + jsonBytes(part.result)
    default:
      return 0
  }
}

/** What the tools and the schema of the answer add to the request. */
const declarationBytes = (request: Request): number =>
  request.tools.reduce((all, tool) => all + toolBytes(tool), 0) +
  (request.schema === undefined ? 0 : jsonBytes(Tool.getJsonSchemaFromSchema(request.schema)))

const measuredTools = new WeakMap<Tool.Any, number>()

const toolBytes = (tool: Tool.Any): number => {
  const known = measuredTools.get(tool)
  if (known !== undefined) return known
  const bytes =
    utf8Length(tool.name) + utf8Length(Tool.getDescription(tool) ?? "") + jsonBytes(Tool.getJsonSchema(tool)) + 32
  measuredTools.set(tool, bytes)
  return bytes
}

const attachmentsOf = (prompt: Prompt.Prompt): ReadonlyArray<Attachment> =>
  prompt.content.flatMap((message) =>
    typeof message.content === "string" ? [] : message.content.flatMap((part) => (part.type === "file" ? [part] : []))
  )

const defaultAttachmentTokens = (attachment: Attachment): number => {
  const { data, mediaType } = attachment
  if (mediaType.startsWith("image/")) return 2_000
  if (data instanceof URL) return 20_000
  const bytes = typeof data === "string" ? data.length : data.byteLength
  return Math.ceil(bytes / (mediaType.startsWith("text/") ? bytesPerToken : 10))
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** How far above what a call took the next estimate stays. */
const headroom = 1.1

/** How much of the way down one call takes the estimate. */
const sinking = 0.2

const minRatio = 0.1
const maxRatio = 8

const clamp = (ratio: number): number => Math.min(maxRatio, Math.max(minRatio, ratio))

/** A count that can be reserved: not below zero, not without bound. */
const sane = (tokens: number): number => (tokens >= 0 ? Math.min(tokens, 100_000_000) : 0)

const jsonBytes = (value: unknown): number => {
  try {
    return utf8Length(JSON.stringify(value) ?? "")
  } catch {
    return 0
  }
}
