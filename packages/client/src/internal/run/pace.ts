/** When a run spent: sums of its spend in buckets of time. */

/** The length of a bucket in milliseconds. It divides a minute. */
export const bucketMs = 5_000

/** The longest window in milliseconds. Older buckets are dropped. */
export const maxWindowMs = 3_600_000

/** The spend of a run in one unit by time. Times are in milliseconds since the start of the run. */
export class Pace {
  /** The buckets that aren't empty, in ascending order. */
  readonly #buckets: Array<Bucket> = []
  #total = 0n

  /** Adds spend. */
  add(amount: bigint, atMs: number): void {
    this.#total += amount
    const index = Math.floor(atMs / bucketMs)
    const last = this.#buckets.at(-1)
    if (last !== undefined && last.index >= index) {
      last.amount += amount
      return
    }
    this.#buckets.push({ index, amount })
    const [first] = this.#buckets
    if (first !== undefined && first.index < index - maxWindowMs / bucketMs) this.#buckets.shift()
  }

  /** The spend since the start of a bucket, and the spend before it. */
  split(startMs: number): { readonly inWindow: bigint; readonly before: bigint } {
    const first = startMs / bucketMs
    let inWindow = 0n
    for (let i = this.#buckets.length - 1; i >= 0; i--) {
      const bucket = this.#buckets[i]
      if (bucket === undefined || bucket.index < first) break
      inWindow += bucket.amount
    }
    return { inWindow, before: this.#total - inWindow }
  }
}

interface Bucket {
  readonly index: number
  amount: bigint
}
