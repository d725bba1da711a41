/**
 * Usage of the AI SDK.
 */
import { countAt } from "../unknown.ts"
import type { Count, ProviderUsage } from "./report.ts"
import { largest, sum, usageOf } from "./report.ts"

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
  readonly inputTokenDetails?:
    | { readonly noCacheTokens?: Count; readonly cacheReadTokens?: Count; readonly cacheWriteTokens?: Count }
    | undefined
  /** All output tokens. */
  readonly outputTokens?: Count
  /** The parts of the output. */
  readonly outputTokenDetails?: { readonly textTokens?: Count; readonly reasoningTokens?: Count } | undefined
  /** The sum. */
  readonly totalTokens?: Count
  /** The tokens of an embedding. */
  readonly tokens?: Count
  /** The report of the provider. Only its total is read, which may be larger than the counts. */
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
  /** The report of the provider. Only its total is read, which may be larger than the counts. */
  readonly raw?: object | null | undefined
}

/**
 * Reads the usage of the AI SDK: of `generateText`, `streamText`, an embedding, or one call in a middleware. Returns
 * `undefined` if no tokens were reported.
 *
 * **Gotchas**
 *
 * `usage` of `generateText` is the sum of all steps. A stream of `@ai-sdk/openai-compatible` reports its usage only
 * with `includeUsage: true`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAiSdk = (usage: AiSdkUsage | AiSdkCallUsage | null | undefined): ProviderUsage | undefined => {
  const cacheRead = countAt(usage, "inputTokens", "cacheRead") ?? countAt(usage, "inputTokenDetails", "cacheReadTokens")
  const cacheWrite =
    countAt(usage, "inputTokens", "cacheWrite") ?? countAt(usage, "inputTokenDetails", "cacheWriteTokens")
  const reasoning =
    countAt(usage, "outputTokens", "reasoning") ?? countAt(usage, "outputTokenDetails", "reasoningTokens")
  return usageOf({
    inputTokens:
      countAt(usage, "inputTokens", "total") ??
      countAt(usage, "inputTokens") ??
      countAt(usage, "tokens") ??
      sum(
        countAt(usage, "inputTokens", "noCache") ?? countAt(usage, "inputTokenDetails", "noCacheTokens"),
        cacheRead,
        cacheWrite
      ),
    outputTokens:
      countAt(usage, "outputTokens", "total") ??
      countAt(usage, "outputTokens") ??
      sum(countAt(usage, "outputTokens", "text") ?? countAt(usage, "outputTokenDetails", "textTokens"), reasoning),
    totalTokens: largest(
      countAt(usage, "totalTokens"),
      countAt(usage, "raw", "total_tokens"),
      countAt(usage, "raw", "totalTokenCount")
    ),
    cacheReadTokens: cacheRead,
    cacheWriteTokens: cacheWrite,
    reasoningTokens: reasoning
  })
}
