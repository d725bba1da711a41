/**
 * The arithmetic of the books: which budgets a path has, what they have against a request, and what holds, spending and debt
 * make of their figures. It writes nothing: what comes out are budgets as they would be, and the commands put them.
 *
 * Source: ERROR SEMANTICS, OVERDRAFT RECONCILIATION and the LEDGER INVARIANT of the protocol.
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

/** What stands against a request. A dry run tells it instead of being denial. */
export interface Denial {
  readonly code: string
  readonly message: string
  readonly status: number
  readonly details?: Record<string, unknown>
}

// ---------------------------------------------------------------------------------------------------------------------
// finding budgets
// ---------------------------------------------------------------------------------------------------------------------

/** The budgets of a path in a unit, from the top down. */
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

/** The budgets that hold a reservation. One that was made later isn't among them. */
export const budgetsHolding = (store: Store, reservation: Reservation): ReadonlyArray<Budget> => {
  const budgets: Array<Budget> = []
  for (const scope of reservation.heldScopes) {
    const budget = store.budgets.get(budgetId(scope, reservation.unit))
    if (budget !== undefined) budgets.push(budget)
  }
  return budgets
}

// ---------------------------------------------------------------------------------------------------------------------
// refusals
// ---------------------------------------------------------------------------------------------------------------------

/** What the budgets of a path have against an estimate that would be held. */
export const checkEstimate = (budgets: ReadonlyArray<Budget>, amount: bigint): Denial | undefined =>
  firstDenial(
    budgets,
    (budget) => checkStatus(budget) ?? checkOverLimit(budget) ?? checkDebt(budget) ?? checkRemaining(budget, amount)
  )

/** What they have against spending without a hold. */
export const checkEvent = (budgets: ReadonlyArray<Budget>, amount: bigint, policy: OveragePolicy): Denial | undefined =>
  firstDenial(
    budgets,
    (budget) => checkStatus(budget) ?? (policy === "REJECT" ? checkRemaining(budget, amount) : undefined)
  )

/** A refusal to be thrown. */
export const toErrorResponse = (denial: Denial): ErrorResponse =>
  new ErrorResponse(denial.status, denial.code, denial.message, { details: denial.details })

/** Why a request is denied, where that is an answer. */
export const reasonCodeOf = (denial: Denial): string => (denial.code === "NOT_FOUND" ? "BUDGET_NOT_FOUND" : denial.code)

/** What the first budget of a path, from the top down, has against a request. */
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

/** A budget that holds an amount more. */
export const hold = (budget: Budget, amount: bigint): Budget => ({ ...budget, reserved: budget.reserved + amount })

/** These budgets without what they hold. */
export const withoutHold = (store: Store, reservation: Reservation): ReadonlyArray<Budget> =>
  budgetsHolding(store, reservation).map((budget) => ({ ...budget, reserved: budget.reserved - reservation.amount }))

/** A budget that has spent an amount more. */
export const spend = (budget: Budget, amount: bigint): Budget => inInt64({ ...budget, spent: budget.spent + amount })

/**
 * Charges more than was held: `base` has been covered by the hold, what goes beyond it has to be found. The budgets come with
 * the hold already given back.
 *
 * A budget that can't go into debt cuts the charge to what it has left, under ALLOW_WITH_OVERDRAFT too; the others go into
 * debt for what of that they can't cover.
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
      // What the hold and the rest of the budget cover is spent; what lies beyond is debt.
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

/** A budget whose figures an answer can hold. */
const inInt64 = (budget: Budget): Budget => {
  if (budget.spent > Limits.maxInt64 || budget.debt > Limits.maxInt64 || remaining(budget) < Limits.minInt64) {
    throw invalidRequest(`The books of ${budget.scope} can't hold this amount`)
  }
  return budget
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** An amount on the wire. */
export const money = (unit: string, amount: bigint): { readonly unit: string; readonly amount: number | bigint } => ({
  unit,
  amount: Json.encodeInteger(amount)
})

/** A balance on the wire. */
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
