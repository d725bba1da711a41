/**
 * Amounts: an exact 64-bit integer and its unit. Units never mix.
 *
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * String(Amount.usd("0.25"))   // "$0.25"
 * String(Amount.tokens(1_000)) // "1000 TOKENS"
 * ```
 *
 * Source: Amount, SignedAmount and UnitEnum of the protocol.
 */
import * as Equivalence_ from "effect/Equivalence"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The units of the protocol. USD_MICROCENTS is a hundred-millionth of a dollar. */
export const knownUnits = ["USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS"] as const

/** One of the units of the protocol. */
export type KnownUnit = (typeof knownUnits)[number]

/** A unit; one that this version does not know is carried as it is. */
export type Unit = KnownUnit | (string & {})

/** A unit as it is read. */
export const Unit: Schema.Codec<Unit, string> = Schema.StringForLiteralAutocomplete

/** How much of what: 0 to 2^63-1, exact. */
export class Amount extends Schema.Class<Amount>("@effect-cycles/protocol/Amount")({
  unit: Unit,
  amount: Wire.unsignedInt64
}) {
  override toString(): string {
    return format(this)
  }
}

/** How much of what, which may be below zero: what remains of a budget. */
export class SignedAmount extends Schema.Class<SignedAmount>("@effect-cycles/protocol/SignedAmount")({
  unit: Unit,
  amount: Wire.signedInt64
}) {
  override toString(): string {
    return format(this)
  }
}

/** An amount as it may be sent: of a known unit. */
export const Sendable = Amount.check(
  Schema.makeFilter((amount: Amount) =>
    isKnownUnit(amount.unit) ? undefined : { path: ["unit"], issue: `Expected one of ${knownUnits.join(", ")}` }
  )
)

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** An amount of any unit. Throws a `RangeError` unless `amount` is an integer from 0 to 2^63-1. */
export const make = (unit: Unit, amount: number | bigint): Amount => {
  const value = typeof amount === "bigint" ? amount : Number.isSafeInteger(amount) ? BigInt(amount) : undefined
  if (value === undefined || value < 0n || value > Limits.maxInt64) {
    throw new RangeError(`An amount must be an integer from 0 to ${Limits.maxInt64}, got ${amount} ${unit}`)
  }
  return trusted(unit, value)
}

/** Tokens. Throws a `RangeError` unless it is an integer from 0 to 2^63-1. */
export const tokens = (amount: number | bigint): Amount => make("TOKENS", amount)

/** Credits. Throws a `RangeError` unless it is an integer from 0 to 2^63-1. */
export const credits = (amount: number | bigint): Amount => make("CREDITS", amount)

/** Risk points. Throws a `RangeError` unless it is an integer from 0 to 2^63-1. */
export const riskPoints = (amount: number | bigint): Amount => make("RISK_POINTS", amount)

/** Hundred-millionths of a dollar. Throws a `RangeError` unless it is an integer from 0 to 2^63-1. */
export const usdMicrocents = (amount: number | bigint): Amount => make("USD_MICROCENTS", amount)

/**
 * Dollars, as in `"0.25"` or `3`, with at most 8 decimals. Throws a `RangeError` where the amount can't be held exactly,
 * or is below zero or above 92,233,720,368.54775807.
 */
export const usd = (dollars: string | number): Amount =>
  Result.getOrThrowWith(
    parseUsd(typeof dollars === "number" ? decimal(dollars) : dollars),
    (problem) => new RangeError(problem)
  )

/** Dollars from a text; a text that is no amount is the failure, in words. */
export const parseUsd = (dollars: string): Result.Result<Amount, string> => {
  const match = /^(\d+)(?:\.(\d{1,8}))?$/.exec(dollars.trim())
  if (match === null)
    return Result.fail(`Dollars must be 0 or more with at most 8 decimals, got ${JSON.stringify(dollars)}`)
  const amount = BigInt(match[1] ?? "0") * microcentsPerDollar + BigInt((match[2] ?? "").padEnd(8, "0"))
  return amount > Limits.maxInt64
    ? Result.fail(`Dollars must be at most 92233720368.54775807, got ${dollars}`)
    : Result.succeed(make("USD_MICROCENTS", amount))
}

