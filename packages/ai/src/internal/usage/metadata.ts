/**
 * Usage that providers report in the metadata of a response, each in a different format: `usage` of OpenAI, Anthropic,
 * OpenRouter and compatible servers, and `usageMetadata` of Google.
 */
import { count, isObject, items, keys, read } from "../unknown.ts"
import { readGoogle } from "./google.ts"
import type { Reported } from "./report.ts"
import { largest, sum, toolCallsOf } from "./report.ts"

/** The reports in the metadata of a response, of every provider in it. */
export const reportsOf = (metadata: unknown): ReadonlyArray<Reported> =>
  keys(metadata).flatMap((provider) => {
    const entry = read(metadata, provider)
    const reports: Array<Reported> = []
    const usage = read(entry, "usage")
    if (isObject(usage)) reports.push(fromUsage(usage))
    const google = read(entry, "usageMetadata")
    if (isObject(google)) reports.push(fromGoogle(google))
    const searches = items(read(entry, "groundingMetadata", "webSearchQueries")).length
    if (searches > 0) reports.push({ toolCalls: { web_search: searches } })
    return reports
  })

// ---------------------------------------------------------------------------------------------------------------------
// formats
// ---------------------------------------------------------------------------------------------------------------------

const fromUsage = (usage: unknown): Reported => {
  const input = either(usage, "prompt_tokens_details", "input_tokens_details", "promptTokensDetails")
  const output = either(usage, "completion_tokens_details", "output_tokens_details", "completionTokensDetails")
  const of = (value: unknown, ...names: ReadonlyArray<string>) => count(either(value, ...names))

  // Anthropic and Bedrock: the cache isn't part of the input. Servers with `prompt_tokens` include it.
  const cacheRead = of(usage, "cache_read_input_tokens", "cacheReadInputTokens")
  const minutes = of(read(usage, "cache_creation"), "ephemeral_5m_input_tokens")
  const hour = of(read(usage, "cache_creation"), "ephemeral_1h_input_tokens")
  const cacheWrite = largest(of(usage, "cache_creation_input_tokens", "cacheWriteInputTokens"), sum(minutes, hour))
  const uncached = of(usage, "input_tokens", "inputTokens")
  const inputTokens =
    of(usage, "prompt_tokens", "promptTokens") ??
    (uncached === undefined ? undefined : sum(uncached, cacheRead, cacheWrite))

  const reasoningTokens = of(output, "reasoning_tokens", "reasoningTokens", "thinking_tokens")
  const reported = of(usage, "completion_tokens", "output_tokens", "completionTokens", "outputTokens")
  const totalTokens = of(usage, "total_tokens", "totalTokens")
  return {
    inputTokens,
    outputTokens: withReasoning(reported, reasoningTokens, inputTokens, totalTokens),
    totalTokens,
    cacheReadTokens: cacheRead ?? of(input, "cached_tokens", "cachedTokens") ?? of(usage, "prompt_cache_hit_tokens"),
    cacheWriteTokens: cacheWrite ?? of(input, "cache_write_tokens", "cacheWriteTokens"),
    cacheWriteHourTokens: hour,
    inputAudioTokens: of(input, "audio_tokens", "audioTokens"),
    inputImageTokens: sum(of(input, "image_tokens", "imageTokens"), of(input, "video_tokens", "videoTokens")),
    reasoningTokens,
    outputAudioTokens: of(output, "audio_tokens", "audioTokens"),
    outputImageTokens: sum(of(output, "image_tokens", "imageTokens"), of(output, "video_tokens", "videoTokens")),
    toolCalls: toolCallsOf(either(usage, "server_tool_use", "serverToolUse"))
  }
}

const fromGoogle = (usage: unknown): Reported => {
  const report = readGoogle(usage)
  const { inputTokens, outputTokens, totalTokens } = report
  return { ...report, outputTokens: withReasoning(outputTokens, undefined, inputTokens, totalTokens) }
}

/**
 * All output tokens. The reported output excludes reasoning if there is more reasoning than output, or if input and
 * output don't add up to the total of the same report.
 */
const withReasoning = (
  output: number | undefined,
  reasoning: number | undefined,
  input: number | undefined,
  total: number | undefined
): number | undefined => {
  const added = reasoning !== undefined && reasoning > (output ?? 0) ? sum(output, reasoning) : output
  const rest = total === undefined || input === undefined ? undefined : Math.max(0, total - input)
  return largest(added, rest)
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const either = (value: unknown, ...names: ReadonlyArray<string>): unknown => {
  for (const name of names) {
    const found = read(value, name)
    if (found !== undefined && found !== null) return found
  }
  return undefined
}
