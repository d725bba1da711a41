/**
 * Usage of Gemini.
 */
import { countAt, items, read } from "../unknown.ts"
import type { Count, ProviderUsage, Reported } from "./report.ts"
import { largest, sum, usageOf } from "./report.ts"

/** Token counts by modality. */
type Modalities = ReadonlyArray<{ readonly modality?: string | undefined; readonly tokenCount?: Count }>

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
 * Reads the usage of Gemini. Returns `undefined` if no tokens were reported.
 *
 * **Details**
 *
 * All output is the sum of the candidates and the thoughts. In a stream, every chunk reports the totals so far.
 *
 * **Gotchas**
 *
 * `toolCalls` is empty: Gemini reports its web searches in `groundingMetadata`, outside of the usage.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromGoogle = (usage: GoogleUsage | null | undefined): ProviderUsage | undefined =>
  usageOf(readGoogle(usage))

/** The counts of a `usageMetadata`. */
export const readGoogle = (usage: unknown): Reported => {
  const tokens = (list: string, ...modalities: ReadonlyArray<unknown>) =>
    sum(
      ...items(read(usage, list)).map((one) =>
        modalities.includes(read(one, "modality")) ? countAt(one, "tokenCount") : undefined
      )
    )
  const input = (...modalities: ReadonlyArray<string>) =>
    sum(tokens("promptTokensDetails", ...modalities), tokens("toolUsePromptTokensDetails", ...modalities))
  const output = (...modalities: ReadonlyArray<string>) =>
    largest(tokens("candidatesTokensDetails", ...modalities), tokens("responseTokensDetails", ...modalities))
  const reasoning = countAt(usage, "thoughtsTokenCount")
  return {
    inputTokens: sum(countAt(usage, "promptTokenCount"), countAt(usage, "toolUsePromptTokenCount")),
    // The thoughts aren't part of the candidates.
    outputTokens: sum(largest(countAt(usage, "candidatesTokenCount"), countAt(usage, "responseTokenCount")), reasoning),
    totalTokens: countAt(usage, "totalTokenCount"),
    cacheReadTokens: countAt(usage, "cachedContentTokenCount"),
    reasoningTokens: reasoning,
    inputAudioTokens: input("AUDIO"),
    inputImageTokens: input("IMAGE", "VIDEO"),
    outputAudioTokens: output("AUDIO"),
    outputImageTokens: output("IMAGE", "VIDEO")
  }
}
