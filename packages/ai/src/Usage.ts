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

/** Tokens that a call has used. */
export interface Usage {
  /** All input tokens, those of the cache among them. */
  readonly inputTokens: number
  /** Input tokens that were read from the provider's cache. */
  readonly cacheReadTokens: number
  /** Input tokens that were written to the provider's cache. */
  readonly cacheWriteTokens: number
  /** All output tokens, those of reasoning among them. */
  readonly outputTokens: number
  /** Output tokens that the model spent on reasoning. */
  readonly reasoningTokens: number
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** So many tokens in and out, none of them cached, none for reasoning. */
export const make = (inputTokens: number, outputTokens: number): Usage => ({
  inputTokens: count(inputTokens) ?? 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: count(outputTokens) ?? 0,
  reasoningTokens: 0
})

/**
 * What a provider told. Where it told of the input or of the output only, the other comes from `counted`; where it told of
 * neither, there is nothing.
 */
export const fromResponse = (told: Response.Usage, counted: Usage): Usage | undefined => {
  const { inputTokens: input, outputTokens: output } = told
  const cacheReadTokens = count(input.cacheRead) ?? 0
  const cacheWriteTokens = count(input.cacheWrite) ?? 0
  const reasoningTokens = count(output.reasoning) ?? 0
  const inputTokens = count(input.total) ?? sum(input.uncached, input.cacheRead, input.cacheWrite)
  const outputTokens = count(output.total) ?? sum(output.text, output.reasoning)
  if (inputTokens === undefined && outputTokens === undefined) return undefined
  return {
    inputTokens: Math.max(inputTokens ?? counted.inputTokens, cacheReadTokens + cacheWriteTokens),
    cacheReadTokens,
    cacheWriteTokens,
    outputTokens: Math.max(outputTokens ?? counted.outputTokens, reasoningTokens),
    reasoningTokens
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** All tokens, in and out. */
export const total = (self: Usage): number => self.inputTokens + self.outputTokens

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
