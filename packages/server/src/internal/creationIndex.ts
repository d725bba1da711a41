/**
 * An index of reservations by creation time, then id.
 *
 * New keys are nearly always the greatest and removed ones the smallest, so a sorted array is enough. Removed keys stay until
 * they are half of the array.
 */

/** The creation time of a reservation, in epoch milliseconds, and its id. */
export interface CreationKey {
  readonly createdAtMs: number
  readonly id: string
}

/** Oldest first or newest first. */
export type Direction = "asc" | "desc"

/** A sorted collection of keys. */
export interface CreationIndex {
  readonly add: (key: CreationKey) => void
  /** Counts a removed key. The key itself may stay in the index for a while. */
  readonly removed: () => void
  /** Iterates over the keys after a key, or over all. Removed keys may appear. */
  readonly from: (direction: Direction, after?: CreationKey) => Iterable<CreationKey>
}

/** Negative, zero or positive, like the comparator of `Array.sort`. */
const compare = (a: CreationKey, b: CreationKey): number =>
  a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** Creates an index. `isPresent` decides which keys survive a compaction. */
export const makeCreationIndex = (isPresent: (key: CreationKey) => boolean): CreationIndex => {
  let keys: Array<CreationKey> = []
  let removedCount = 0

  /** The number of keys below a key, by binary search. */
  const countBefore = (key: CreationKey): number => {
    let [low, high] = [0, keys.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const other = keys[middle]
      if (other !== undefined && compare(other, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  return {
    add: (key) => {
      const last = keys[keys.length - 1]
      if (last === undefined || compare(last, key) < 0) keys.push(key)
      else keys.splice(countBefore(key), 0, key)
    },
    removed: () => {
      removedCount += 1
      if (2 * removedCount < keys.length) return
      keys = keys.filter(isPresent)
      removedCount = 0
    },
    *from(direction, after) {
      const list = keys
      if (direction === "asc") {
        let at = after === undefined ? 0 : countBefore(after)
        for (; at < list.length; at++) {
          const key = list[at]
          if (key !== undefined && (after === undefined || compare(key, after) > 0)) yield key
        }
      } else {
        let at = (after === undefined ? list.length : countBefore(after)) - 1
        for (; at >= 0; at--) {
          const key = list[at]
          if (key !== undefined) yield key
        }
      }
    }
  }
}
