/** The denials by a run. */
import type { Action } from "@effect-cycles/protocol/Action"
import * as Amount from "@effect-cycles/protocol/Amount"
import { maxInt64 } from "@effect-cycles/protocol/Limits"
import { BudgetExceeded } from "../../CyclesError.ts"
import type { Reference } from "./summary.ts"

/** A request of a run: room for an amount, or a step or a tool call, which have no amount. */
export interface Request {
  readonly action: Action | undefined
  readonly amount: Amount.Amount | undefined
}

/** The denial of a call by a run that has `left`, if its budget is the reason. */
export const denialOf = (
  run: Reference,
  code: string,
  { action, amount }: Request,
  left: bigint | undefined,
  hint = hintOf(code, amount?.unit)
): BudgetExceeded =>
  new BudgetExceeded({
    operation: "reserve",
    code,
    action,
    requested: amount,
    scopes: [`run:${run.name}`],
    remaining: left === undefined || amount === undefined ? undefined : signedOf(amount.unit, left),
    run: { id: run.id, name: run.name },
    hint
  })

/** What to do about a denial, if its code and amounts don't show it. */
const hintOf = (code: string, unit: Amount.Unit | undefined): string | undefined => {
  if (code === "RUN_ENDED") return "the run has ended: start work that outlives it with Run.outside"
  if (code !== "RUN_UNCOVERED") return undefined
  return `the run has no budget in ${unit}: add one, or set uncovered to "allow"`
}

const signedOf = (unit: Amount.Unit, amount: bigint): Amount.SignedAmount =>
  Amount.makeSigned(unit, amount < -maxInt64 ? -maxInt64 : amount > maxInt64 ? maxInt64 : amount)
