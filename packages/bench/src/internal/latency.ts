/** Collects latencies, and returns their percentiles. */

/** The latencies of a round. */
export interface Latency {
  /** Adds one latency in milliseconds. */
  readonly add: (ms: number) => void
  /** The median and the 99th percentile in milliseconds, or 0 without latencies. */
  readonly summary: () => { readonly p50Ms: number; readonly p99Ms: number }
}

/** Makes an empty collection. */
export const make = (): Latency => {
  const all: Array<number> = []
  return {
    add: (ms) => void all.push(ms),
    summary: () => {
      const values = Float64Array.from(all).toSorted()
      const at = (share: number): number => values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0
      return { p50Ms: at(0.5), p99Ms: at(0.99) }
    }
  }
}
