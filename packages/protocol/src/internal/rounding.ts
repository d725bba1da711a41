/**
 * Rounding of numbers to exact integers, without the error of floating-point arithmetic.
 */

/** Returns whether a number counts as 0 although it is negative: the error of a subtraction, as in `0.3 - 0.1 - 0.2`. */
export const isRoundingError = (value: number): boolean => value < 0 && value >= -1e-12

/**
 * Rounds a number up to an integer. Returns 0 for a rounding error, and `undefined` for any other negative number, for NaN, and
 * for a number above 2^53-1.
 */
export const toInteger = (value: number): bigint | undefined => {
  if (typeof value !== "number") return undefined
  if (Number.isSafeInteger(value)) return value < 0 ? undefined : BigInt(value)
  if (isRoundingError(value)) return 0n
  return value > 0 && value < Number.MAX_SAFE_INTEGER ? roundUp(value, 0) : undefined
}

/**
 * Multiplies a number, 0 or more, by a power of ten and rounds up. The number is read to 15 significant digits, which drops the
 * error of earlier arithmetic. If the result has more than 15 digits, the number is read to all of its digits.
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
