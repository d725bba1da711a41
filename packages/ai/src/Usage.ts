/**
 * The tokens and the tool calls of a model call.
 *
 * Providers report usage in different shapes, and some of it only in their metadata. `fromFinish` reads all of it into
 * one shape, which has everything that a price depends on.
 *
 * **Details**
 *
 * - Counts are integers from 0 to 2^40, even if other values were reported. Fractions round up.
 * - Reported usage is untrusted input: the functions of this module never throw.
 * - If reports contradict each other, the larger count applies, so that known spend isn't lost.
 *
 * @since 0.1.0
 */
import type * as Response from "effect/ai/Response"
import { toolName } from "./internal/modelNames.ts"
import { reportsOf } from "./internal/usage/metadata.ts"
import type { Reported } from "./internal/usage/report.ts"
import { largest, sum } from "./internal/usage/report.ts"
import { count, countAt, keys, maxCount, read } from "./internal/unknown.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The usage of a model call. Counts are integers of at least 0.
 *
 * `inputTokens` and `outputTokens` are totals; the other token counts are parts of them. A part that the provider doesn't
 * report is 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Usage {
  /** All input tokens, including those read from and written to a cache. */
  readonly inputTokens: number
  /** Input tokens read from the provider's cache. */
  readonly cacheReadTokens: number
  /** Input tokens written to the provider's cache, of every lifetime. */
  readonly cacheWriteTokens: number
  /** The part of `cacheWriteTokens` that is kept for an hour, which costs more than the default lifetime. */
  readonly cacheWriteHourTokens: number
  /** Input tokens of audio. */
  readonly inputAudioTokens: number
  /** Input tokens of images and video. */
  readonly inputImageTokens: number
  /** All output tokens, including reasoning. */
  readonly outputTokens: number
  /** Output tokens that the model spent on reasoning. */
  readonly reasoningTokens: number
  /** Output tokens of audio. */
  readonly outputAudioTokens: number
  /** Output tokens of images. */
  readonly outputImageTokens: number
  /**
   * Calls of tools that the provider runs itself, by the name of the tool without its version: `web_search` for
   * `web_search_20250305`.
   */
  readonly toolCalls: { readonly [tool: string]: number }
}

/**
 * The counts of a `Usage` that are parts of its totals, and the tool calls.
 *
 * @category models
 * @since 0.1.0
 */
export type Details = Omit<Usage, "inputTokens" | "outputTokens">

