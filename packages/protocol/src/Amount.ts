/**
 * Amounts: an exact 64-bit integer and its unit. The unit is part of the type, so the compiler refuses to mix units.
 *
 * **Details**
 *
 * A number is read to 15 significant digits, which a double always holds, and rounded up to a whole amount: `usd(0.1 + 0.2)`
 * is 30 cents and `tokens(10 / 4)` is 3. If the amount has more than 15 digits, the number is read to all of its digits.
 * Strings and bigints are exact.
 *
 * **Gotchas**
 *
 * The constructors and the arithmetic throw on invalid input. Use `parseUsd` for dollars that a user has typed.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * const estimate: Amount.Amount<"USD_MICROCENTS"> = Amount.usd("0.25")
 * const used = Amount.sum(Amount.tokens(1_000), Amount.tokens(250))
 *
 * console.log(String(estimate)) // "$0.25"
 * console.log(String(used)) // "1250 TOKENS"
 * ```
 *
 * @see schemas `Amount`, `SignedAmount` and `UnitEnum` of the Cycles protocol
 * @since 0.1.0
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
import * as Rounding from "./internal/rounding.ts"
import * as Wire from "./internal/schema.ts"
import * as Json from "./Json.ts"
import * as Limits from "./Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const TypeId = "~effect-cycles/Amount"

const SignedTypeId = "~effect-cycles/SignedAmount"

/**
 * The units that the protocol defines. A `USD_MICROCENTS` is 10^-8 dollars.
 *
 * @category models
 * @since 0.1.0
 */
export const knownUnits = ["USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS"] as const

/**
 * A unit that the protocol defines.
 *
 * @category models
 * @since 0.1.0
 */
export type KnownUnit = (typeof knownUnits)[number]

/**
 * The unit of an amount. A unit that this version doesn't know is kept as the server sent it.
 *
 * @category models
 * @since 0.1.0
 */
export type Unit = KnownUnit | (string & {})

/**
 * Schema of a unit. It accepts any string, since servers may add units.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unit: Schema.Codec<Unit, string> = Schema.StringForLiteralAutocomplete

/**
 * An exact amount of a unit, from 0 to 2^63-1.
 *
 * **Details**
 *
 * Amounts come from a constructor or from the schema, never from an object literal. `Amount<"TOKENS">` has a unit that the
 * compiler knows; a plain `Amount` may have any unit, for example one that a server sent.
 *
 * @see schema `Amount` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export interface Amount<out U extends Unit = Unit> {
  /** Identifies the type. */
  readonly [TypeId]: typeof TypeId
  /** The unit, such as `TOKENS`. */
  readonly unit: U
  /** The number of units, from 0 to 2^63-1. A dollar is 100,000,000 `USD_MICROCENTS`. */
  readonly amount: bigint
  /** The amount as text: `$0.25`, `1000 TOKENS`. */
  toString(): string
}

/**
 * An exact amount of a unit, from -2^63 to 2^63-1. The remaining amount of a budget is a signed amount, because debt can make
 * it negative.
 *
 * @see schema `SignedAmount` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export interface SignedAmount<out U extends Unit = Unit> {
  /** Identifies the type. */
  readonly [SignedTypeId]: typeof SignedTypeId
  /** The unit, such as `TOKENS`. */
  readonly unit: U
  /** The number of units, from -2^63 to 2^63-1. */
  readonly amount: bigint
  /** The amount as text: `-$0.25`, `-1000 TOKENS`. */
  toString(): string
}

/**
 * An amount in JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /** The unit, such as `TOKENS`. */
  readonly unit: string
  /** A `bigint` if a double can't hold the integer exactly. */
  readonly amount: number | bigint
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes an amount of any unit.
 *
 * **Details**
 *
 * A number that isn't an integer is rounded up. A negative number within 10^-12 of 0 counts as 0.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a negative amount, for NaN, for a number above 2^53-1 (pass a `bigint` instead), and for a `bigint`
 * above 2^63-1.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * const amount = Amount.make("GPU_SECONDS", 2.5)
 *
 * console.log(String(amount)) // "3 GPU_SECONDS"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const U extends Unit>(unit: U, amount: number | bigint): Amount<U> => {
  const value = typeof amount === "bigint" ? amount : Rounding.toInteger(amount)
  if (value === undefined) {
    throw new RangeError(
      `An amount must be a number from 0 to 2^53-1, or a bigint from 0 to ${Limits.maxInt64}, got ${amount} ${unit}`
    )
  }
  return checked(unit, value)
}

