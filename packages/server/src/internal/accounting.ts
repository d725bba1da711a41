/**
 * The arithmetic of budgets: which budgets apply to a path, whether they allow a request, and how reservations, spend and debt
 * change them.
 *
 * It is pure. Functions return changed budgets, and the commands in `ledger.ts` store them.
 *
 * @see ERROR SEMANTICS, OVERDRAFT RECONCILIATION and LEDGER INVARIANT in cycles-protocol-v0.yaml
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Budget, Reservation } from "./model.ts"
import { remaining } from "./model.ts"
import { invalidRequest, ErrorResponse } from "./errorResponse.ts"
import type { Store } from "./store.ts"
import { budgetId } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Why budgets deny a request. Reserve throws it as an error; a dry run and decide return it as the decision DENY. */
export interface Denial {
  readonly code: string
  readonly message: string
  readonly status: number
  readonly details?: Record<string, unknown>
}

// ---------------------------------------------------------------------------------------------------------------------
// finding budgets
// ---------------------------------------------------------------------------------------------------------------------

/** Finds the budgets of a path in a unit, from the top down. */
export const find = (
  store: Store,
  tenantId: string,
  scopes: ReadonlyArray<string>,
  unit: string
): { readonly budgets: ReadonlyArray<Budget>; readonly denial: Denial | undefined } => {
  const budgets: Array<Budget> = []
  for (const scope of scopes) {
    const budget = store.budgets.get(budgetId(scope, unit))
    if (budget !== undefined && budget.tenantId === tenantId) budgets.push(budget)
  }
  if (budgets.length > 0) return { budgets, denial: undefined }
  for (const scope of scopes) {
    const units = unitsOf(store, tenantId, scope)
    if (units.length > 0) {
      return {
        budgets,
        denial: {
          status: 400,
          code: "UNIT_MISMATCH",
          message: `Budget at scope '${scope}' exists but in a different unit (requested: ${unit}, expected: [${units.join(", ")}])`,
          details: { scope, requested_unit: unit, expected_units: units }
        }
      }
    }
  }
  return {
    budgets,
    denial: {
      status: 404,
      code: "NOT_FOUND",
      message: `Budget not found for provided scope: ${scopes[scopes.length - 1] ?? ""}`
    }
  }
}

const unitsOf = (store: Store, tenantId: string, scope: string): ReadonlyArray<string> =>
  Amount.knownUnits.filter((unit) => store.budgets.get(budgetId(scope, unit))?.tenantId === tenantId)

/** The budgets that include a reservation in `reserved`. Budgets created after the reservation do not. */
export const budgetsHolding = (store: Store, reservation: Reservation): ReadonlyArray<Budget> => {
  const budgets: Array<Budget> = []
  for (const scope of reservation.heldScopes) {
    const budget = store.budgets.get(budgetId(scope, reservation.unit))
    if (budget !== undefined) budgets.push(budget)
  }
  return budgets
}

// ---------------------------------------------------------------------------------------------------------------------
// denials
// ---------------------------------------------------------------------------------------------------------------------

/** Checks whether the budgets of a path allow a reservation. */
export const checkEstimate = (budgets: ReadonlyArray<Budget>, amount: bigint): Denial | undefined =>
  firstDenial(
    budgets,
    (budget) => checkStatus(budget) ?? checkOverLimit(budget) ?? checkDebt(budget) ?? checkRemaining(budget, amount)
  )

/** Checks whether the budgets of a path allow spend without a reservation. */
export const checkEvent = (budgets: ReadonlyArray<Budget>, amount: bigint, policy: OveragePolicy): Denial | undefined =>
  firstDenial(
    budgets,
    (budget) => checkStatus(budget) ?? (policy === "REJECT" ? checkRemaining(budget, amount) : undefined)
  )

/** Converts a denial into an error response. */
export const toErrorResponse = (denial: Denial): ErrorResponse =>
  new ErrorResponse(denial.status, denial.code, denial.message, { details: denial.details })

/** The reason code of a denial in a DENY decision. */
export const reasonCodeOf = (denial: Denial): string => (denial.code === "NOT_FOUND" ? "BUDGET_NOT_FOUND" : denial.code)

/** The denial of the topmost budget that fails the check. */
const firstDenial = (
  budgets: ReadonlyArray<Budget>,
  check: (budget: Budget) => Denial | undefined
): Denial | undefined => {
  for (const budget of budgets) {
    const denial = check(budget)
    if (denial !== undefined) return denial
  }
  return undefined
}

const checkStatus = ({ scope, status }: Budget): Denial | undefined => {
  switch (status) {
    case "FROZEN":
      return { status: 409, code: "BUDGET_FROZEN", message: `Budget is frozen for scope: ${scope}` }
    case "CLOSED":
      return { status: 409, code: "BUDGET_CLOSED", message: `Budget is closed for scope: ${scope}` }
    case "ACTIVE":
      return undefined
  }
}

