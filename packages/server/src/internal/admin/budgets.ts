/**
 * Budgets: creation, funding, freezing, lookup and lists.
 *
 * @see the budgets of the governance specification
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Limits from "@effect-cycles/protocol/Limits"
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import type { JsonResponse, Outcome } from "../response.ts"
import { json, idempotent } from "../response.ts"
import { money } from "../accounting.ts"
import { canonical } from "../canonical.ts"
import type { Context } from "../context.ts"
import type { ApiKey, Budget } from "../model.ts"
import { remaining } from "../model.ts"
import * as Parse from "../parse.ts"
import * as Policies from "../policies.ts"
import { forbidden, invalidRequest, ErrorResponse } from "../errorResponse.ts"
import * as Scopes from "../scopes.ts"
import { budgetId, dayMs } from "../store.ts"
import type { Owner, SortKeys } from "./common.ts"
import {
  instant,
  iso,
  optionalIso,
  metadata,
  notBlank,
  page,
  searchFilter,
  sorted,
  tenantFor,
  queriedTenant,
  stringOfLength,
  unit,
  utc,
  checkScopeFilter,
  optionalLiteral
} from "./common.ts"
import { checkActive, checkNotClosed, checkScopeNotClosed } from "./tenants.ts"

const parseBudget = Parse.request(
  Schema.Struct({
    tenant_id: Schema.optional(Schema.String),
    scope: notBlank(1_024),
    unit,
    allocated: Amount.Sendable,
    overdraft_limit: Schema.optional(Amount.Sendable),
    commit_overage_policy: Schema.optional(OveragePolicy),
    rollover_policy: Schema.optional(Schema.Literals(["NONE", "CARRY_FORWARD", "CAP_AT_ALLOCATED"])),
    period_start: instant,
    period_end: instant,
    metadata
  })
)

/** `POST /v1/admin/budgets` */
export const createBudget = (context: Context, owner: Owner, body: object): JsonResponse => {
  const request = parseBudget(body)
  checkUnit(request.unit, request.allocated)
  if (request.overdraft_limit !== undefined) checkUnit(request.unit, request.overdraft_limit)
  Scopes.parse("scope", request.scope, { wildcards: false })
  checkScopeFilter(owner, request.scope)
  const tenantId = tenantFor(owner, request.tenant_id)
  Scopes.checkTenant(request.scope, tenantId)
  checkActive(context, tenantId)
  const scope = request.scope.toLowerCase()
  if (context.store.budgets.get(budgetId(scope, request.unit)) !== undefined) {
    throw new ErrorResponse(409, "DUPLICATE_RESOURCE", `Budget exists: ${scope}`)
  }
  const budget: Budget = {
    id: context.makeId(),
    tenantId,
    scope,
    unit: request.unit,
    allocated: request.allocated.amount,
    spent: 0n,
    reserved: 0n,
    debt: 0n,
    overdraftLimit: request.overdraft_limit?.amount ?? 0n,
    isOverLimit: false,
    status: "ACTIVE",
    overagePolicy: request.commit_overage_policy,
    rolloverPolicy: request.rollover_policy,
    periodStart: utc(request.period_start),
    periodEnd: utc(request.period_end),
    caps: undefined,
    createdAtMs: context.nowMs,
    updatedAtMs: undefined
  }
  context.store.budgets.put(budget)
  warnOfPeriod(context, budget)
  return json(201, budgetRow(budget))
}

/** Warns of fields that are stored without effect, as in the reference server. */
const warnOfPeriod = (context: Context, budget: Budget): void => {
  const names = [
    budget.periodStart === undefined ? [] : ["period_start"],
    budget.periodEnd === undefined ? [] : ["period_end"],
    budget.rolloverPolicy === undefined || budget.rolloverPolicy === "NONE" ? [] : ["rollover_policy"]
  ].flat()
  if (names.length === 0) return
  context.warn(
    `${names.join(" and ")} of the ${budget.unit} budget ${budget.scope} ${names.length === 1 ? "has" : "have"} no effect: ` +
      "no budget resets by itself. Reset it with POST /v1/admin/budgets/fund and the operation RESET_SPENT"
  )
}

