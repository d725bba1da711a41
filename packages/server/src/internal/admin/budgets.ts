/**
 * Budgets: making, funding, freezing and finding them.
 *
 * Source: the governance specification, as far as the reference's own newcomers use it.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Limits from "@effect-cycles/protocol/Limits"
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import type { Answer, Outcome } from "../answer.ts"
import { json, once } from "../answer.ts"
import { canonical } from "../canonical.ts"
import type { Context } from "../ledger.ts"
import { money } from "../ledger.ts"
import type { Budget } from "../model.ts"
import { remaining } from "../model.ts"
import * as Read from "../read.ts"
import { invalid, Refusal } from "../refusal.ts"
import * as Scopes from "../scopes.ts"
import { budgetId, dayMs } from "../store.ts"
import { instant, iso, metadata, page, text, unit } from "./parts.ts"
import { openTenant } from "./tenants.ts"

const readBudget = Read.request(
  Schema.Struct({
    tenant_id: Schema.optionalKey(Schema.String),
    scope: text(1, 1_024),
    unit,
    allocated: Amount.Amount,
    overdraft_limit: Schema.optionalKey(Amount.Amount),
    commit_overage_policy: Schema.optionalKey(OveragePolicy),
    rollover_policy: Schema.optionalKey(Schema.String),
    period_start: instant,
    period_end: instant,
    metadata
  })
)

/** `POST /v1/admin/budgets` */
export const createBudget = (context: Context, owner: string | undefined, body: object): Answer => {
  const request = readBudget(body)
  if (owner !== undefined && request.tenant_id !== undefined) {
    throw invalid("tenant_id MUST NOT be set when using API key authentication (tenant is inferred from the key)")
  }
  const tenantId = owner ?? request.tenant_id
  if (tenantId === undefined) {
    throw invalid("tenant_id is required in the request body when using admin key authentication")
  }
  const scope = Scopes.parse("scope", request.scope, { wildcards: false }).toLowerCase()
  Scopes.belongs(scope, tenantId)
  sameUnit(request.unit, request.allocated)
  if (request.overdraft_limit !== undefined) sameUnit(request.unit, request.overdraft_limit)
  openTenant(context, tenantId)
  if (context.store.budgets.get(budgetId(scope, request.unit)) !== undefined) {
    throw new Refusal(409, "DUPLICATE_RESOURCE", `Budget exists: ${scope}`)
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
    periodStart: request.period_start,
    periodEnd: request.period_end,
    caps: undefined,
    createdAtMs: context.nowMs,
    updatedAtMs: undefined
  }
  context.store.budgets.put(budget)
  return json(201, budgetRow(budget))
}

/** `GET /v1/admin/budgets/lookup` */
export const lookUpBudget = (context: Context, query: URLSearchParams): Answer =>
  json(200, budgetRow(budgetOf(context, query)))

/** `GET /v1/admin/budgets` */
export const listBudgets = (context: Context, owner: string | undefined, query: URLSearchParams): Answer => {
  const tenantId = owner ?? query.get("tenant_id")
  const asked = query.get("unit")
  if (asked !== null) unitOf(asked)
  const status = query.get("status")
  const prefix = query.get("scope_prefix")?.toLowerCase() ?? ""
  const rows = Array.from(
    tenantId === null ? context.store.budgets.all() : context.store.budgets.ofOwner(tenantId)
  ).filter(
    (budget) =>
      (asked === null || budget.unit === asked) &&
      (status === null || budget.status === status) &&
      budget.scope.startsWith(prefix)
  )
  const sorted =
    query.get("sort_by") === null
      ? rows
      : rows.toSorted(
          (a, b) => (a.scope < b.scope ? -1 : a.scope > b.scope ? 1 : 0) * (query.get("sort_dir") === "desc" ? -1 : 1)
        )
  return page(query, sorted.map(budgetRow), "ledgers")
}

const readFunding = Read.request(
  Schema.Struct({
    operation: Schema.Literals(["CREDIT", "DEBIT", "RESET", "REPAY_DEBT", "RESET_SPENT"]),
    amount: Amount.Amount,
    spent: Schema.optionalKey(Amount.Amount),
    idempotency_key: Schema.optionalKey(text(1, 256)),
    reason: Schema.optionalKey(Schema.String),
    metadata
  })
)

/** `POST /v1/admin/budgets/fund` */
export const fund = (context: Context, owner: string | undefined, query: URLSearchParams, body: object): Answer => {
  const tenantId = owner ?? query.get("tenant_id")
  required(query, "scope")
  unitOf(required(query, "unit"))
  const request = readFunding(body)
  if (tenantId === null) throw invalid("tenant_id query parameter is required when using admin key authentication")
  if (request.spent !== undefined && request.operation !== "RESET_SPENT") {
    throw invalid("`spent` field is only honoured for RESET_SPENT operations")
  }
  const budget = budgetOf(context, query)
  if (budget.tenantId !== tenantId)
    throw new Refusal(403, "FORBIDDEN", "Budget does not belong to authenticated tenant")
  sameUnit(budget.unit, request.amount)
  openTenant(context, budget.tenantId)
  const run = () => applied(context, budget, request)
  return request.idempotency_key === undefined
    ? json(200, run().answer)
    : once(
        context,
        {
          id: `fund ${tenantId} ${request.idempotency_key}`,
          body: canonical(body),
          mismatch: "Idempotency key reused with different payload"
        },
        run
      )
}

