/**
 * Rounding of numbers to exact integers, without the error of floating-point arithmetic.
 */

/** Returns whether a number is what a subtraction of doubles leaves instead of 0. */
export const isRoundingError = (value: number): boolean => value < 0 && value >= -1e-12

/** Rounds a number up to an integer; `undefined` if it is negative or above 2^53-1. */
export const toInteger = (value: number): bigint | undefined => {
  if (typeof value !== "number") return undefined
  if (Number.isSafeInteger(value)) return value < 0 ? undefined : BigInt(value)
  if (isRoundingError(value)) return 0n
  return value > 0 && value < Number.MAX_SAFE_INTEGER ? roundUp(value, 0) : undefined
}

/**
 * Multiplies a number, 0 or more, by a power of ten and rounds up. It is read to 15 significant digits, which drops the error of
 * earlier arithmetic; if the 15th digit stands for more than 1, it is read to all digits.
 */
export const roundUp = (value: number, decimals: number): bigint => {
  const text = value < 10 ** (15 - decimals) ? value.toExponential(14) : value.toExponential()
  const [mantissa = "", exponent = ""] = text.split("e")
  const [units = "", fraction = ""] = mantissa.split(".")
  const unscaled = BigInt(units + fraction)
  const shift = Number(exponent) - fraction.length + decimals
  if (shift >= 0) return unscaled * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return (unscaled + divisor - 1n) / divisor
}
