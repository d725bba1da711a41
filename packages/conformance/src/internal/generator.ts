/** Pseudorandom numbers that can be repeated. */

/** Returns numbers below a bound. The same seed returns the same numbers. */
export const generator = (seed: number): ((bound: number) => number) => {
  let state = (seed * 2_654_435_761) >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}