/**
 * Makes an amount of tokens. Rounds and throws as `make` does.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * console.log(String(Amount.tokens(1_000))) // "1000 TOKENS"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const tokens = (amount: number | bigint): Amount<"TOKENS"> => make("TOKENS", amount)

/**
 * Makes an amount of credits. Rounds and throws as `make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const credits = (amount: number | bigint): Amount<"CREDITS"> => make("CREDITS", amount)

/**
 * Makes an amount of risk points. Rounds and throws as `make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const riskPoints = (amount: number | bigint): Amount<"RISK_POINTS"> => make("RISK_POINTS", amount)

/**
 * Makes an amount of microcents: 100,000,000 are a dollar. Rounds and throws as `make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const usdMicrocents = (amount: number | bigint): Amount<"USD_MICROCENTS"> => make("USD_MICROCENTS", amount)

/**
 * Makes an amount from dollars.
 *
 * **Details**
 *
 * A string such as `"0.25"` is exact and has at most 8 decimals. A number is read to 15 significant digits and rounded up to a
 * whole microcent: `usd(7 * 0.000003)` is 2,100 microcents. A negative number within 10^-12 of 0 counts as 0.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a negative amount, for more than 92,233,720,368.54775807 dollars, for NaN, and for a string that
 * `parseUsd` refuses.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * console.log(String(Amount.usd("0.25"))) // "$0.25"
 * console.log(String(Amount.usd(0.1 + 0.2))) // "$0.30"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const usd = (dollars: string | number): Amount<"USD_MICROCENTS"> => {
  if (typeof dollars === "string") {
    return Result.getOrThrowWith(parseUsd(dollars), (problem) => new RangeError(problem))
  }
  const value = Rounding.isRoundingError(dollars)
    ? 0n
    : dollars >= 0 && dollars <= maxDollars
      ? Rounding.roundUp(dollars, 8)
      : undefined
  if (value === undefined || value > Limits.maxInt64) {
    throw new RangeError(`Dollars must be from 0 to 92233720368.54775807, got ${dollars}`)
  }
  return new AmountImpl("USD_MICROCENTS", value)
}

/**
 * Parses dollars from a string of digits with at most 8 decimals. The failure is a message that describes the problem.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 * import { Result } from "effect"
 *
 * const parsed = Amount.parseUsd("12,50")
 *
 * console.log(Result.isFailure(parsed) ? parsed.failure : String(parsed.success))
 * // 'Dollars must be 0 or more with at most 8 decimals, got "12,50"'
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const parseUsd = (dollars: string): Result.Result<Amount<"USD_MICROCENTS">, string> => {
  const match = /^(\d+)(?:\.(\d{1,8}))?$/.exec(dollars.trim())
  if (match === null)
    return Result.fail(`Dollars must be 0 or more with at most 8 decimals, got ${JSON.stringify(dollars)}`)
  const amount = BigInt(match[1] ?? "0") * microcentsPerDollar + BigInt((match[2] ?? "").padEnd(8, "0"))
  return amount > Limits.maxInt64
    ? Result.fail(`Dollars must be at most 92233720368.54775807, got ${dollars}`)
    : Result.succeed(new AmountImpl("USD_MICROCENTS", amount))
}

/**
 * Makes an amount of 0 in a unit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const zero = <const U extends Unit>(unit: U): Amount<U> => new AmountImpl(unit, 0n)

/**
 * Makes an amount that may be negative. Throws a `RangeError` unless it is an integer from -2^63 to 2^63-1; a number must also
 * be a safe integer.
 *
 * @category constructors
 * @since 0.1.0
 */
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

/**
 * Returns whether a value is an amount from a constructor or the schema, and in range.
 *
 * @category guards
 * @since 0.1.0
 */
export const isAmount = (u: unknown): u is Amount => Predicate.hasProperty(u, TypeId) && isInRange(u, 0n)

/**
 * Returns whether a value is a signed amount from `makeSigned` or the schema, and in range.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSignedAmount = (u: unknown): u is SignedAmount =>
  Predicate.hasProperty(u, SignedTypeId) && isInRange(u, Limits.minInt64)

/**
 * Returns whether an amount has a unit. Narrows an `Amount` of any unit, such as one that a server sent, to `Amount<"TOKENS">`.
 *
 * @example
 * ```ts
 * import { Amount } from "@effect-cycles/protocol"
 *
 * const tokensOf = (charged: Amount.Amount): bigint =>
 *   Amount.hasUnit(charged, "TOKENS") ? charged.amount : 0n
 *
 * console.log(tokensOf(Amount.tokens(10))) // 10n
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const hasUnit: {
  <const U extends Unit>(unit: U): (self: Amount) => self is Amount<U>
  <const U extends Unit>(self: Amount, unit: U): self is Amount<U>
} = dual(2, <const U extends Unit>(self: Amount, unit: U): self is Amount<U> => self.unit === unit)

/**
 * Returns whether the protocol defines a unit.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKnownUnit = (unit: string): unit is KnownUnit => known.has(unit)

/**
 * Returns whether an amount is 0.
 *
 * @category guards
 * @since 0.1.0
 */