/** `GET /v1/admin/budgets/lookup` */
export const lookUpBudget = (context: Context, owner: Owner, query: URLSearchParams): JsonResponse => {
  checkScopeFilter(owner, query.get("scope"))
  const budget = budgetOf(context, query)
  checkOwner(budget, owner?.tenantId)
  return json(200, budgetRow(budget))
}

/** `GET /v1/admin/budgets` */
export const listBudgets = (context: Context, owner: Owner, query: URLSearchParams): JsonResponse => {
  const prefix = query.get("scope_prefix") ?? ""
  checkScopeFilter(owner, prefix)
  const tenantId = owner?.tenantId ?? Parse.parameter(query, "tenant_id")
  const isFound = filterOf(query)
  const rows = Array.from(
    tenantId === undefined ? context.store.budgets.all() : context.store.budgets.ofOwner(tenantId)
  ).filter((budget) => budget.scope.startsWith(prefix) && isFound(budget))
  const id = (budget: Budget) => budget.id
  return page(query, sorted(query, rows, { keys: sortKeys, defaultKey: "utilization", id }), {
    name: "ledgers",
    id: tenantId === undefined ? (budget) => `${budget.tenantId}|${budget.id}` : id,
    row: budgetRow
  })
}

/** `GET /v1/balances`: the active budgets of a tenant, in the order of creation. */
export const listBalances = (context: Context, key: ApiKey, query: URLSearchParams): JsonResponse => {
  const prefix = query.get("scope_prefix") ?? ""
  checkScopeFilter(key, prefix)
  const unit = optionalLiteral(query, "unit", Amount.knownUnits)
  const limit = Parse.parameter(query, "limit")
  if (limit !== undefined) Parse.integer("limit", limit, 1, 100)
  const rows = Array.from(context.store.budgets.ofOwner(key.tenantId)).filter(
    (budget) =>
      budget.status === "ACTIVE" &&
      budget.scope.startsWith(prefix) &&
      (unit === undefined || budget.unit === unit) &&
      Policies.scopeFilterAllows(key.scopeFilter, Scopes.withAncestors(budget.scope))
  )
  return page(query, rows, { name: "balances", id: (budget) => budget.id, row: budgetRow })
}

const sortKeys: SortKeys<Budget> = {
  tenant_id: (budget) => budget.tenantId,
  scope: (budget) => budget.scope,
  unit: (budget) => budget.unit,
  status: (budget) => budget.status,
  commit_overage_policy: (budget) => budget.overagePolicy,
  utilization: (budget) => utilization(budget),
  debt: (budget) => budget.debt
}

/** The spent fraction of the allocation. */
const utilization = ({ allocated, spent }: Budget): number => (allocated === 0n ? 0 : Number(spent) / Number(allocated))

const filterOf = (query: URLSearchParams): ((budget: Budget) => boolean) => {
  const unit = optionalLiteral(query, "unit", Amount.knownUnits)
  const status = optionalLiteral(query, "status", ["ACTIVE", "FROZEN", "CLOSED"])
  const isOverLimit = Parse.boolean(query, "over_limit")
  const hasDebt = Parse.boolean(query, "has_debt")
  const from = fraction(query, "utilization_min") ?? 0
  const to = fraction(query, "utilization_max") ?? Number.POSITIVE_INFINITY
  if (from > to) throw invalidRequest("utilization_min must be <= utilization_max")
  const isFound = searchFilter(query)
  return (budget) =>
    (unit === undefined || budget.unit === unit) &&
    (status === undefined || budget.status === status) &&
    (isOverLimit === undefined || budget.isOverLimit === isOverLimit) &&
    (hasDebt === undefined || budget.debt > 0n === hasDebt) &&
    utilization(budget) >= from &&
    utilization(budget) <= to &&
    isFound(budget.tenantId, budget.scope)
}

const fraction = (query: URLSearchParams, name: string): number | undefined => {
  const text = Parse.parameter(query, name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value >= 0 && value <= 1)) throw invalidRequest(`${name} must be in [0, 1]`)
  return value
}

