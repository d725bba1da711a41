/**
 * What a model call has used, in tokens.
 *
 * Providers tell more or less of it: this is the common part, with what a price depends on. Counts are whole and not below
 * zero, whatever was told.
 *
 * Source: the usage of `effect/ai/Response`; one number for each kind is ours.
 */
import type * as Response from "effect/ai/Response"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a model call used. Counts are integers of at least 0.
 *
 * `inputTokens` and `outputTokens` are totals; the other token counts are parts of them. A part that the provider doesn't
 * report is 0.
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
  /** Input tokens of images. */
  readonly inputImageTokens: number
  /** All output tokens, including reasoning. */
  readonly outputTokens: number
  /** Output tokens that the model spent on reasoning. */
  readonly reasoningTokens: number
  /** Output tokens of audio. */
  readonly outputAudioTokens: number
  /** Output tokens of images. */
  readonly outputImageTokens: number
  /** Calls of tools that the provider runs itself, by the provider's name of the tool, as in `web_search`. */
  readonly toolCalls: { readonly [tool: string]: number }
}

/** The counts of a `Usage` that are parts of its totals, and the tool calls. */
export type Details = Omit<Usage, "inputTokens" | "outputTokens">

export { fromAiSdk, fromAnthropic, fromBedrock, fromGoogle, fromOllama, fromOpenAi } from "./internal/providerUsage.ts"

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a usage. Details that aren't given are 0. */
export const make = (inputTokens: number, outputTokens: number, details?: Partial<Details>): Usage => ({
  inputTokens: count(inputTokens) ?? 0,
  cacheReadTokens: count(details?.cacheReadTokens) ?? 0,
  cacheWriteTokens: count(details?.cacheWriteTokens) ?? 0,
  cacheWriteHourTokens: count(details?.cacheWriteHourTokens) ?? 0,
  inputAudioTokens: count(details?.inputAudioTokens) ?? 0,
  inputImageTokens: count(details?.inputImageTokens) ?? 0,
  outputTokens: count(outputTokens) ?? 0,
  reasoningTokens: count(details?.reasoningTokens) ?? 0,
  outputAudioTokens: count(details?.outputAudioTokens) ?? 0,
  outputImageTokens: count(details?.outputImageTokens) ?? 0,
  toolCalls: details?.toolCalls ?? {}
})

/**
 * The usage that a provider reported at the end of a response, or `undefined` if it reported neither input nor output tokens.
 * If it reported one of the two, the other comes from `counted`.
 */
export const fromFinish = (
  finish: Pick<Response.FinishPart, "usage" | "metadata">,
  counted: Usage
): Usage | undefined => {
  const { inputTokens: input, outputTokens: output } = finish.usage
  const cacheReadTokens = count(input.cacheRead) ?? 0
  const cacheWriteTokens = count(input.cacheWrite) ?? 0
  const reasoningTokens = count(output.reasoning) ?? 0
  const inputTokens = count(input.total) ?? sum(input.uncached, input.cacheRead, input.cacheWrite)
  const outputTokens = count(output.total) ?? sum(output.text, output.reasoning)
  if (inputTokens === undefined && outputTokens === undefined) return undefined
  return make(
    Math.max(inputTokens ?? counted.inputTokens, cacheReadTokens + cacheWriteTokens),
    Math.max(outputTokens ?? counted.outputTokens, reasoningTokens),
    { cacheReadTokens, cacheWriteTokens, reasoningTokens }
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** All tokens, input and output. */
export const total = (self: Usage): number => self.inputTokens + self.outputTokens

/** Whether the provider reported the input tokens; if not, `fromFinish` takes them from the count. */
export const hasInput = (finish: Pick<Response.FinishPart, "usage">): boolean =>
  finish.usage.inputTokens.total !== undefined || finish.usage.inputTokens.uncached !== undefined

/** The larger count of each kind: a usage that is reported twice or in contradictory parts is charged at its highest. */
export const larger = (self: Usage, that: Usage): Usage =>
  make(Math.max(self.inputTokens, that.inputTokens), Math.max(self.outputTokens, that.outputTokens), {
    cacheReadTokens: Math.max(self.cacheReadTokens, that.cacheReadTokens),
    cacheWriteTokens: Math.max(self.cacheWriteTokens, that.cacheWriteTokens),
    cacheWriteHourTokens: Math.max(self.cacheWriteHourTokens, that.cacheWriteHourTokens),
    inputAudioTokens: Math.max(self.inputAudioTokens, that.inputAudioTokens),
    inputImageTokens: Math.max(self.inputImageTokens, that.inputImageTokens),
    reasoningTokens: Math.max(self.reasoningTokens, that.reasoningTokens),
    outputAudioTokens: Math.max(self.outputAudioTokens, that.outputAudioTokens),
    outputImageTokens: Math.max(self.outputImageTokens, that.outputImageTokens),
    toolCalls: { ...self.toolCalls, ...that.toolCalls }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A count as it is used: whole, not below zero; nothing where there is none. */
const count = (value: number | undefined): number | undefined =>
  value === undefined || Number.isNaN(value) ? undefined : Math.min(Math.max(0, Math.ceil(value)), maxCount)

/** Above every model's context by far; keeps sums exact. */
const maxCount = 2 ** 40

const sum = (...values: ReadonlyArray<number | undefined>): number | undefined =>
  values.every((value) => value === undefined)
    ? undefined
    : values.reduce<number>((all, value) => all + (count(value) ?? 0), 0)
