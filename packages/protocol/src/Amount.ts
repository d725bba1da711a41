/**
 * Amounts: an exact 64-bit integer and its unit. Units never mix: the unit is part of the type.
 *
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * String(Amount.usd("0.25"))   // "$0.25", an Amount<"USD_MICROCENTS">
 * String(Amount.tokens(1_000)) // "1000 TOKENS", an Amount<"TOKENS">
 * ```
 *
 * A number is read to 15 significant digits, which a double always holds, and rounded up to a whole amount, so that
 * `usd(0.1 + 0.2)` is 30 cents and `tokens(10 / 4)` is 3. A text and a bigint are exact.
 *
 * @see Amount, SignedAmount and UnitEnum of the protocol
 */
import * as Equivalence_ from "effect/Equivalence"
import { dual } from "effect/Function"
import * as Order_ from "effect/Order"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Renaming from "./internal/renaming.ts"
import * as Wire from "./internal/schema.ts"
import * as Json from "./Json.ts"
import * as Limits from "./Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const TypeId = "~effect-cycles/Amount"

const SignedTypeId = "~effect-cycles/SignedAmount"

/** The units of the protocol. USD_MICROCENTS is a hundred-millionth of a dollar. */
export const knownUnits = ["USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS"] as const

/** One of the units of the protocol. */
export type KnownUnit = (typeof knownUnits)[number]

/** A unit. Units that this version doesn't know are carried as they are. */
export type Unit = KnownUnit | (string & {})

/** The codec of a unit. */
export const Unit: Schema.Codec<Unit, string> = Schema.StringForLiteralAutocomplete

/**
 * 0 to 2^63-1 of a unit, exact. An amount comes from a constructor or from the schema, never from a literal.
 * `Amount<"TOKENS">` has a unit that the compiler knows; plain `Amount` may have any, such as one that a server sent.
 */
export interface Amount<out U extends Unit = Unit> {
  readonly [TypeId]: typeof TypeId
  readonly unit: U
  readonly amount: bigint
  /** The text for people: `$0.25`, `1000 TOKENS`. */
  toString(): string
}

/** -2^63 to 2^63-1 of a unit, exact: what remains of a budget may be below zero. */
export interface SignedAmount<out U extends Unit = Unit> {
  readonly [SignedTypeId]: typeof SignedTypeId
  readonly unit: U
  readonly amount: bigint
  /** The text for people: `-$0.25`, `-1000 TOKENS`. */
  toString(): string
}

/** An amount in JSON; a `bigint` is a number that a double can't hold. */
export interface Encoded {
  readonly unit: string
  readonly amount: number | bigint
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An amount of any unit. A number that isn't whole is rounded up. Throws a `RangeError` below 0 (a number within 10^-12 of 0
 * is 0), for a number above 2^53-1 (pass a `bigint`), for NaN, and above 2^63-1.
 */
export const make = <const U extends Unit>(unit: U, amount: number | bigint): Amount<U> => {
  const value = typeof amount === "bigint" ? amount : whole(amount)
  if (value === undefined) {
    throw new RangeError(
      `An amount must be a number from 0 to 2^53-1, or a bigint from 0 to ${Limits.maxInt64}, got ${amount} ${unit}`
    )
  }
  return checked(unit, value)
}

/** Tokens. Rounds and throws as `make` does. */
export const tokens = (amount: number | bigint): Amount<"TOKENS"> => make("TOKENS", amount)

/** Credits. Rounds and throws as `make` does. */
export const credits = (amount: number | bigint): Amount<"CREDITS"> => make("CREDITS", amount)

/** Risk points. Rounds and throws as `make` does. */
export const riskPoints = (amount: number | bigint): Amount<"RISK_POINTS"> => make("RISK_POINTS", amount)

/** Hundred-millionths of a dollar. Rounds and throws as `make` does. */
export const usdMicrocents = (amount: number | bigint): Amount<"USD_MICROCENTS"> => make("USD_MICROCENTS", amount)

/**
 * Dollars. A text such as `"0.25"` is exact and has at most 8 decimals. A number is read to 15 significant digits and rounded
 * up to a whole microcent: `7 * 0.000003` is 2100 of them.
 *
 * Throws a `RangeError` below 0 (a number within 10^-12 of 0 is 0), above 92,233,720,368.54775807, for NaN, and for a text
 * that is no such amount.
 */
export const usd = (dollars: string | number): Amount<"USD_MICROCENTS"> => {
  if (typeof dollars === "string") {
    return Result.getOrThrowWith(parseUsd(dollars), (problem) => new RangeError(problem))
  }
  const value = isDust(dollars) ? 0n : dollars >= 0 && dollars <= maxDollars ? roundedUp(dollars, 8) : undefined
  if (value === undefined || value > Limits.maxInt64) {
    throw new RangeError(`Dollars must be from 0 to 92233720368.54775807, got ${dollars}`)
  }
  return new AmountImpl("USD_MICROCENTS", value)
}

