/**
 * Places in time, in order: by instant, and by name within one. What comes is nearly always the newest, and what goes is the
 * oldest, so it is a list; what has gone is skipped, and taken out when half of the list has.
 */

/** An instant and a name. */
export interface CreationKey {
  readonly createdAtMs: number
  readonly id: string
}

/** From the oldest on, or from the newest on. */
export type Direction = "asc" | "desc"

/** Places in order. */
export interface CreationIndex {
  readonly add: (place: CreationKey) => void
  /** One of them has gone. */
  readonly removed: () => void
  /** Those behind a place, or all. */
  readonly from: (direction: Direction, after?: CreationKey) => Iterable<CreationKey>
}

/** Whether one place is before, at or behind another, as a number below, at or above zero. */
const compare = (a: CreationKey, b: CreationKey): number =>
  a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** Makes a timeline; whether a place is still there is asked when it matters. */
export const makeCreationIndex = (isPresent: (place: CreationKey) => boolean): CreationIndex => {
  let keys: Array<CreationKey> = []
  let removedCount = 0

  /** How many places are before one. */
  const countBefore = (place: CreationKey): number => {
    let [low, high] = [0, keys.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const other = keys[middle]
      if (other !== undefined && compare(other, place) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  return {
    add: (place) => {
      const last = keys[keys.length - 1]
      if (last === undefined || compare(last, place) < 0) keys.push(place)
      else keys.splice(countBefore(place), 0, place)
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
          const place = list[at]
          if (place !== undefined && (after === undefined || compare(place, after) > 0)) yield place
        }
      } else {
        let at = (after === undefined ? list.length : countBefore(after)) - 1
        for (; at >= 0; at--) {
          const place = list[at]
          if (place !== undefined) yield place
        }
      }
    }
  }
}
