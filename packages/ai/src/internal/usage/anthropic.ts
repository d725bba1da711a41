/**
 * Usage of Anthropic's messages.
 */
import { countAt, read } from "../unknown.ts"
import type { Count, ProviderUsage } from "./report.ts"
import { largest, sum, toolCallsOf, usageOf } from "./report.ts"

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
 * Reads the usage of Anthropic's messages. Returns `undefined` if no tokens were reported.
 *
 * **Details**
 *
 * All input is the sum of `input_tokens`, `cache_read_input_tokens` and `cache_creation_input_tokens`. In a stream,
 * `message_start` reports the input and `message_delta` the output so far: pass their fields as one object, or combine
 * the two with `larger`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAnthropic = (usage: AnthropicUsage | null | undefined): ProviderUsage | undefined => {
  const hour = countAt(usage, "cache_creation", "ephemeral_1h_input_tokens")
  const cacheRead = countAt(usage, "cache_read_input_tokens")
  const cacheWrite = largest(
    countAt(usage, "cache_creation_input_tokens"),
    sum(hour, countAt(usage, "cache_creation", "ephemeral_5m_input_tokens"))
  )
  return usageOf({
    inputTokens: sum(countAt(usage, "input_tokens"), cacheRead, cacheWrite),
    outputTokens: countAt(usage, "output_tokens"),
    cacheReadTokens: cacheRead,
    cacheWriteTokens: cacheWrite,
    cacheWriteHourTokens: hour,
    reasoningTokens: countAt(usage, "output_tokens_details", "thinking_tokens"),
    toolCalls: toolCallsOf(read(usage, "server_tool_use"))
  })
}