/** Dollars from a text. The failure says what is wrong with it. */
export const parseUsd = (dollars: string): Result.Result<Amount<"USD_MICROCENTS">, string> => {
  const match = /^(\d+)(?:\.(\d{1,8}))?$/.exec(dollars.trim())
  if (match === null)
    return Result.fail(`Dollars must be 0 or more with at most 8 decimals, got ${JSON.stringify(dollars)}`)
  const amount = BigInt(match[1] ?? "0") * microcentsPerDollar + BigInt((match[2] ?? "").padEnd(8, "0"))
  return amount > Limits.maxInt64
    ? Result.fail(`Dollars must be at most 92233720368.54775807, got ${dollars}`)
    : Result.succeed(new AmountImpl("USD_MICROCENTS", amount))
}

/** 0 of a unit. */
export const zero = <const U extends Unit>(unit: U): Amount<U> => new AmountImpl(unit, 0n)

/** An amount that may be below zero. Throws a `RangeError` unless it is a whole number from -2^63 to 2^63-1. */
export const makeSigned = <const U extends Unit>(unit: U, amount: number | bigint): SignedAmount<U> => {
  const value = typeof amount === "bigint" ? amount : Number.isSafeInteger(amount) ? BigInt(amount) : undefined
  if (value === undefined || value < Limits.minInt64 || value > Limits.maxInt64) {
    throw new RangeError(
      `A signed amount must be a whole number from ${Limits.minInt64} to ${Limits.maxInt64}, got ${amount} ${unit}`
    )
  }
  return new SignedAmountImpl(unit, value)
}

// ---------------------------------------------------------------------------------------------------------------------
// predicates and comparisons
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a value is an amount from a constructor or the schema, in its range. */
export const isAmount = (u: unknown): u is Amount => Predicate.hasProperty(u, TypeId) && isMeasured(u, 0n)

/** Whether a value is a signed amount from the constructor or the schema, in its range. */
export const isSignedAmount = (u: unknown): u is SignedAmount =>
  Predicate.hasProperty(u, SignedTypeId) && isMeasured(u, Limits.minInt64)

/** Whether an amount has a unit: narrows `Amount`, such as one that a server sent, to `Amount<"TOKENS">`. */
export const hasUnit: {
  <const U extends Unit>(unit: U): (self: Amount) => self is Amount<U>
  <const U extends Unit>(self: Amount, unit: U): self is Amount<U>
} = dual(2, <const U extends Unit>(self: Amount, unit: U): self is Amount<U> => self.unit === unit)

/** Whether a unit is one of the protocol's. */
export const isKnownUnit = (unit: string): unit is KnownUnit => known.has(unit)

/** Whether an amount is 0. */
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

/** The sum. Throws a `RangeError` above 2^63-1, and `UnitMismatch` if the units differ at run time. */
export const sum: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => a + b))

/** `self` less `that`, 0 if `that` is larger. Throws `UnitMismatch` if the units differ at run time. */
export const subtract: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a > b ? a - b : 0n)))

/** The smaller one. Throws `UnitMismatch` if the units differ at run time. */
export const min: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a < b ? a : b)))

/** The larger one. Throws `UnitMismatch` if the units differ at run time. */
export const max: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a > b ? a : b)))

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/** The text for people, exact: `$0.25`, `1000 TOKENS`. */
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

