/** Amounts of the caller. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Result from "effect/Result"

/**
 * Returns an amount if it has the unit. Also accepts another object with the fields of an amount, which the compiler
 * refuses, so that known spend isn't lost. Throws if the value isn't an amount.
 */
export const inUnit = (unit: Amount.Unit, given: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> => {
  const amount = Amount.isAmount(given) ? given : amountOf(given)
  return amount.unit === unit
    ? Result.succeed(amount)
    : Result.fail(new Amount.UnitMismatch({ expected: unit, actual: amount.unit }))
}

const amountOf = (given: unknown): Amount.Amount => {
  if (typeof given === "object" && given !== null && "unit" in given && "amount" in given) {
    const { amount, unit } = given
    if (typeof unit === "string" && (typeof amount === "bigint" || typeof amount === "number")) {
      return Amount.make(unit, amount)
    }
  }
  throw new TypeError("The spend must be an amount as Amount.tokens, Amount.usd and the like make it")
}
