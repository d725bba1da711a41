/**
 * Counts that a provider reports, in the common shape of all formats, and the usage that follows from them.
 *
 * The readers of each format have structural parameters: the SDKs aren't dependencies, and a response of a compatible
 * server is accepted as well. All fields are optional and may be null. A count that isn't a finite number of at least 0
 * is treated as missing.
 */
import { toolName } from "../modelNames.ts"
import { countAt, extreme, keys } from "../unknown.ts"

/** A count in the report of a provider, as its SDK declares it. */
export type Count = number | null | undefined

/** The counts of one report. A count that the format doesn't have or that isn't valid is `undefined`. */
export interface Reported {
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
  readonly totalTokens?: number | undefined
  readonly cacheReadTokens?: number | undefined
  readonly cacheWriteTokens?: number | undefined
  readonly cacheWriteHourTokens?: number | undefined
  readonly inputAudioTokens?: number | undefined
  readonly inputImageTokens?: number | undefined
  readonly reasoningTokens?: number | undefined
  readonly outputAudioTokens?: number | undefined
  readonly outputImageTokens?: number | undefined
  readonly toolCalls?: { readonly [tool: string]: number } | undefined
}

/**
 * The usage that was read from a report. It is a `Usage`.
 *
 * @category models
 * @since 0.1.0
 */
export type ProviderUsage = ReturnType<typeof withTotals>

/** The usage of a report, or `undefined` if all of its totals are missing or 0. */
export const usageOf = (report: Reported): ProviderUsage | undefined => {
  const cached = (report.cacheReadTokens ?? 0) + (report.cacheWriteTokens ?? 0)
  const inputTokens = whole(report.inputTokens ?? 0, cached)
  const known = whole(report.outputTokens ?? 0, report.reasoningTokens ?? 0)
  const outputTokens = Math.max(known, (report.totalTokens ?? 0) - inputTokens)
  return inputTokens + outputTokens === 0 ? undefined : withTotals(report, inputTokens, outputTokens)
}

const withTotals = (report: Reported, inputTokens: number, outputTokens: number) => ({
  inputTokens,
  cacheReadTokens: report.cacheReadTokens ?? 0,
  cacheWriteTokens: report.cacheWriteTokens ?? 0,
  cacheWriteHourTokens: report.cacheWriteHourTokens ?? 0,
  inputAudioTokens: report.inputAudioTokens ?? 0,
  inputImageTokens: report.inputImageTokens ?? 0,
  outputTokens,
  reasoningTokens: report.reasoningTokens ?? 0,
  outputAudioTokens: report.outputAudioTokens ?? 0,
  outputImageTokens: report.outputImageTokens ?? 0,
  toolCalls: report.toolCalls ?? {}
})

/** A part that is larger than its total isn't included in the total. */
const whole = (total: number, part: number): number => (part > total ? total + part : total)

/** The sum of the defined counts, or `undefined` if there are none. */
export const sum = (...counts: ReadonlyArray<number | undefined>): number | undefined =>
  counts.reduce<number | undefined>((all, one) => (one === undefined ? all : (all ?? 0) + one), undefined)

/** The largest of the defined counts, or `undefined` if there are none. */
export const largest = (...counts: ReadonlyArray<number | undefined>): number | undefined => extreme(Math.max, counts)

/** Counts such as `web_search_requests`, by the name of the tool. */
export const toolCallsOf = (value: unknown): { readonly [tool: string]: number } =>
  Object.fromEntries(
    keys(value).flatMap((key) => {
      const calls = key.endsWith("_requests") ? countAt(value, key) : undefined
      return calls === undefined || calls === 0 ? [] : [[toolName(key), calls]]
    })
  )