const applied = (context: Context, budget: Budget, request: ReturnType<typeof readFunding>): Outcome => {
  if (budget.status === "FROZEN") throw new Refusal(409, "BUDGET_FROZEN", `Budget is frozen: ${budget.scope}`)
  if (budget.status === "CLOSED") throw new Refusal(409, "BUDGET_CLOSED", `Budget is closed: ${budget.scope}`)
  const funded = funding(budget, request.operation, request.amount.amount, request.spent?.amount)
  const after = { ...funded, isOverLimit: funded.debt > funded.overdraftLimit, updatedAtMs: context.nowMs }
  context.store.budgets.put(after)
  return {
    answer: {
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
    keepMs: dayMs
  }
}

const funding = (budget: Budget, operation: string, amount: bigint, spent: bigint | undefined): Budget => {
  switch (operation) {
    case "CREDIT":
      return { ...budget, allocated: within(budget.allocated + amount) }
    case "DEBIT":
      if (remaining(budget) < amount) throw new Refusal(409, "BUDGET_EXCEEDED", `Insufficient funds: ${budget.scope}`)
      return { ...budget, allocated: budget.allocated - amount }
    case "REPAY_DEBT": {
      const repaid = amount < budget.debt ? amount : budget.debt
      return { ...budget, debt: budget.debt - repaid, allocated: within(budget.allocated + amount - repaid) }
    }
    case "RESET_SPENT":
      return { ...budget, allocated: amount, spent: spent ?? 0n }
    default:
      return { ...budget, allocated: amount }
  }
}

const within = (amount: bigint): bigint => {
  if (amount > Limits.maxInt64) throw invalid(`The budget can't hold more than ${Limits.maxInt64}`)
  return amount
}

const readBudgetPatch = Read.request(
  Schema.Struct({
    overdraft_limit: Schema.optionalKey(Amount.Amount),
    commit_overage_policy: Schema.optionalKey(OveragePolicy),
    metadata
  })
)

/** `PATCH /v1/admin/budgets` */
export const patchBudget = (context: Context, query: URLSearchParams, body: object): Answer => {
  const request = readBudgetPatch(body)
  const budget = budgetOf(context, query)
  if (request.overdraft_limit !== undefined) sameUnit(budget.unit, request.overdraft_limit)
  const overdraftLimit = request.overdraft_limit?.amount ?? budget.overdraftLimit
  const after: Budget = {
    ...budget,
    overdraftLimit,
    isOverLimit: request.overdraft_limit === undefined ? budget.isOverLimit : budget.debt > overdraftLimit,
    overagePolicy: request.commit_overage_policy ?? budget.overagePolicy,
    updatedAtMs: context.nowMs
  }
  context.store.budgets.put(after)
  return json(200, budgetRow(after))
}

/** `POST /v1/admin/budgets/freeze` and `/unfreeze` */
export const setFrozen = (context: Context, query: URLSearchParams, isFrozen: boolean): Answer => {
  const budget = budgetOf(context, query)
  if (budget.status === "CLOSED") throw new Refusal(409, "BUDGET_CLOSED", `Budget is closed: ${budget.scope}`)
  const isNow = budget.status === "FROZEN"
  if (isNow === isFrozen) {
    throw new Refusal(409, "INVALID_REQUEST", isFrozen ? "Budget is already frozen" : "Budget is not frozen")
  }
  const after: Budget = { ...budget, status: isFrozen ? "FROZEN" : "ACTIVE", updatedAtMs: context.nowMs }
  context.store.budgets.put(after)
  return json(200, budgetRow(after))
}

const required = (query: URLSearchParams, name: string): string => {
  const value = query.get(name)
  if (value === null) throw invalid(`Missing required parameter: ${name}`)
  return value
}

const unitOf = (text: string): string => {
  if (!Amount.isKnownUnit(text)) throw invalid(`Invalid value for parameter 'unit': ${text.slice(0, 40)}`)
  return text
}

const budgetOf = (context: Context, query: URLSearchParams): Budget => {
  const scope = required(query, "scope").toLowerCase()
  const budget = context.store.budgets.get(budgetId(scope, unitOf(required(query, "unit"))))
  if (budget === undefined) throw new Refusal(404, "BUDGET_NOT_FOUND", `Budget not found for provided scope: ${scope}`)
  return budget
}

const sameUnit = (expected: string, amount: Amount.Amount): void => {
  if (amount.unit !== expected) {
    throw new Refusal(400, "UNIT_MISMATCH", `Unit mismatch: expected ${expected} but got ${amount.unit}`)
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
  updated_at: budget.updatedAtMs === undefined ? undefined : iso(budget.updatedAtMs)
})
