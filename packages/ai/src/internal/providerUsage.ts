/**
 * The usage that provider SDKs report, as a `Usage`.
 *
 * The parameters are structural: the SDKs aren't dependencies, and a response of a compatible server is accepted as well. All
 * fields are optional and may be null. A count that isn't a finite number of at least 0 is treated as missing.
 */
import { largest, sum } from "./reported.ts"
import * as Unknown from "./unknown.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A count that may be missing. */
type Count = number | null | undefined

/** Token counts by modality, as Gemini reports them. */
type Modalities = ReadonlyArray<{ readonly modality?: string | undefined; readonly tokenCount?: Count }>

/**
 * The `usage` of OpenAI's chat completions and of servers that are compatible with them.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenAiChatUsage {
  /** All input tokens. */
  readonly prompt_tokens?: Count
  /** All output tokens. */
  readonly completion_tokens?: Count
  /** The sum. If it is larger than the two counts, the difference is output that they leave out. */
  readonly total_tokens?: Count
  /** The parts of the input. */
  readonly prompt_tokens_details?:
    | {
        readonly cached_tokens?: Count
        readonly cache_write_tokens?: Count
        readonly audio_tokens?: Count
        readonly image_tokens?: Count
      }
    | null
    | undefined
  /** The parts of the output. */
  readonly completion_tokens_details?:
    | { readonly reasoning_tokens?: Count; readonly audio_tokens?: Count; readonly image_tokens?: Count }
    | null
    | undefined
}

/**
 * The `usage` of OpenAI's Responses API.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenAiResponsesUsage {
  /** All input tokens. */
  readonly input_tokens?: Count
  /** All output tokens. */
  readonly output_tokens?: Count
  /** The sum. If it is larger than the two counts, the difference is output that they leave out. */
  readonly total_tokens?: Count
  /** The parts of the input. */
  readonly input_tokens_details?:
    | {
        readonly cached_tokens?: Count
        readonly cache_write_tokens?: Count
        readonly audio_tokens?: Count
        readonly image_tokens?: Count
      }
    | null
    | undefined
  /** The parts of the output. */
  readonly output_tokens_details?:
    | { readonly reasoning_tokens?: Count; readonly audio_tokens?: Count; readonly image_tokens?: Count }
    | null
    | undefined
}

/**
 * The `usage` of Anthropic's messages, and of the events `message_start` and `message_delta`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnthropicUsage {
  /** Input tokens, without those read from or written to the cache. */
  readonly input_tokens?: Count
  /** Input tokens read from the cache. */
  readonly cache_read_input_tokens?: Count
  /** Input tokens written to the cache. */
  readonly cache_creation_input_tokens?: Count
  /** Input tokens written to the cache, by lifetime. */
  readonly cache_creation?:
    | { readonly ephemeral_5m_input_tokens?: Count; readonly ephemeral_1h_input_tokens?: Count }
    | null
    | undefined
  /** All output tokens. */
  readonly output_tokens?: Count
  /** The parts of the output. */
  readonly output_tokens_details?: { readonly thinking_tokens?: Count } | null | undefined
  /** Calls of Anthropic's tools. */
  readonly server_tool_use?:
    | { readonly web_search_requests?: Count; readonly web_fetch_requests?: Count }
    | null
    | undefined
}

/**
 * The `usage` of the AI SDK's `generateText` and `streamText`, and of its embeddings, whose count is `tokens`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AiSdkUsage {
  /** All input tokens. */
  readonly inputTokens?: Count
  /** The parts of the input. */
  readonly inputTokenDetails?: { readonly cacheReadTokens?: Count; readonly cacheWriteTokens?: Count } | undefined
  /** All output tokens. */
  readonly outputTokens?: Count
  /** The parts of the output. */
  readonly outputTokenDetails?: { readonly reasoningTokens?: Count } | undefined
  /** The sum. */
  readonly totalTokens?: Count
  /** The tokens of an embedding. */
  readonly tokens?: Count
  /** The provider's own report. Only its total is read, which may be larger than the counts. */
  readonly raw?: object | null | undefined
}

