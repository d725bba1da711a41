/**
 * Whether a series of samples grows: the one-sided Mann-Kendall test on the medians of equal blocks, and the growth by
 * the median of the slopes between all pairs of blocks (Theil-Sen). Neither assumes a distribution, and outliers change
 * neither by much.
 */

/** The trend of a series. */
export interface Trend {
  /** The test statistic, about normal without a trend. `NaN` if there are too few blocks. */
  readonly z: number
  /** The growth from the first to the last sample, in the unit of the series. */
  readonly growth: number
}

/** The number of blocks that a long series is divided into. */
const maxBlocks = 12

/** With fewer blocks, even a series in which every value is larger isn't significant. */
export const minBlocks = 6

/** The critical value of the test: an error probability of 1 %. */
export const criticalZ = 2.326

/** Returns the trend of a series. */
export const trendOf = (series: ReadonlyArray<number>): Trend => {
  const blocks = mediansOf(series)
  const n = blocks.length
  if (n < minBlocks) return { z: Number.NaN, growth: Number.NaN }
  let s = 0
  const slopes: Array<number> = []
  for (let i = 0; i < n; i += 1) {
    for (let j = i + 1; j < n; j += 1) {
      const difference = (blocks[j] ?? 0) - (blocks[i] ?? 0)
      s += Math.sign(difference)
      slopes.push(difference / (j - i))
    }
  }
  const counts = new Map<number, number>()
  for (const block of blocks) counts.set(block, (counts.get(block) ?? 0) + 1)
  let variance = n * (n - 1) * (2 * n + 5)
  for (const ties of counts.values()) variance -= ties * (ties - 1) * (2 * ties + 5)
  const z = variance === 0 ? 0 : (s - Math.sign(s)) / Math.sqrt(variance / 18)
  return { z, growth: medianOf(slopes) * (n - 1) }
}

const mediansOf = (series: ReadonlyArray<number>): ReadonlyArray<number> => {
  const blocks = Math.min(maxBlocks, series.length)
  return Array.from({ length: blocks }, (_, i) =>
    medianOf(series.slice(Math.floor((i * series.length) / blocks), Math.floor(((i + 1) * series.length) / blocks)))
  )
}

const medianOf = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
