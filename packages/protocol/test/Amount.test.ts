import { describe, expect, it } from "@effect/vitest"
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Amount, Json } from "@effect-cycles/protocol"

const max = 9_223_372_036_854_775_807n

const amounts = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: max }))

describe("Amount", () => {
  it("reads dollars exactly, to eight decimals", () => {
    expect(Amount.usd("0.25").amount).toBe(25_000_000n)
    expect(Amount.usd("0.00000001").amount).toBe(1n)
    expect(Amount.usd(1e-8).amount).toBe(1n)
    expect(Amount.usd(3).amount).toBe(300_000_000n)
    expect(Amount.usd("92233720368.54775807").amount).toBe(max)
  })

  it.each(["0.000000001", "-1", "", "1e3", "abc", "92233720368.54775808", "1."])("refuses %j as dollars", (text) => {
    expect(() => Amount.usd(text)).toThrow(RangeError)
    expect(Result.isFailure(Amount.parseUsd(text))).toBe(true)
  })

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, max + 1n])("refuses %s of anything", (amount) => {
    expect(() => Amount.tokens(amount)).toThrow(RangeError)
  })

  it("is equal by value and unit, and read by people", () => {
    expect(Equal.equals(Amount.tokens(5), Amount.tokens(5n))).toBe(true)
    expect(Equal.equals(Amount.tokens(5), Amount.credits(5))).toBe(false)
    expect([Amount.tokens(1000), Amount.usd("0.25"), Amount.usd("12"), Amount.riskPoints(3)].map(String)).toEqual([
      "1000 TOKENS",
      "$0.25",
      "$12.00",
      "3 RISK_POINTS"
    ])
  })

  it("never mixes units", () => {
    const mixed = Amount.sum(Amount.tokens(1), Amount.credits(1))
    expect(Result.isFailure(mixed) && mixed.failure).toMatchObject({
      _tag: "UnitMismatch",
      expected: "TOKENS",
      actual: "CREDITS"
    })
  })

  it("overflows with an error, never around", () => {
    expect(() => Amount.sum(Amount.tokens(max), Amount.tokens(1))).toThrow(RangeError)
  })

  it.prop("survives the wire digit by digit", { amount: amounts }, ({ amount }) => {
    const encode = Schema.encodeSync(Amount.Amount)
    const decode = Schema.decodeUnknownSync(Amount.Amount)
    const text = Json.stringify(encode(Amount.tokens(amount)))
    expect(text).toBe(`{"unit":"TOKENS","amount":${amount}}`)
    expect(decode(Json.parse(text)).amount).toBe(amount)
  })

  it.prop("adds and takes away exactly", { a: amounts, b: amounts }, ({ a, b }) => {
    if (a + b > max) return
    const sum = Result.getOrThrow(Amount.sum(Amount.tokens(a), Amount.tokens(b)))
    expect(sum.amount).toBe(a + b)
    expect(Result.getOrThrow(Amount.subtract(sum, Amount.tokens(b))).amount).toBe(a)
  })

  it.each(["1.5", "9223372036854775808", '"5"', "1e30", "-1", "null", "true"])(
    "refuses %s as an amount on the wire",
    (text) => {
      const decode = Schema.decodeUnknownResult(Amount.Amount)
      expect(Result.isFailure(decode(Json.parse(`{"unit":"TOKENS","amount":${text}}`)))).toBe(true)
    }
  )
})