/** Two amounts have different units. */
export class UnitMismatch extends Schema.TaggedError<UnitMismatch>()("UnitMismatch", {
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message(): string {
    return `Amounts of ${this.expected} and ${this.actual} can't be combined`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// implementation
// ---------------------------------------------------------------------------------------------------------------------

/** The type id is on the prototype, so that an amount compares and prints as its unit and its value. */
class AmountImpl<U extends Unit> implements Amount<U> {
  declare readonly [TypeId]: typeof TypeId
  static readonly name = "Amount"
  static {
    Object.defineProperty(this.prototype, TypeId, { value: TypeId })
  }
  readonly unit: U
  readonly amount: bigint
  constructor(unit: U, amount: bigint) {
    this.unit = unit
    this.amount = amount
  }
  toString(): string {
    return format(this)
  }
}

class SignedAmountImpl<U extends Unit> implements SignedAmount<U> {
  declare readonly [SignedTypeId]: typeof SignedTypeId
  static readonly name = "SignedAmount"
  static {
    Object.defineProperty(this.prototype, SignedTypeId, { value: SignedTypeId })
  }
  readonly unit: U
  readonly amount: bigint
  constructor(unit: U, amount: bigint) {
    this.unit = unit
    this.amount = amount
  }
  toString(): string {
    return format(this)
  }
}

const microcentsPerDollar = 100_000_000n

/** Just above 2^63-1 microcents; the exact limit is checked afterwards. */
const maxDollars = 92_233_720_369

const known: ReadonlySet<string> = new Set(knownUnits)

const isMeasured = (u: object, minimum: bigint): boolean =>
  "unit" in u &&
  typeof u.unit === "string" &&
  "amount" in u &&
  typeof u.amount === "bigint" &&
  u.amount >= minimum &&
  u.amount <= Limits.maxInt64

const checked = <U extends Unit>(unit: U, amount: bigint): Amount<U> => {
  if (amount < 0n || amount > Limits.maxInt64) {
    throw new RangeError(`An amount must be from 0 to ${Limits.maxInt64}, got ${amount} ${unit}`)
  }
  return new AmountImpl(unit, amount)
}

const combine = <U extends Unit>(self: Amount<U>, that: Amount<U>, f: (a: bigint, b: bigint) => bigint): Amount<U> => {
  if (self.unit !== that.unit) throw new UnitMismatch({ expected: self.unit, actual: that.unit })
  return checked(self.unit, f(self.amount, that.amount))
}

/** What a subtraction of doubles leaves instead of 0. */
const isDust = (value: number): boolean => value < 0 && value >= -1e-12

const whole = (value: number): bigint | undefined => {
  if (typeof value !== "number") return undefined
  if (Number.isSafeInteger(value)) return value < 0 ? undefined : BigInt(value)
  if (isDust(value)) return 0n
  return value > 0 && value < Number.MAX_SAFE_INTEGER ? roundedUp(value, 0) : undefined
}

/**
 * A number from 0 times a power of ten, rounded up. It is read to 15 significant digits, without the error of its own
 * computation; to all of its digits if the 15th stands for more than one.
 */
const roundedUp = (value: number, decimals: number): bigint => {
  const text = value < 10 ** (15 - decimals) ? value.toExponential(14) : value.toExponential()
  const [mantissa = "", exponent = ""] = text.split("e")
  const [units = "", fraction = ""] = mantissa.split(".")
  const unscaled = BigInt(units + fraction)
  const shift = Number(exponent) - fraction.length + decimals
  if (shift >= 0) return unscaled * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return (unscaled + divisor - 1n) / divisor
}

// ---------------------------------------------------------------------------------------------------------------------
// schemas
// ---------------------------------------------------------------------------------------------------------------------

const Wired = Schema.Struct({ unit: Unit, amount: Wire.unsignedInt64 })

const Arbitrary = Schema.Struct({ unit: Schema.Literals(knownUnits), amount: Schema.toType(Wire.unsignedInt64) })

const amountTransformation = SchemaTransformation.transform<Amount, typeof Wired.Type>({
  decode: ({ amount, unit }) => new AmountImpl(unit, amount),
  encode: ({ amount, unit }) => ({ unit, amount })
})

const encodedOf = ({ amount, unit }: Amount | SignedAmount): Encoded => ({ unit, amount: Json.encodeInteger(amount) })

/** The codec of an amount of any unit. */
export const Amount: Schema.Codec<Amount, Encoded> = Wired.pipe(
  Schema.decodeTo(
    Schema.declare(isAmount, {
      expected: "an amount made by Amount.tokens, Amount.usd and the like",
      toCodec: () => Schema.link<Amount>()(Wired, amountTransformation),
      // An arbitrary text is no unit that may be sent.
      toCodecArbitrary: () =>
        Schema.link<Amount>()(Arbitrary, {
          decode: amountTransformation.decode,
          encode: SchemaGetter.forbiddenEncoding
        })
    }),
    amountTransformation
  )
)

const SignedWired = Schema.Struct({ unit: Unit, amount: Wire.signedInt64 })

const signedTransformation = SchemaTransformation.transform<SignedAmount, typeof SignedWired.Type>({
  decode: ({ amount, unit }) => new SignedAmountImpl(unit, amount),
  encode: ({ amount, unit }) => ({ unit, amount })
})

/** The codec of a signed amount of any unit. */
export const SignedAmount: Schema.Codec<SignedAmount, Encoded> = SignedWired.pipe(
  Schema.decodeTo(
    Schema.declare(isSignedAmount, {
      expected: "an amount made by Amount.makeSigned",
      toCodec: () => Schema.link<SignedAmount>()(SignedWired, signedTransformation)
    }),
    signedTransformation
  )
)

/** An amount that may be sent: its unit is known. */
export const Sendable = Amount.check(
  Schema.makeFilter((amount: Amount) =>
    isKnownUnit(amount.unit) ? undefined : { path: ["unit"], issue: `Expected one of ${knownUnits.join(", ")}` }
  )
)

Renaming.register(Amount, {
  read: ({ amount, unit }): Amount => new AmountImpl(unit, BigInt(amount)),
  write: encodedOf
})

Renaming.register(SignedAmount, {
  read: ({ amount, unit }): SignedAmount => new SignedAmountImpl(unit, BigInt(amount)),
  write: encodedOf
})