const checkOverLimit = ({ isOverLimit, scope }: Budget): Denial | undefined =>
  isOverLimit
    ? {
        status: 409,
        code: "OVERDRAFT_LIMIT_EXCEEDED",
        message: `Overdraft limit exceeded for: ${scope} is over-limit, no new reservations allowed`
      }
    : undefined

const checkDebt = ({ debt, overdraftLimit, scope }: Budget): Denial | undefined =>
  debt > 0n && overdraftLimit === 0n
    ? { status: 409, code: "DEBT_OUTSTANDING", message: `Outstanding debt blocks new reservation for: ${scope}` }
    : undefined

const checkRemaining = (budget: Budget, amount: bigint): Denial | undefined =>
  remaining(budget) < amount
    ? { status: 409, code: "BUDGET_EXCEEDED", message: `Budget exceeded for: ${budget.scope}` }
    : undefined

// ---------------------------------------------------------------------------------------------------------------------
// arithmetic
// ---------------------------------------------------------------------------------------------------------------------

/** Adds an amount to `reserved`. */
export const hold = (budget: Budget, amount: bigint): Budget => ({ ...budget, reserved: budget.reserved + amount })

/** The budgets of a reservation, with its amount subtracted from `reserved`. */
export const withoutHold = (store: Store, reservation: Reservation): ReadonlyArray<Budget> =>
  budgetsHolding(store, reservation).map((budget) => ({ ...budget, reserved: budget.reserved - reservation.amount }))

/** Adds an amount to `spent`. */
export const spend = (budget: Budget, amount: bigint): Budget => inInt64({ ...budget, spent: budget.spent + amount })

/**
 * Charges more than was reserved. `base` is the reserved amount, already subtracted from `reserved` of the given budgets.
 *
 * A budget without overdraft cuts the charge for all budgets to its remaining amount, but not below `base`. A budget with
 * overdraft records the part of the charge that it can't cover as debt.
 */
export const overage = (
  budgets: ReadonlyArray<Budget>,
  base: bigint,
  actual: bigint,
  policy: OveragePolicy
): { readonly after: ReadonlyArray<Budget>; readonly charged: bigint } => {
  const isOverdraftAllowed = (budget: Budget): boolean =>
    policy === "ALLOW_WITH_OVERDRAFT" && budget.overdraftLimit > 0n
  const affordable = budgets.reduce(
    (least, budget) => (!isOverdraftAllowed(budget) && remaining(budget) < least ? remaining(budget) : least),
    actual
  )
  const charged = affordable > base ? affordable : base
  return {
    after: budgets.map((budget) => {
      const left = remaining(budget)
      if (!isOverdraftAllowed(budget)) {
        return { ...spend(budget, charged), isOverLimit: budget.isOverLimit || (charged < actual && left < actual) }
      }
      if (left >= charged) return spend(budget, charged)
      // The reserved amount is always spent, even if the budget is short by now. Only the excess becomes debt.
      const paid = left > base ? left : base
      const debt = budget.debt + charged - paid
      if (debt > budget.overdraftLimit) {
        throw new ErrorResponse(409, "OVERDRAFT_LIMIT_EXCEEDED", `Overdraft limit exceeded for: ${budget.scope}`)
      }
      return inInt64({ ...budget, spent: budget.spent + paid, debt })
    }),
    charged
  }
}

/** Throws if an amount of the budget no longer fits in an int64. */
const inInt64 = (budget: Budget): Budget => {
  if (budget.spent > Limits.maxInt64 || budget.debt > Limits.maxInt64 || remaining(budget) < Limits.minInt64) {
    throw invalidRequest(`An amount of the budget at ${budget.scope} would exceed 64 bits`)
  }
  return budget
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** Encodes an amount. */
export const money = (unit: string, amount: bigint): { readonly unit: string; readonly amount: number | bigint } => ({
  unit,
  amount: Json.encodeInteger(amount)
})

/** Encodes a budget as a balance. */
export const balanceRow = (budget: Budget): object => {
  const { scope, unit } = budget
  return {
    scope: scope.slice(scope.lastIndexOf("/") + 1),
    scope_path: scope,
    remaining: money(unit, remaining(budget)),
    reserved: money(unit, budget.reserved),
    spent: money(unit, budget.spent),
    allocated: money(unit, budget.allocated),
    debt: budget.debt > 0n ? money(unit, budget.debt) : undefined,
    overdraft_limit: budget.overdraftLimit > 0n ? money(unit, budget.overdraftLimit) : undefined,
    is_over_limit: budget.isOverLimit ? true : undefined
  }
}
