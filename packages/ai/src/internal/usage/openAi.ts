/**
 * Usage of OpenAI's chat completions and Responses API, and of compatible servers.
 */
import { countAt, isObject, read } from "../unknown.ts"
import type { Count, ProviderUsage } from "./report.ts"
import { sum, toolCallsOf, usageOf } from "./report.ts"

interface InputDetails {
  readonly cached_tokens?: Count
  readonly cache_write_tokens?: Count
  readonly audio_tokens?: Count
  readonly image_tokens?: Count
  readonly video_tokens?: Count
}

interface OutputDetails {
  readonly reasoning_tokens?: Count
  readonly audio_tokens?: Count
  readonly image_tokens?: Count
  readonly video_tokens?: Count
}

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
  readonly prompt_tokens_details?: InputDetails | null | undefined
  /** The parts of the output. */
  readonly completion_tokens_details?: OutputDetails | null | undefined
  /** Calls of OpenRouter's tools. */
  readonly server_tool_use?: { readonly web_search_requests?: Count } | null | undefined
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
  readonly input_tokens_details?: InputDetails | null | undefined
  /** The parts of the output. */
  readonly output_tokens_details?: OutputDetails | null | undefined
}

/**
 * Reads the usage of OpenAI's chat completions, of its Responses API, and of compatible servers. Returns `undefined` if
 * no tokens were reported.
 *
 * **Details**
 *
 * Some compatible servers leave the reasoning out of `completion_tokens`, or the cached tokens out of `prompt_tokens`.
 * If the counts show it, those tokens are added: the part is larger than the whole, or `total_tokens` is larger than
 * the sum.
 *
 * **Gotchas**
 *
 * A stream of chat completions reports its usage only with `stream_options: { include_usage: true }`, in its last
 * chunk. OpenRouter reports web searches in the usage, and they are `toolCalls`. OpenAI reports its tool calls outside
 * of the usage.
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
  const details = (...names: ReadonlyArray<string>) => names.map((name) => read(usage, name)).find(isObject)
  const input = details("prompt_tokens_details", "input_tokens_details")
  const output = details("completion_tokens_details", "output_tokens_details")
  return usageOf({
    inputTokens: countAt(usage, "prompt_tokens") ?? countAt(usage, "input_tokens"),
    outputTokens: countAt(usage, "completion_tokens") ?? countAt(usage, "output_tokens"),
    totalTokens: countAt(usage, "total_tokens"),
    cacheReadTokens: countAt(input, "cached_tokens"),
    cacheWriteTokens: countAt(input, "cache_write_tokens"),
    reasoningTokens: countAt(output, "reasoning_tokens"),
    inputAudioTokens: countAt(input, "audio_tokens"),
    inputImageTokens: sum(countAt(input, "image_tokens"), countAt(input, "video_tokens")),
    outputAudioTokens: countAt(output, "audio_tokens"),
    outputImageTokens: sum(countAt(output, "image_tokens"), countAt(output, "video_tokens")),
    toolCalls: toolCallsOf(read(usage, "server_tool_use"))
  })
}