export const isZero = (self: Amount): boolean => self.amount === 0n

/**
 * Compares two amounts by unit and value.
 *
 * @category instances
 * @since 0.1.0
 */
export const Equivalence: Equivalence_.Equivalence<Amount> = (self, that) =>
  self.unit === that.unit && self.amount === that.amount

/**
 * Orders amounts by unit, then by value.
 *
 * @category instances
 * @since 0.1.0
 */
export const Order: Order_.Order<Amount> = Order_.combine(
  Order_.mapInput(Order_.String, (_: Amount) => _.unit),
  Order_.mapInput(Order_.BigInt, (_: Amount) => _.amount)
)

// ---------------------------------------------------------------------------------------------------------------------
// arithmetic
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Adds two amounts of one unit.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` if the sum exceeds 2^63-1, and `UnitMismatch` if the units differ at run time.
 *
 * @category arithmetic
 * @since 0.1.0
 */
export const sum: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => a + b))

/**
 * Subtracts `that` from `self`. The result is 0 if `that` is larger.
 *
 * **Gotchas**
 *
 * Throws `UnitMismatch` if the units differ at run time.
 *
 * @category arithmetic
 * @since 0.1.0
 */
export const subtract: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a > b ? a - b : 0n)))

/**
 * Returns the smaller of two amounts. Throws `UnitMismatch` if their units differ at run time.
 *
 * @category arithmetic
 * @since 0.1.0
 */
export const min: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a < b ? a : b)))

/**
 * Returns the larger of two amounts. Throws `UnitMismatch` if their units differ at run time.
 *
 * @category arithmetic
 * @since 0.1.0
 */
export const max: {
  <U extends Unit>(that: Amount<U>): (self: Amount<NoInfer<U>>) => Amount<U>
  <U extends Unit>(self: Amount<U>, that: Amount<NoInfer<U>>): Amount<U>
} = dual(2, <U extends Unit>(self: Amount<U>, that: Amount<U>) => combine(self, that, (a, b) => (a > b ? a : b)))

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Formats an amount exactly, with the digits ungrouped: `$0.25`, `1000 TOKENS`. Dollars have at least two decimals.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = ({ amount, unit }: Amount | SignedAmount): string => textOf(unit, amount)

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Thrown by the arithmetic if two amounts have different units.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnitMismatch extends Schema.TaggedError<UnitMismatch>()("UnitMismatch", {
  /** The unit of the first amount. */
  expected: Schema.String,
  /** The unit of the second amount. */
  actual: Schema.String
}) {
  override get message(): string {
    return `Amounts of ${this.expected} and ${this.actual} can't be combined`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// implementation
// ---------------------------------------------------------------------------------------------------------------------

/** The type id is on the prototype of each subclass, so that equality and printing see only the unit and the value. */
abstract class AnyAmount<U extends Unit> {
  readonly unit: U
  readonly amount: bigint
  constructor(unit: U, amount: bigint) {
    this.unit = unit
    this.amount = amount
  }
  toString(): string {
    return textOf(this.unit, this.amount)
  }
}

class AmountImpl<U extends Unit> extends AnyAmount<U> implements Amount<U> {
  declare readonly [TypeId]: typeof TypeId
  static override readonly name = "Amount"
  static {
    Object.defineProperty(this.prototype, TypeId, { value: TypeId })
  }
}

class SignedAmountImpl<U extends Unit> extends AnyAmount<U> implements SignedAmount<U> {
  declare readonly [SignedTypeId]: typeof SignedTypeId
  static override readonly name = "SignedAmount"
  static {
    Object.defineProperty(this.prototype, SignedTypeId, { value: SignedTypeId })
  }
}

const textOf = (unit: Unit, amount: bigint): string => {
  if (unit !== "USD_MICROCENTS") return `${amount} ${unit}`
  const sign = amount < 0n ? "-" : ""
  const absolute = amount < 0n ? -amount : amount
  const decimals = (absolute % microcentsPerDollar)
    .toString()
    .padStart(8, "0")
    .replace(/0{1,6}$/, "")
  return `${sign}$${absolute / microcentsPerDollar}.${decimals}`
}