const parseFunding = Parse.request(
  Schema.Struct({
    operation: Schema.Literals(["CREDIT", "DEBIT", "RESET", "REPAY_DEBT", "RESET_SPENT"]),
    amount: Amount.Sendable,
    spent: Schema.optional(Amount.Sendable),
    idempotency_key: Schema.optional(stringOfLength(1, 256)),
    reason: Schema.optional(stringOfLength(0, 512)),
    metadata
  })
)

/** `POST /v1/admin/budgets/fund` */
export const fund = (context: Context, owner: Owner, query: URLSearchParams, body: object): JsonResponse => {
  const scope = requiredParameter(query, "scope")
  const unit = unitOf(query)
  const request = parseFunding(body)
  checkScopeFilter(owner, scope)
  checkUnit(unit, request.amount)
  if (request.spent !== undefined) {
    if (request.operation !== "RESET_SPENT") {
      throw invalidRequest("`spent` field is only honoured for RESET_SPENT operations")
    }
    checkUnit(unit, request.spent)
  }
  const tenantId = queriedTenant(owner, query)
  checkNotClosed(context, tenantId)
  const run = (): Outcome => {
    const budget = budgetOf(context, query)
    checkOwner(budget, tenantId)
    return applyFunding(context, budget, request)
  }
  const key = request.idempotency_key
  return key === undefined || key.trim() === ""
    ? json(200, run().payload)
    : idempotent(
        context,
        {
          id: `fund ${tenantId} ${key}`,
          body: canonical(body),
          mismatch: "Idempotency key reused with different payload"
        },
        run
      )
}

const checkOwner = (budget: Budget, tenantId: string | undefined): void => {
  if (tenantId !== undefined && budget.tenantId !== tenantId) {
    throw forbidden("Budget does not belong to authenticated tenant")
  }
}

const applyFunding = (context: Context, budget: Budget, request: ReturnType<typeof parseFunding>): Outcome => {
  if (budget.status === "FROZEN") throw new ErrorResponse(409, "BUDGET_FROZEN", `Budget is frozen: ${budget.scope}`)
  if (budget.status === "CLOSED") throw new ErrorResponse(409, "BUDGET_CLOSED", `Budget is closed: ${budget.scope}`)
  const funded = fundedBudget(budget, request.operation, request.amount.amount, request.spent?.amount)
  const after = { ...funded, isOverLimit: funded.debt > funded.overdraftLimit, updatedAtMs: context.nowMs }
  context.store.budgets.put(after)
  return {
    payload: {
      operation: request.operation,
      previous_allocated: money(budget.unit, budget.allocated),
      new_allocated: money(budget.unit, after.allocated),
      previous_remaining: money(budget.unit, remaining(budget)),
      new_remaining: money(budget.unit, remaining(after)),
      previous_debt: money(budget.unit, budget.debt),
      new_debt: money(budget.unit, after.debt),
      previous_spent: money(budget.unit, budget.spent),
      new_spent: money(budget.unit, after.spent),
      timestamp: iso(context.nowMs)
    },
    retentionMs: dayMs
  }
}

const fundedBudget = (budget: Budget, operation: string, amount: bigint, spent: bigint | undefined): Budget => {
  switch (operation) {
    case "CREDIT":
      return { ...budget, allocated: checkMaxInt64(budget.allocated + amount) }
    case "DEBIT":
      if (remaining(budget) < amount)
        throw new ErrorResponse(409, "BUDGET_EXCEEDED", `Insufficient funds: ${budget.scope}`)
      return { ...budget, allocated: budget.allocated - amount }
    case "REPAY_DEBT": {
      const repaid = amount < budget.debt ? amount : budget.debt
      return { ...budget, debt: budget.debt - repaid, allocated: checkMaxInt64(budget.allocated + amount - repaid) }
    }
    case "RESET_SPENT":
      return { ...budget, allocated: amount, spent: spent ?? 0n }
    default:
      return { ...budget, allocated: amount }
  }
}

const checkMaxInt64 = (amount: bigint): bigint => {
  if (amount > Limits.maxInt64) throw invalidRequest(`The allocation must not exceed ${Limits.maxInt64}`)
  return amount
}

const parseBudgetPatch = Parse.request(
  Schema.Struct({
    overdraft_limit: Schema.optional(Amount.Sendable),
    commit_overage_policy: Schema.optional(OveragePolicy),
    metadata
  })
)