/** Nothing, of a unit. */
export const zero = (unit: Unit): Amount => make(unit, 0n)

// ---------------------------------------------------------------------------------------------------------------------
// predicates and comparisons
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a unit is one of the protocol's. */
export const isKnownUnit = (unit: string): unit is KnownUnit => known.has(unit)

/** Whether an amount is nothing. */
export const isZero = (self: Amount): boolean => self.amount === 0n

/** Equal in unit and value. */
export const Equivalence: Equivalence_.Equivalence<Amount> = (self, that) =>
  self.unit === that.unit && self.amount === that.amount

/** By unit, then by value. */
export const Order: Order_.Order<Amount> = Order_.combine(
  Order_.mapInput(Order_.String, (_: Amount) => _.unit),
  Order_.mapInput(Order_.BigInt, (_: Amount) => _.amount)
)

// ---------------------------------------------------------------------------------------------------------------------
// arithmetic
// ---------------------------------------------------------------------------------------------------------------------

/** Both together; different units are the failure. Throws a `RangeError` where the sum exceeds 2^63-1. */
export const sum = (self: Amount, that: Amount): Result.Result<Amount, UnitMismatch> =>
  combine(self, that, (a, b) => a + b)

/** The first less the second, nothing where the second is larger; different units are the failure. */
export const subtract = (self: Amount, that: Amount): Result.Result<Amount, UnitMismatch> =>
  combine(self, that, (a, b) => (a > b ? a - b : 0n))

/** The smaller one; different units are the failure. */
export const min = (self: Amount, that: Amount): Result.Result<Amount, UnitMismatch> =>
  combine(self, that, (a, b) => (a < b ? a : b))

/** The larger one; different units are the failure. */
export const max = (self: Amount, that: Amount): Result.Result<Amount, UnitMismatch> =>
  combine(self, that, (a, b) => (a > b ? a : b))

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/** As people read it: `$0.25`, `1000 TOKENS`. */
export const format = (self: Amount | SignedAmount): string => {
  if (self.unit !== "USD_MICROCENTS") return `${self.amount} ${self.unit}`
  const sign = self.amount < 0n ? "-" : ""
  const absolute = self.amount < 0n ? -self.amount : self.amount
  const decimals = (absolute % microcentsPerDollar)
    .toString()
    .padStart(8, "0")
    .replace(/0{1,6}$/, "")
  return `${sign}$${absolute / microcentsPerDollar}.${decimals}`
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/** Two amounts of different units met. */
export class UnitMismatch extends Schema.TaggedError<UnitMismatch>()("UnitMismatch", {
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `Amounts of ${this.expected} and ${this.actual} can't be put together`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** An amount that is known to be right. The constructor of a schema's class does the same at seven times the cost. */
const trusted = (unit: Unit, amount: bigint): Amount => {
  const self: { -readonly [K in keyof Amount]: Amount[K] } = Object.create(Amount.prototype)
  self.unit = unit
  self.amount = amount
  return self
}

const microcentsPerDollar = 100_000_000n

/** A number as people write it, without an exponent where it is small. */
const decimal = (value: number): string =>
  value > 0 && value < 1e-6 ? value.toFixed(20).replace(/0+$/, "") : String(value)

const known: ReadonlySet<string> = new Set(knownUnits)

const combine = (
  self: Amount,
  that: Amount,
  f: (a: bigint, b: bigint) => bigint
): Result.Result<Amount, UnitMismatch> =>
  self.unit === that.unit
    ? Result.succeed(make(self.unit, f(self.amount, that.amount)))
    : Result.fail(new UnitMismatch({ expected: self.unit, actual: that.unit }))