/**
 * The `usage` of one call, as a middleware of the AI SDK receives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface AiSdkCallUsage {
  /** The input. */
  readonly inputTokens?:
    | { readonly total?: Count; readonly noCache?: Count; readonly cacheRead?: Count; readonly cacheWrite?: Count }
    | undefined
  /** The output. */
  readonly outputTokens?: { readonly total?: Count; readonly text?: Count; readonly reasoning?: Count } | undefined
  /** The provider's own report. Only its total is read, which may be larger than the counts. */
  readonly raw?: object | null | undefined
}

/**
 * The `usageMetadata` of Gemini.
 *
 * @category models
 * @since 0.1.0
 */
export interface GoogleUsage {
  /** Input tokens, with those read from the cache and without the results of Google's tools. */
  readonly promptTokenCount?: Count
  /** Input tokens that are results of Google's tools. */
  readonly toolUsePromptTokenCount?: Count
  /** Input tokens read from the cache. */
  readonly cachedContentTokenCount?: Count
  /** Output tokens, without thoughts. */
  readonly candidatesTokenCount?: Count
  /** Output tokens of a live session, which has this count instead of `candidatesTokenCount`. */
  readonly responseTokenCount?: Count
  /** Output tokens that are thoughts. */
  readonly thoughtsTokenCount?: Count
  /** The sum. If it is larger than the other counts, the difference is output that they leave out. */
  readonly totalTokenCount?: Count
  /** The prompt's tokens by modality. */
  readonly promptTokensDetails?: Modalities | null | undefined
  /** The tool results' tokens by modality. */
  readonly toolUsePromptTokensDetails?: Modalities | null | undefined
  /** The output's tokens by modality. */
  readonly candidatesTokensDetails?: Modalities | null | undefined
  /** The output's tokens by modality, in a live session. */
  readonly responseTokensDetails?: Modalities | null | undefined
}

/**
 * A response of Ollama, which has its counts itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface OllamaUsage {
  /** All input tokens. */
  readonly prompt_eval_count?: Count
  /** All output tokens. */
  readonly eval_count?: Count
}

/**
 * The `usage` of Bedrock's Converse API.
 *
 * @category models
 * @since 0.1.0
 */
export interface BedrockUsage {
  /** Input tokens, without those read from or written to the cache. */
  readonly inputTokens?: Count
  /** Input tokens read from the cache. */
  readonly cacheReadInputTokens?: Count
  /** Input tokens written to the cache. */
  readonly cacheWriteInputTokens?: Count
  /** All output tokens. */
  readonly outputTokens?: Count
}

/**
 * The usage that was read from a report. It is a `Usage`.
 *
 * @category models
 * @since 0.1.0
 */
