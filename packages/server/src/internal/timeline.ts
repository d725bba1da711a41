/**
 * Places in time, in order: by instant, and by name within one. What comes is nearly always the newest, and what goes is the
 * oldest, so it is a list; what has gone is skipped, and taken out when half of the list has.
 */

/** An instant and a name. */
export interface Place {
  readonly createdAtMs: number
  readonly id: string
}

/** From the oldest on, or from the newest on. */
export type Direction = "asc" | "desc"

/** Places in order. */
export interface Timeline {
  readonly add: (place: Place) => void
  /** One of them has gone. */
  readonly removed: () => void
  /** Those behind a place, or all. */
  readonly from: (direction: Direction, after?: Place) => Iterable<Place>
}

/** Whether one place is before, at or behind another, as a number below, at or above zero. */
const compare = (a: Place, b: Place): number =>
  a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** Makes a timeline; whether a place is still there is asked when it matters. */
export const makeTimeline = (isThere: (place: Place) => boolean): Timeline => {
  let places: Array<Place> = []
  let gone = 0

  /** How many places are before one. */
  const countBefore = (place: Place): number => {
    let [low, high] = [0, places.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const other = places[middle]
      if (other !== undefined && compare(other, place) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  return {
    add: (place) => {
      const last = places[places.length - 1]
      if (last === undefined || compare(last, place) < 0) places.push(place)
      else places.splice(countBefore(place), 0, place)
    },
    removed: () => {
      gone += 1
      if (2 * gone < places.length) return
      places = places.filter(isThere)
      gone = 0
    },
    *from(direction, after) {
      const list = places
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