/** `PATCH /v1/admin/budgets` */
export const patchBudget = (context: Context, query: URLSearchParams, body: object): JsonResponse => {
  const scope = requiredParameter(query, "scope")
  const unit = unitOf(query)
  const request = parseBudgetPatch(body)
  if (request.overdraft_limit !== undefined) checkUnit(unit, request.overdraft_limit)
  checkScopeNotClosed(context, scope)
  const budget = budgetOf(context, query)
  if (budget.status === "CLOSED") throw new ErrorResponse(409, "BUDGET_CLOSED", "Cannot update a CLOSED budget")
  const overdraftLimit = request.overdraft_limit?.amount ?? budget.overdraftLimit
  const after: Budget = {
    ...budget,
    overdraftLimit,
    // Recomputed on any change. This also clears the mark that a cut charge set on a budget without debt.
    isOverLimit: budget.debt > overdraftLimit,
    overagePolicy: request.commit_overage_policy ?? budget.overagePolicy,
    updatedAtMs: context.nowMs
  }
  context.store.budgets.put(after)
  return json(200, budgetRow(after))
}

const parseTransition = Parse.request(Schema.Struct({ reason: Schema.optional(stringOfLength(0, 512)), metadata }))

/** `POST /v1/admin/budgets/freeze` and `/unfreeze` */
export const setFrozen = (context: Context, query: URLSearchParams, body: object, isFrozen: boolean): JsonResponse => {
  const scope = requiredParameter(query, "scope")
  unitOf(query)
  parseTransition(body)
  checkScopeNotClosed(context, scope)
  const budget = budgetOf(context, query)
  if (budget.status === "CLOSED") throw new ErrorResponse(409, "BUDGET_CLOSED", `Budget is closed: ${budget.scope}`)
  const isNow = budget.status === "FROZEN"
  if (isNow === isFrozen) {
    throw new ErrorResponse(409, "INVALID_REQUEST", isFrozen ? "Budget is already frozen" : "Budget is not frozen")
  }
  const after: Budget = { ...budget, status: isFrozen ? "FROZEN" : "ACTIVE", updatedAtMs: context.nowMs }
  context.store.budgets.put(after)
  return json(200, budgetRow(after))
}

const requiredParameter = (query: URLSearchParams, name: string): string => {
  const value = query.get(name)
  if (value === null) throw invalidRequest(`Missing required parameter: ${name}`)
  return value
}

const unitOf = (query: URLSearchParams): Amount.KnownUnit => {
  const text = requiredParameter(query, "unit").trim()
  if (!Amount.isKnownUnit(text)) throw invalidRequest(`Invalid value for parameter 'unit': ${Parse.shown(text)}`)
  return text
}

const budgetOf = (context: Context, query: URLSearchParams): Budget => {
  const scope = requiredParameter(query, "scope").toLowerCase()
  const budget = context.store.budgets.get(budgetId(scope, unitOf(query)))
  if (budget === undefined)
    throw new ErrorResponse(404, "BUDGET_NOT_FOUND", `Budget not found for provided scope: ${scope}`)
  return budget
}

const checkUnit = (expected: string, amount: Amount.Amount): void => {
  if (amount.unit !== expected) {
    throw new ErrorResponse(400, "UNIT_MISMATCH", `Unit mismatch: expected ${expected} but got ${amount.unit}`)
  }
}

const budgetRow = (budget: Budget): object => ({
  ledger_id: budget.id,
  tenant_id: budget.tenantId,
  scope: budget.scope,
  unit: budget.unit,
  allocated: money(budget.unit, budget.allocated),
  remaining: money(budget.unit, remaining(budget)),
  status: budget.status,
  created_at: iso(budget.createdAtMs),
  reserved: money(budget.unit, budget.reserved),
  spent: money(budget.unit, budget.spent),
  debt: money(budget.unit, budget.debt),
  overdraft_limit: money(budget.unit, budget.overdraftLimit),
  is_over_limit: budget.isOverLimit,
  commit_overage_policy: budget.overagePolicy,
  rollover_policy: budget.rolloverPolicy,
  period_start: budget.periodStart,
  period_end: budget.periodEnd,
  updated_at: optionalIso(budget.updatedAtMs)
})