const microcentsPerDollar = 100_000_000n

/** Just above 2^63-1 microcents; the exact limit is checked afterwards. */
const maxDollars = 92_233_720_369

const known: ReadonlySet<string> = new Set(knownUnits)

const isInRange = (u: object, minimum: bigint): boolean =>
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

// ---------------------------------------------------------------------------------------------------------------------
// schemas
// ---------------------------------------------------------------------------------------------------------------------

const WireAmount = Schema.Struct({ unit: Unit, amount: Wire.unsignedInt64 })

const Arbitrary = Schema.Struct({ unit: Schema.Literals(knownUnits), amount: Schema.toType(Wire.unsignedInt64) })

const amountTransformation = SchemaTransformation.transform<Amount, typeof WireAmount.Type>({
  decode: ({ amount, unit }) => new AmountImpl(unit, amount),
  encode: ({ amount, unit }) => ({ unit, amount })
})

const encodeAmount = ({ amount, unit }: Amount | SignedAmount): Encoded => ({
  unit,
  amount: Json.encodeInteger(amount)
})

/**
 * Schema of an amount of any unit: `{ "unit": "TOKENS", "amount": 1000 }` in JSON, where a value above 2^53-1 is a `bigint`.
 *
 * **Gotchas**
 *
 * `JSON.parse` rounds integers above 2^53-1 before the schema sees them. Use `Json.parse` and `Json.stringify`.
 *
 * @example
 * ```ts
 * import { Amount, Json } from "@effect-cycles/protocol"
 * import { Schema } from "effect"
 *
 * const text = '{"unit":"TOKENS","amount":9223372036854775807}'
 * const amount = Schema.decodeUnknownSync(Amount.Amount)(Json.parse(text))
 *
 * console.log(amount.amount) // 9223372036854775807n
 * console.log(Json.stringify(Schema.encodeSync(Amount.Amount)(amount)) === text) // true
 * ```
 *
 * @see schema `Amount` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Amount: Schema.Codec<Amount, Encoded> = WireAmount.pipe(
  Schema.decodeTo(
    Schema.declare(isAmount, {
      expected: "an amount made by Amount.tokens, Amount.usd and the like",
      toCodec: () => Schema.link<Amount>()(WireAmount, amountTransformation),
      // Only known units may be sent.
      toCodecArbitrary: () =>
        Schema.link<Amount>()(Arbitrary, {
          decode: amountTransformation.decode,
          encode: SchemaGetter.forbiddenEncoding
        })
    }),
    amountTransformation
  )
)

const SignedWireAmount = Schema.Struct({ unit: Unit, amount: Wire.signedInt64 })

const signedTransformation = SchemaTransformation.transform<SignedAmount, typeof SignedWireAmount.Type>({
  decode: ({ amount, unit }) => new SignedAmountImpl(unit, amount),
  encode: ({ amount, unit }) => ({ unit, amount })
})

/**
 * Schema of a signed amount of any unit. Values outside the safe integers are a `bigint` in JSON, as in `Amount`.
 *
 * @see schema `SignedAmount` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const SignedAmount: Schema.Codec<SignedAmount, Encoded> = SignedWireAmount.pipe(
  Schema.decodeTo(
    Schema.declare(isSignedAmount, {
      expected: "an amount made by Amount.makeSigned",
      toCodec: () => Schema.link<SignedAmount>()(SignedWireAmount, signedTransformation)
    }),
    signedTransformation
  )
)

/**
 * Schema of an amount in a request: its unit must be one that the protocol defines.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Sendable = Amount.check(
  Schema.makeFilter((amount: Amount) =>
    isKnownUnit(amount.unit) ? undefined : { path: ["unit"], issue: `Expected one of ${knownUnits.join(", ")}` }
  )
)

/** The zero of each known unit: most balances contain several. */
const zeros = new Map<string, Amount>(knownUnits.map((unit) => [unit, zero(unit)]))

Renaming.register(Amount, {
  read: ({ amount, unit }): Amount =>
    (amount === 0 ? zeros.get(unit) : undefined) ?? new AmountImpl(unit, BigInt(amount)),
  write: encodeAmount
})

Renaming.register(SignedAmount, {
  read: ({ amount, unit }): SignedAmount => new SignedAmountImpl(unit, BigInt(amount)),
  write: encodeAmount
})
