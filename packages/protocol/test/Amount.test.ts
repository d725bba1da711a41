import { describe, expect, it } from "@effect/vitest"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Amount, InvalidInput, Json, Operations } from "@effect-cycles/protocol"

const max = 9_223_372_036_854_775_807n

const amounts = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: max }))

const microcents = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999_999_999_999 }))

/** An amount in a unit that the compiler doesn't know. */
const open = (unit: string, amount: number | bigint): Amount.Amount => Amount.make(unit, amount)

describe("Amount", () => {
  describe("usd", () => {
    it("parses a string exactly, up to eight decimals", () => {
      expect(Amount.usd("0.25").amount).toBe(25_000_000n)
      expect(Amount.usd("0.00000001").amount).toBe(1n)
      expect(Amount.usd("92233720368.54775807").amount).toBe(max)
    })

    it.each(["0.000000001", "-1", "", "1e3", "abc", "92233720368.54775808", "1."])(
      "throws for the string %j",
      (text) => {
        expect(() => Amount.usd(text)).toThrow(RangeError)
        expect(Result.isFailure(Amount.parseUsd(text))).toBe(true)
      }
    )

    it.each([
      [3, 300_000_000n],
      [1e-8, 1n],
      [7 * 0.000003, 2_100n],
      [0.1 + 0.2, 30_000_000n],
      [0.3 - 0.1 - 0.2, 0n],
      [-0, 0n],
      [1e-9, 1n],
      [Number.MIN_VALUE, 1n],
      [0.250000001, 25_000_001n],
      [12_345_678.12345671, 1_234_567_812_345_671n],
      [1e8, 10n ** 16n],
      [90_071_992.6, 9_007_199_260_000_000n],
      [92_233_720_368, 9_223_372_036_800_000_000n]
    ])("reads the number %d to 15 digits and rounds it up to %d microcents", (dollars, amount) => {
      expect(Amount.usd(dollars).amount).toBe(amount)
    })

    it.each([-0.01, -1e-11, Number.NaN, Number.POSITIVE_INFINITY, 92_233_720_369, 1e300])(
      "throws for the number %d",
      (n) => {
        expect(() => Amount.usd(n)).toThrow(RangeError)
      }
    )

    it.prop(
      "reads every integer number of microcents below ten million dollars exactly",
      { n: microcents },
      ({ n }) => {
        expect(Amount.usd(n / 1e8).amount).toBe(BigInt(n))
      }
    )

    it.prop(
      "rounds a count times a price up by less than a microcent",
      {
        count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })),
        price: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
      },
      ({ count, price }) => {
        // The unit of the price is a billionth of a dollar, which is a tenth of a microcent.
        const exact = BigInt(count) * BigInt(price)
        expect(Amount.usd(count * (price / 1e9)).amount).toBe((exact + 9n) / 10n)
      }
    )
  })

  describe("make", () => {
    it.each([
      [5, 5n],
      [10 / 4, 3n],
      [0.1 + 0.2 + 0.7, 1n],
      [3 * 1.1 * 10, 33n],
      [-0, 0n],
      [-1e-13, 0n],
      [2 ** 53 - 1, 9_007_199_254_740_991n],
      [1_234_567_890_123_456.5, 1_234_567_890_123_457n],
      [max, max]
    ])("rounds %d up to %d", (given, amount) => {
      expect(Amount.tokens(given).amount).toBe(amount)
    })

    it.each([-1, -1e-11, -1n, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, max + 1n])("throws for %s", (amount) => {
      expect(() => Amount.tokens(amount)).toThrow(RangeError)
    })

    it("names the bigint in the error for a number above 2^53-1", () => {
      expect(() => Amount.tokens(2 ** 53)).toThrow(
        "An amount must be a number from 0 to 2^53-1, or a bigint from 0 to 9223372036854775807, got 9007199254740992 TOKENS"
      )
    })
  })

  describe("equality", () => {
    it("compares by unit and value", () => {
      expect(Equal.equals(Amount.tokens(5), Amount.tokens(5n))).toBe(true)
      expect(Hash.hash(Amount.tokens(5))).toBe(Hash.hash(Amount.tokens(5n)))
      expect(Equal.equals(Amount.tokens(5), Amount.credits(5))).toBe(false)
      expect(Equal.equals(Amount.tokens(5), Amount.tokens(6))).toBe(false)
      expect(Amount.Equivalence(Amount.tokens(5), Amount.tokens(5))).toBe(true)
      expect(Schema.toEquivalence(Amount.Amount)(Amount.tokens(5), Amount.tokens(5))).toBe(true)
      expect(Amount.tokens(5)).toStrictEqual(Amount.tokens(5n))
      expect(Amount.tokens(5)).not.toEqual(Amount.tokens(6))
      expect([Amount.tokens(2), Amount.credits(9), Amount.tokens(1)].toSorted(Amount.Order).map(String)).toEqual([
        "9 CREDITS",
        "1 TOKENS",
        "2 TOKENS"
      ])
    })
  })

  describe("guards", () => {
    it("isAmount refuses a literal, a changed copy and a signed amount", () => {
      expect(Amount.isAmount(Amount.tokens(5))).toBe(true)
      expect(Amount.isAmount({ unit: "TOKENS", amount: 5n })).toBe(false)
      expect(Amount.isAmount({ ...Amount.tokens(5), amount: -1n })).toBe(false)
      expect(Amount.isAmount(Object.assign(Amount.tokens(5), { amount: -1n }))).toBe(false)
      expect(Amount.isAmount(Amount.makeSigned("TOKENS", 5))).toBe(false)
      expect(Amount.isSignedAmount(Amount.makeSigned("TOKENS", -5))).toBe(true)
    })

    it("hasUnit compares the unit", () => {
      expect(Amount.hasUnit(open("TOKENS", 1), "TOKENS")).toBe(true)
      expect(Amount.hasUnit("CREDITS")(open("TOKENS", 1))).toBe(false)
    })
  })

  describe("format", () => {
    it.each<readonly [Amount.Amount | Amount.SignedAmount, string]>([
      [Amount.tokens(1000), "1000 TOKENS"],
      [Amount.tokens(max), "9223372036854775807 TOKENS"],
      [Amount.usd("0.25"), "$0.25"],
      [Amount.usd("12"), "$12.00"],
      [Amount.usd("0.00000001"), "$0.00000001"],
      [Amount.usdMicrocents(max), "$92233720368.54775807"],
      [Amount.makeSigned("USD_MICROCENTS", -25_000_000), "-$0.25"],
      [Amount.makeSigned("RISK_POINTS", -3n), "-3 RISK_POINTS"]
    ])("formats %s exactly, without grouping its digits", (amount, text) => {
      expect([String(amount), Amount.format(amount)]).toEqual([text, text])
    })
  })

  describe("arithmetic", () => {
    it.prop("is exact", { a: amounts, b: amounts }, ({ a, b }) => {
      const [one, other] = [Amount.tokens(a), Amount.tokens(b)]
      expect(Amount.min(one, other).amount).toBe(a < b ? a : b)
      expect(Amount.max(other)(one).amount).toBe(a > b ? a : b)
      expect(Amount.subtract(one, other).amount).toBe(a > b ? a - b : 0n)
      expect(Amount.subtract(other)(one)).toEqual(Amount.subtract(one, other))
      if (a + b > max) expect(() => Amount.sum(one, other)).toThrow(RangeError)
      else
        expect([Amount.sum(one, other), Amount.sum(other)(one)]).toEqual([Amount.tokens(a + b), Amount.tokens(a + b)])
    })

    it.each([
      ["sum", Amount.sum],
      ["subtract", Amount.subtract],
      ["min", Amount.min],
      ["max", Amount.max]
    ])("%s throws UnitMismatch for different units", (_name, combine) => {
      expect(() => combine(open("TOKENS", 1), open("CREDITS", 1))).toThrow(
        new Amount.UnitMismatch({ expected: "TOKENS", actual: "CREDITS" })
      )
    })
  })

  describe("SignedAmount", () => {
    it.each([1.5, Number.NaN, 2 ** 53, max + 1n, -max - 2n])("throws for %s", (amount) => {
      expect(() => Amount.makeSigned("TOKENS", amount)).toThrow(RangeError)
    })

    it.prop("round-trips through JSON", { amount: Amount.SignedAmount }, ({ amount }) => {
      const text = Json.stringify(Schema.encodeSync(Amount.SignedAmount)(amount))
      expect(Schema.decodeUnknownSync(Amount.SignedAmount)(Json.parse(text))).toStrictEqual(amount)
    })
  })

  describe("schema", () => {
    it.prop("round-trips through JSON digit by digit", { amount: amounts }, ({ amount }) => {
      const text = Json.stringify(Schema.encodeSync(Amount.Amount)(Amount.tokens(amount)))
      expect(text).toBe(`{"unit":"TOKENS","amount":${amount}}`)
      expect(Schema.decodeUnknownSync(Amount.Amount)(Json.parse(text))).toStrictEqual(Amount.tokens(amount))
    })

    it.each(["1.5", "9223372036854775808", '"5"', "1e30", "-1", "null", "true"])("refuses %s in JSON", (text) => {
      const decode = Schema.decodeUnknownResult(Amount.Amount)
      expect(Result.isFailure(decode(Json.parse(`{"unit":"TOKENS","amount":${text}}`)))).toBe(true)
    })

    it.each([{ unit: "TOKENS", amount: 10n }, { unit: "TOKENS", amount: -10n }, 10, undefined])(
      "names the constructors if %o is passed instead of an amount",
      (estimate) => {
        const input = { idempotencyKey: "k", subject: { tenant: "t" }, action: { kind: "k", name: "n" }, estimate }
        const encoded = Operations.reserve.encode(input)
        expect(Result.isFailure(encoded) && InvalidInput.fromIssue(encoded.failure.issue, input)).toMatchObject([
          { field: "estimate", expected: "an amount made by Amount.tokens, Amount.usd and the like" }
        ])
      }
    )
  })
})
