/** Pseudorandom numbers that can be repeated. */

/** Returns a number from 0 to below a bound. */
export type Below = (bound: number) => number

/** Returns a generator. The same seed returns the same numbers. */
export const generator = (seed: number): Below => {
  let state = (seed * 2_654_435_761) >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

/** Picks an element of a list. */
export const pick = <A>(below: Below, list: readonly [A, ...ReadonlyArray<A>]): A => list[below(list.length)] ?? list[0]
