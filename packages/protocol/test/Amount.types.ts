/**
 * Type tests of amounts. They are compiled, never run.
 */
import { expectTypeOf } from "vitest"
import { Amount } from "@effect-cycles/protocol"

declare const any: Amount.Amount
declare const signed: Amount.SignedAmount
const tokens = Amount.tokens(1)
const dollars = Amount.usd("0.25")

expectTypeOf(tokens).toEqualTypeOf<Amount.Amount<"TOKENS">>()
expectTypeOf(dollars).toEqualTypeOf<Amount.Amount<"USD_MICROCENTS">>()
expectTypeOf(Amount.make("EUR", 1)).toEqualTypeOf<Amount.Amount<"EUR">>()
expectTypeOf(Amount.makeSigned("TOKENS", -1)).toEqualTypeOf<Amount.SignedAmount<"TOKENS">>()
expectTypeOf(Amount.Amount.Type).toEqualTypeOf<Amount.Amount>()

// An amount of any unit accepts a known unit; a known unit accepts no other.
export const open: Amount.Amount = tokens
// @ts-expect-error an amount of any unit need not be tokens
export const closed: Amount.Amount<"TOKENS"> = any
// @ts-expect-error dollars are not tokens
export const other: Amount.Amount<"TOKENS"> = dollars
// @ts-expect-error a literal is not an amount
export const literal: Amount.Amount = { unit: "TOKENS", amount: 1n }
// @ts-expect-error a signed amount may be below zero
export const unsigned: Amount.Amount = signed

expectTypeOf(Amount.sum(tokens, tokens)).toEqualTypeOf<Amount.Amount<"TOKENS">>()
expectTypeOf(Amount.subtract(tokens)(tokens)).toEqualTypeOf<Amount.Amount<"TOKENS">>()
expectTypeOf(Amount.max(any, tokens)).toEqualTypeOf<Amount.Amount>()
// @ts-expect-error units never mix
Amount.sum(tokens, dollars)
// @ts-expect-error units never mix
Amount.min(dollars)(tokens)

if (Amount.hasUnit(any, "TOKENS")) expectTypeOf(any).toEqualTypeOf<Amount.Amount<"TOKENS">>()
const isDollars = Amount.hasUnit("USD_MICROCENTS")
if (isDollars(any)) expectTypeOf(any).toEqualTypeOf<Amount.Amount<"USD_MICROCENTS">>()
