/**
 * Exact decimals: dollars as integers of 10^-20 dollars, so that prices are multiplied and added without rounding.
 */
import * as Amount from "@effect-cycles/protocol/Amount"

/** Decimals of a `Scaled`. */
const decimals = 20

/** Dollars times 10^20. */
export type Scaled = bigint

/**
 * Dollars from a number or a decimal string, or `undefined` if they are negative or aren't a finite decimal. Decimals after the
 * 20th round up.
 *
 * A number has 15 significant digits, so that `0.1 + 0.2` is `0.3`: the other digits are the error of a binary
 * fraction.
 */
export const parse = (dollars: string | number): Scaled | undefined => {
  const text = typeof dollars === "number" ? (Number.isFinite(dollars) ? dollars.toPrecision(15) : "") : dollars.trim()
  const match = /^(\d{1,400})(?:\.(\d{1,400}))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text)
  if (match === null) return undefined
  const fraction = match[2] ?? ""
  const digits = BigInt(`${match[1] ?? ""}${fraction}`)
  const shift = decimals + Number(match[3] ?? "0") - fraction.length
  return shift >= 0 ? digits * 10n ** BigInt(shift) : divideUp(digits, 10n ** BigInt(-shift))
}

/** The product of dollars and a factor. */
export const multiply = (self: Scaled, factor: Scaled): Scaled => divideUp(self * factor, 10n ** BigInt(decimals))

/** Money from a sum of `count * dollars`, each for `per` items: rounded up once to a whole microcent, and at most 2^63-1. */
export const toAmount = (sum: Scaled, per: bigint): Amount.Amount<"USD_MICROCENTS"> => {
  const microcents = divideUp(sum, per * 10n ** BigInt(decimals - 8))
  return Amount.usdMicrocents(microcents > maxAmount ? maxAmount : microcents)
}

const maxAmount = 2n ** 63n - 1n

const divideUp = (dividend: bigint, divisor: bigint): bigint => (dividend + divisor - 1n) / divisor