export type ProviderUsage = ReturnType<typeof usageOf>

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads the usage of OpenAI's chat completions, of its Responses API, and of compatible servers. Returns `undefined` if no
 * tokens were reported.
 *
 * **Details**
 *
 * Some compatible servers leave the reasoning out of `completion_tokens`, or the cached tokens out of `prompt_tokens`. If the
 * counts show it, those tokens are added: the part is larger than the whole, or `total_tokens` is larger than the sum.
 *
 * **Gotchas**
 *
 * A stream of chat completions reports its usage only with `stream_options: { include_usage: true }`, in its last chunk.
 *
 * **Example** (Reading a response of chat completions)
 *
 * ```ts
 * import { Usage } from "@effect-cycles/ai"
 *
 * const usage = Usage.fromOpenAi({ prompt_tokens: 20, completion_tokens: 30, prompt_tokens_details: { cached_tokens: 8 } })
 * console.log([usage?.inputTokens, usage?.cacheReadTokens, usage?.outputTokens]) // [ 20, 8, 30 ]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromOpenAi = (
  usage: OpenAiChatUsage | OpenAiResponsesUsage | null | undefined
): ProviderUsage | undefined => {
  const input = objectOf(Unknown.read(usage, "prompt_tokens_details")) ?? Unknown.read(usage, "input_tokens_details")
  const output =
    objectOf(Unknown.read(usage, "completion_tokens_details")) ?? Unknown.read(usage, "output_tokens_details")
  return read({
    input: count(usage, "prompt_tokens") ?? count(usage, "input_tokens"),
    output: count(usage, "completion_tokens") ?? count(usage, "output_tokens"),
    total: count(usage, "total_tokens"),
    cacheRead: count(input, "cached_tokens"),
    cacheWrite: count(input, "cache_write_tokens"),
    reasoning: count(output, "reasoning_tokens"),
    inputAudio: count(input, "audio_tokens"),
    inputImage: count(input, "image_tokens"),
    outputAudio: count(output, "audio_tokens"),
    outputImage: count(output, "image_tokens")
  })
}

/**
 * Reads the usage of Anthropic's messages. Returns `undefined` if no tokens were reported.
 *
 * **Details**
 *
 * All input is the sum of `input_tokens`, `cache_read_input_tokens` and `cache_creation_input_tokens`. In a stream,
 * `message_start` reports the input and `message_delta` the output so far: pass their fields as one object, or combine the two
 * with `larger`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAnthropic = (usage: AnthropicUsage | null | undefined): ProviderUsage | undefined => {
  const written = Unknown.read(usage, "cache_creation")
  const hour = count(written, "ephemeral_1h_input_tokens")
  const tools = Unknown.read(usage, "server_tool_use")
  const cacheRead = count(usage, "cache_read_input_tokens")
  const cacheWrite = largest(
    count(usage, "cache_creation_input_tokens"),
    sum(hour, count(written, "ephemeral_5m_input_tokens"))
  )
  return read({
    input: sum(count(usage, "input_tokens"), cacheRead, cacheWrite),
    output: count(usage, "output_tokens"),
    cacheRead,
    cacheWrite,
    cacheWriteHour: hour,
    reasoning: count(Unknown.read(usage, "output_tokens_details"), "thinking_tokens"),
    toolCalls: {
      web_search: count(tools, "web_search_requests"),
      web_fetch: count(tools, "web_fetch_requests")
    }
  })
}

/**
 * Reads the usage of the AI SDK: of `generateText`, `streamText`, an embedding, or one call in a middleware. Returns
 * `undefined` if no tokens were reported.
 *
 * **Gotchas**
 *
 * `usage` of `generateText` is the sum of all steps. A stream of `@ai-sdk/openai-compatible` reports its usage only with
 * `includeUsage: true`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAiSdk = (usage: AiSdkUsage | AiSdkCallUsage | null | undefined): ProviderUsage | undefined => {
  const inputs = objectOf(Unknown.read(usage, "inputTokens"))
  const outputs = objectOf(Unknown.read(usage, "outputTokens"))
  const input = Unknown.read(usage, "inputTokenDetails")
  const output = Unknown.read(usage, "outputTokenDetails")
  const raw = Unknown.read(usage, "raw")
  const cacheRead = count(inputs, "cacheRead") ?? count(input, "cacheReadTokens")
  const cacheWrite = count(inputs, "cacheWrite") ?? count(input, "cacheWriteTokens")
  const reasoning = count(outputs, "reasoning") ?? count(output, "reasoningTokens")
  return read({
    input:
      count(inputs, "total") ??
      count(usage, "inputTokens") ??
      count(usage, "tokens") ??
      sum(count(inputs, "noCache") ?? count(input, "noCacheTokens"), cacheRead, cacheWrite),
    output:
      count(outputs, "total") ??
      count(usage, "outputTokens") ??
      sum(count(outputs, "text") ?? count(output, "textTokens"), reasoning),
    total: largest(count(usage, "totalTokens"), count(raw, "total_tokens"), count(raw, "totalTokenCount")),
    cacheRead,
    cacheWrite,
    reasoning
  })
}

/**
 * Reads the usage of Gemini. Returns `undefined` if no tokens were reported.
 *
 * **Details**
 *
 * All output is the sum of the candidates and the thoughts. In a stream, every chunk reports the totals so far.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromGoogle = (usage: GoogleUsage | null | undefined): ProviderUsage | undefined => {
  const input = (...modalities: ReadonlyArray<string>) =>
    sum(
      ofModality(Unknown.read(usage, "promptTokensDetails"), modalities),
      ofModality(Unknown.read(usage, "toolUsePromptTokensDetails"), modalities)
    )
  const output = (...modalities: ReadonlyArray<string>) =>
    largest(
      ofModality(Unknown.read(usage, "candidatesTokensDetails"), modalities),
      ofModality(Unknown.read(usage, "responseTokensDetails"), modalities)
    )
  const reasoning = count(usage, "thoughtsTokenCount")
  return read({
    input: sum(count(usage, "promptTokenCount"), count(usage, "toolUsePromptTokenCount")),
    output: sum(largest(count(usage, "candidatesTokenCount"), count(usage, "responseTokenCount")), reasoning),
    total: count(usage, "totalTokenCount"),
    cacheRead: count(usage, "cachedContentTokenCount"),
    reasoning,
    inputAudio: input("AUDIO"),
    inputImage: input("IMAGE", "VIDEO"),
    outputAudio: output("AUDIO"),
    outputImage: output("IMAGE", "VIDEO")
  })
}

/**
 * Reads the usage of an Ollama response, or of the last chunk of its stream. Returns `undefined` if no tokens were reported.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromOllama = (response: OllamaUsage | null | undefined): ProviderUsage | undefined =>
  read({ input: count(response, "prompt_eval_count"), output: count(response, "eval_count") })

/**
 * Reads the usage of Bedrock's Converse API, or of the `metadata` event of its stream. Returns `undefined` if no tokens were
 * reported.
 *
 * **Details**
 *
 * All input is the sum of `inputTokens`, `cacheReadInputTokens` and `cacheWriteInputTokens`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromBedrock = (usage: BedrockUsage | null | undefined): ProviderUsage | undefined => {
  const cacheRead = count(usage, "cacheReadInputTokens")
  const cacheWrite = count(usage, "cacheWriteInputTokens")
  return read({
    input: sum(count(usage, "inputTokens"), cacheRead, cacheWrite),
    output: count(usage, "outputTokens"),
    cacheRead,
    cacheWrite
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

type Read = number | undefined

/** The counts of a report. */
interface Report {
  readonly input: Read
  readonly output: Read
  readonly total?: Read
  readonly cacheRead?: Read
  readonly cacheWrite?: Read
  readonly cacheWriteHour?: Read
  readonly reasoning?: Read
  readonly inputAudio?: Read
  readonly inputImage?: Read
  readonly outputAudio?: Read
  readonly outputImage?: Read
  readonly toolCalls?: Readonly<Record<string, Read>>
}

/** The usage of a report, unless all of its totals are missing or 0. */
const read = (report: Report): ProviderUsage | undefined => {
  const cached = (report.cacheRead ?? 0) + (report.cacheWrite ?? 0)
  const inputTokens = whole(report.input ?? 0, cached)
  const known = whole(report.output ?? 0, report.reasoning ?? 0)
  const outputTokens = Math.max(known, (report.total ?? 0) - inputTokens)
  return inputTokens + outputTokens === 0 ? undefined : usageOf(report, inputTokens, outputTokens)
}

const usageOf = (report: Report, inputTokens: number, outputTokens: number) => {
  const toolCalls: Record<string, number> = {}
  for (const [name, calls] of Object.entries(report.toolCalls ?? {})) {
    if (calls !== undefined && calls > 0) toolCalls[name] = calls
  }
  return {
    inputTokens,
    cacheReadTokens: report.cacheRead ?? 0,
    cacheWriteTokens: report.cacheWrite ?? 0,
    cacheWriteHourTokens: report.cacheWriteHour ?? 0,
    inputAudioTokens: report.inputAudio ?? 0,
    inputImageTokens: report.inputImage ?? 0,
    outputTokens,
    reasoningTokens: report.reasoning ?? 0,
    outputAudioTokens: report.outputAudio ?? 0,
    outputImageTokens: report.outputImage ?? 0,
    toolCalls
  }
}

/** A part that is larger than its total isn't included in it. */
const whole = (total: number, part: number): number => (part > total ? total + part : total)

const objectOf = (value: unknown): object | undefined =>
  typeof value === "object" && value !== null ? value : undefined

const count = (value: unknown, name: string): Read => Unknown.count(Unknown.read(value, name))

/** The tokens of some modalities. */
const ofModality = (details: unknown, modalities: ReadonlyArray<unknown>): Read =>
  sum(
    ...Unknown.items(details).flatMap((one) =>
      modalities.includes(Unknown.read(one, "modality")) ? [count(one, "tokenCount")] : []
    )
  )
