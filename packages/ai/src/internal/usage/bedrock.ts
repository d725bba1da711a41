/**
 * Usage of Bedrock's Converse API.
 */
import { countAt } from "../unknown.ts"
import type { Count, ProviderUsage } from "./report.ts"
import { sum, usageOf } from "./report.ts"

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
 * Reads the usage of Bedrock's Converse API, or of the `metadata` event of its stream. Returns `undefined` if no tokens
 * were reported.
 *
 * **Details**
 *
 * All input is the sum of `inputTokens`, `cacheReadInputTokens` and `cacheWriteInputTokens`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromBedrock = (usage: BedrockUsage | null | undefined): ProviderUsage | undefined => {
  const cacheRead = countAt(usage, "cacheReadInputTokens")
  const cacheWrite = countAt(usage, "cacheWriteInputTokens")
  return usageOf({
    inputTokens: sum(countAt(usage, "inputTokens"), cacheRead, cacheWrite),
    outputTokens: countAt(usage, "outputTokens"),
    cacheReadTokens: cacheRead,
    cacheWriteTokens: cacheWrite
  })
}