export { fromAiSdk } from "./internal/usage/aiSdk.ts"
export { fromAnthropic } from "./internal/usage/anthropic.ts"
export { fromBedrock } from "./internal/usage/bedrock.ts"
export { fromGoogle } from "./internal/usage/google.ts"
export { fromOllama } from "./internal/usage/ollama.ts"
export { fromOpenAi } from "./internal/usage/openAi.ts"

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a usage. Details that aren't given are 0.
 *
 * Counts that are negative or NaN become 0, fractions round up, and counts above 2^40 become 2^40.
 *
 * **Example** (Usage of a call with cached input)
 *
 * ```ts
 * import { Usage } from "@effect-cycles/ai"
 *
 * const usage = Usage.make(1_000, 200, { cacheReadTokens: 800, toolCalls: { web_search: 2 } })
 *
 * console.log([Usage.total(usage), usage.reasoningTokens])
 * // [ 1200, 0 ]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inputTokens: number, outputTokens: number, details?: Partial<Details>): Usage => ({
  inputTokens: clamp(inputTokens),
  cacheReadTokens: clamp(details?.cacheReadTokens),
  cacheWriteTokens: clamp(details?.cacheWriteTokens),
  cacheWriteHourTokens: clamp(details?.cacheWriteHourTokens),
  inputAudioTokens: clamp(details?.inputAudioTokens),
  inputImageTokens: clamp(details?.inputImageTokens),
  outputTokens: clamp(outputTokens),
  reasoningTokens: clamp(details?.reasoningTokens),
  outputAudioTokens: clamp(details?.outputAudioTokens),
  outputImageTokens: clamp(details?.outputImageTokens),
  toolCalls: mergeCalls(details?.toolCalls)
})

/**
 * The usage that a provider reported at the end of a response, or `undefined` if it reported none.
 *
 * `counted` is the caller's count of the same call, by an estimator. It replaces what the provider didn't report.
 *
 * **Details**
 *
 * - A count that is missing, negative or not finite isn't reported. Neither is a total of 0: a call has input, and a response
 *   without output has a `counted` output of 0.
 * - If neither a total nor the sum is reported, the result is `undefined`, and the caller charges nothing or `counted`.
 *   This includes a usage of `{ inputTokens: 0, outputTokens: 0 }`.
 * - If one total is reported, the other comes from `counted`. If only a part of a total is reported, such as cache reads, the
 *   total is at least that part. If the provider also reports the sum, as `total_tokens`, the missing total is at least the rest
 *   of it.
 * - Some providers report reasoning tokens that aren't part of the output total. They are added if there are more of them than
 *   the total, if text and reasoning exceed the total, or if the report in `finish.metadata` shows it, as
 *   Google's does.
 * - Cache lifetimes, audio, images and tool calls come from `finish.metadata`: `usage` of Anthropic, OpenRouter and other
 *   providers that report it, and `usageMetadata` and `groundingMetadata` of Google. Tool calls are merged with those of
 *   `counted`, the larger count of each tool.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFinish = (
  finish: Pick<Response.FinishPart, "usage" | "metadata">,
  counted: Usage
): Usage | undefined => {
  const { details, input, inputParts, output, outputParts, total } = reportOf(finish)
  const isReported = largest(input, output, inputParts, outputParts, total) !== undefined
  if (!isReported && Object.keys(details.toolCalls).length === 0) return undefined
  const inputTokens = Math.max(input ?? clamp(counted.inputTokens), inputParts ?? 0)
  const outputTokens = Math.max(output ?? clamp(counted.outputTokens), outputParts ?? 0)
  // If the total is larger than input and output, the rest belongs to the missing one. If both are missing, the rest counts as
  // output, which costs more.
  const rest = Math.max(0, (total ?? 0) - inputTokens - outputTokens)
  return make(
    inputTokens + (input === undefined && output !== undefined ? rest : 0),
    outputTokens + (output === undefined ? rest : 0),
    { ...details, toolCalls: mergeCalls(counted.toolCalls, details.toolCalls) }
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * All tokens, input and output.
 *
 * @category getters
 * @since 0.1.0
 */
export const total = (self: Usage): number => self.inputTokens + self.outputTokens

/**
 * Whether the provider reported the input tokens. If not, `fromFinish` takes them from `counted`.
 *
 * @category predicates
 * @since 0.1.0
 */
export const hasInput = (finish: Pick<Response.FinishPart, "usage" | "metadata">): boolean =>
  reportOf(finish).input !== undefined

/**
 * The larger usage of the same call, for a usage that is reported twice or in contradictory parts.
 *
 * Each count is the larger of the two. Cache reads are the exception, because they cost less than other input: they are
 * limited so that the input tokens at the full price are at least those of either usage.
 *
 * @category combinators
 * @since 0.1.0
 */
export const larger = (self: Usage, that: Usage): Usage => {
  const inputTokens = Math.max(self.inputTokens, that.inputTokens)
  const uncached = Math.max(uncachedOf(self), uncachedOf(that))
  return make(inputTokens, Math.max(self.outputTokens, that.outputTokens), {
    cacheReadTokens: Math.min(Math.max(self.cacheReadTokens, that.cacheReadTokens), inputTokens - uncached),
    cacheWriteTokens: Math.max(self.cacheWriteTokens, that.cacheWriteTokens),
    cacheWriteHourTokens: Math.max(self.cacheWriteHourTokens, that.cacheWriteHourTokens),
    inputAudioTokens: Math.max(self.inputAudioTokens, that.inputAudioTokens),
    inputImageTokens: Math.max(self.inputImageTokens, that.inputImageTokens),
    reasoningTokens: Math.max(self.reasoningTokens, that.reasoningTokens),
    outputAudioTokens: Math.max(self.outputAudioTokens, that.outputAudioTokens),
    outputImageTokens: Math.max(self.outputImageTokens, that.outputImageTokens),
    toolCalls: mergeCalls(self.toolCalls, that.toolCalls)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The counts that the provider reported, in `usage` and in its metadata. */
interface Report {
  /** The totals, if they are known. */
  readonly input: number | undefined
  readonly output: number | undefined
  /** The sum of the parts of a total, if there are any. */
  readonly inputParts: number | undefined
  readonly outputParts: number | undefined
  /** The sum of both totals, if it is reported by itself. */
  readonly total: number | undefined
  readonly details: Details
}

const reportOf = (finish: unknown): Report => {
  const of = (side: "inputTokens" | "outputTokens", name: string) => countAt(finish, "usage", side, name)
  const reports = reportsOf(read(finish, "metadata"))
  const most = (name: Exclude<keyof Reported, "toolCalls">) => largest(...reports.map((report) => report[name]))

  const uncached = of("inputTokens", "uncached")
  const cacheRead = largest(of("inputTokens", "cacheRead"), most("cacheReadTokens"))
  const hour = most("cacheWriteHourTokens")
  const cacheWrite = largest(of("inputTokens", "cacheWrite"), most("cacheWriteTokens"), hour)
  const inputAudio = most("inputAudioTokens")
  const inputImage = most("inputImageTokens")
  const inputParts = largest(sum(cacheRead, cacheWrite), sum(inputAudio, inputImage))

  const total = of("outputTokens", "total")
  const text = of("outputTokens", "text")
  const reasoning = largest(of("outputTokens", "reasoning"), most("reasoningTokens"))
  const outputAudio = most("outputAudioTokens")
  const outputImage = most("outputImageTokens")

  return {
    input: positive(
      largest(
        of("inputTokens", "total"),
        uncached === undefined ? undefined : sum(uncached, cacheRead, cacheWrite),
        most("inputTokens")
      )
    ),
    output: positive(
      largest(
        total !== undefined && reasoning !== undefined && reasoning > total ? total + reasoning : total,
        text === undefined ? undefined : sum(text, of("outputTokens", "reasoning")),
        most("outputTokens")
      )
    ),
    inputParts: positive(inputParts),
    outputParts: positive(largest(reasoning, sum(outputAudio, outputImage))),
    total: positive(most("totalTokens")),
    details: make(0, 0, {
      cacheReadTokens: cacheRead ?? 0,
      cacheWriteTokens: cacheWrite ?? 0,
      cacheWriteHourTokens: hour ?? 0,
      inputAudioTokens: inputAudio ?? 0,
      inputImageTokens: inputImage ?? 0,
      reasoningTokens: reasoning ?? 0,
      outputAudioTokens: outputAudio ?? 0,
      outputImageTokens: outputImage ?? 0,
      toolCalls: mergeCalls(...reports.map((report) => report.toolCalls))
    })
  }
}

const positive = (value: number | undefined): number | undefined => (value === 0 ? undefined : value)

const clamp = (value: unknown): number => (value === Infinity ? maxCount : (count(value) ?? 0))

const uncachedOf = (self: Usage): number => Math.max(0, self.inputTokens - self.cacheReadTokens)

/** The larger number of calls of each tool. */
const mergeCalls = (...all: ReadonlyArray<unknown>): { readonly [tool: string]: number } => {
  const merged = new Map<string, number>()
  for (const calls of all) {
    for (const key of keys(calls)) {
      const name = toolName(key)
      merged.set(name, Math.max(merged.get(name) ?? 0, countAt(calls, key) ?? 0))
    }
  }
  return Object.fromEntries(merged)
}
