/**
 * The administrator's side: tenants, keys, budgets and policies.
 *
 * Source: the governance specification, as far as the reference's own newcomers use it.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import { canonical } from "./canonical.ts"
import type { Answer, Context } from "./ledger.ts"
import { money } from "./ledger.ts"
import type { ApiKey, Budget, Policy, Tenant } from "./model.ts"
import { remaining } from "./model.ts"
import * as Read from "./read.ts"
import { invalid, Refusal } from "./refusal.ts"
import * as Scopes from "./scopes.ts"
import type { Secrets } from "./secrets.ts"
import { budgetId } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// parts
// ---------------------------------------------------------------------------------------------------------------------

const text = (minimum: number, maximum: number) => Schema.String.check(Schema.isBetweenLength(minimum, maximum))

const count = (minimum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum: Number.MAX_SAFE_INTEGER }))

const ttl = Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 86_400_000 }))

const metadata = Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown))

const unit = Schema.Literals(Amount.knownUnits)

const answer = (status: number, body: object): Answer => ({ status, body: Json.stringify(body) })

const iso = (ms: number): string => new Date(ms).toISOString()

// ---------------------------------------------------------------------------------------------------------------------
// tenants
// ---------------------------------------------------------------------------------------------------------------------

const tenantFields = {
  default_commit_overage_policy: Schema.optionalKey(OveragePolicy),
  default_reservation_ttl_ms: Schema.optionalKey(ttl),
  max_reservation_ttl_ms: Schema.optionalKey(ttl),
  max_reservation_extensions: Schema.optionalKey(count(0)),
  reservation_expiry_policy: Schema.optionalKey(Schema.String),
  metadata
}

const readTenant = Read.request(
  Schema.Struct({
    tenant_id: text(3, 64).check(Schema.isPattern(/^[a-z0-9-]+$/)),
    name: text(1, 256),
    parent_tenant_id: Schema.optionalKey(Schema.String),
    ...tenantFields
  })
)

const readTenantPatch = Read.request(
  Schema.Struct({
    name: Schema.optionalKey(text(1, 256)),
    status: Schema.optionalKey(Schema.Literals(["ACTIVE", "SUSPENDED", "CLOSED"])),
    ...tenantFields
  })
)

/** `POST /v1/admin/tenants` */
export const createTenant = (context: Context, body: object): Answer => {
  const request = readTenant(body)
  const known = context.store.tenants.get(request.tenant_id)
  if (known !== undefined) {
    if (known.name === request.name) return answer(200, tenantRow(known))
    throw new Refusal(409, "DUPLICATE_RESOURCE", `Tenant exists: ${known.id}`)
  }
  const tenant: Tenant = {
    id: request.tenant_id,
    name: request.name,
    parentId: request.parent_tenant_id,
    status: "ACTIVE",
    createdAtMs: context.nowMs,
    updatedAtMs: undefined,
    overagePolicy: request.default_commit_overage_policy ?? "ALLOW_IF_AVAILABLE",
    defaultTtlMs: request.default_reservation_ttl_ms ?? 60_000,
    maxTtlMs: request.max_reservation_ttl_ms ?? 3_600_000,
    maxExtensions: request.max_reservation_extensions ?? 10,
    expiryPolicy: request.reservation_expiry_policy,
    metadata: request.metadata,
    suspendedAtMs: undefined,
    closedAtMs: undefined
  }
  context.store.tenants.put(tenant)
  return answer(201, tenantRow(tenant))
}

/** `GET /v1/admin/tenants/{id}` */
export const getTenant = (context: Context, id: string): Answer => answer(200, tenantRow(tenantOf(context, id)))

/** `GET /v1/admin/tenants` */
export const listTenants = (context: Context, query: URLSearchParams): Answer => {
  const search = query.get("search")?.toLowerCase() ?? ""
  const status = query.get("status")
  const rows = Array.from(context.store.tenants.all()).filter(
    (tenant) =>
      (tenant.id.includes(search) || tenant.name.toLowerCase().includes(search)) &&
      (status === null || tenant.status === status)
  )
  return page(query, rows.map(tenantRow), "tenants")
}

/** `PATCH /v1/admin/tenants/{id}` */
export const patchTenant = (context: Context, id: string, body: object): Answer => {
  const request = readTenantPatch(body)
  const tenant = tenantOf(context, id)
  const status = request.status ?? tenant.status
  if (tenant.status === "CLOSED" && status !== "CLOSED") {
    throw invalid("Cannot transition from CLOSED")
  }
  const changed: Tenant = {
    ...tenant,
    name: request.name ?? tenant.name,
    status,
    overagePolicy: request.default_commit_overage_policy ?? tenant.overagePolicy,
    defaultTtlMs: request.default_reservation_ttl_ms ?? tenant.defaultTtlMs,
    maxTtlMs: request.max_reservation_ttl_ms ?? tenant.maxTtlMs,
    maxExtensions: request.max_reservation_extensions ?? tenant.maxExtensions,
    expiryPolicy: request.reservation_expiry_policy ?? tenant.expiryPolicy,
    metadata: request.metadata ?? tenant.metadata,
    updatedAtMs: context.nowMs,
    suspendedAtMs: status === "SUSPENDED" && tenant.status !== "SUSPENDED" ? context.nowMs : tenant.suspendedAtMs,
    closedAtMs: status === "CLOSED" ? (tenant.closedAtMs ?? context.nowMs) : undefined
  }
  context.store.tenants.put(changed)
  if (status === "CLOSED" && tenant.status !== "CLOSED") close(context, id)
  return answer(200, tenantRow(changed))
}

/** Closing is for ever: the keys end, the budgets close and hold nothing; reservations stay as they are, to be looked at. */
const close = (context: Context, id: string): void => {
  for (const key of Array.from(context.store.keys.ofOwner(id))) {
    if (key.revokedAt === undefined) context.store.keys.put({ ...key, revokedAt: iso(context.nowMs) })
  }
  for (const budget of Array.from(context.store.budgets.ofOwner(id))) {
    context.store.budgets.put({ ...budget, status: "CLOSED", reserved: 0n, updatedAtMs: context.nowMs })
  }
  for (const reservation of Array.from(context.store.reservations.ofOwner(id))) {
    if (reservation.status === "ACTIVE") context.store.reservations.put({ ...reservation, heldScopes: [] })
  }
}

/** A tenant that is there. */
export const tenantOf = (context: Pick<Context, "store">, id: string): Tenant => {
  const tenant = context.store.tenants.get(id)
  if (tenant === undefined) throw new Refusal(404, "TENANT_NOT_FOUND", `Tenant not found: ${id}`)
  return tenant
}

const openTenant = (context: Context, id: string): Tenant => {
  const tenant = tenantOf(context, id)
  if (tenant.status === "CLOSED") {
    throw new Refusal(409, "TENANT_CLOSED", `Tenant ${id} is closed; owned objects are read-only`)
  }
  return tenant
}

const tenantRow = (tenant: Tenant): object => ({
  tenant_id: tenant.id,
  name: tenant.name,
  status: tenant.status,
  created_at: iso(tenant.createdAtMs),
  parent_tenant_id: tenant.parentId,
  default_commit_overage_policy: tenant.overagePolicy,
  default_reservation_ttl_ms: tenant.defaultTtlMs,
  max_reservation_ttl_ms: tenant.maxTtlMs,
  max_reservation_extensions: tenant.maxExtensions,
  reservation_expiry_policy: tenant.expiryPolicy,
  metadata: tenant.metadata,
  updated_at: tenant.updatedAtMs === undefined ? undefined : iso(tenant.updatedAtMs),
  suspended_at: tenant.suspendedAtMs === undefined ? undefined : iso(tenant.suspendedAtMs),
  closed_at: tenant.closedAtMs === undefined ? undefined : iso(tenant.closedAtMs)
})

// ---------------------------------------------------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------------------------------------------------

const defaultPermissions: ReadonlyArray<string> = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
  "reservations:list",
  "balances:read"
]

const permissions: ReadonlySet<string> = new Set([
  ...defaultPermissions,
  ...["budgets", "policies", "webhooks"].flatMap((what) => [`${what}:read`, `${what}:write`]),
  "events:read",
  "admin:read",
  "admin:write",
  ...["tenants", "budgets", "policies", "apikeys", "webhooks", "events", "overage", "audit"].flatMap((what) => [
    `admin:${what}:read`,
    `admin:${what}:write`
  ])
])

const readKey = Read.request(
  Schema.Struct({
    tenant_id: text(1, 128),
    name: text(1, 256),
    description: Schema.optionalKey(Schema.String),
    permissions: Schema.optionalKey(Schema.Array(Schema.String)),
    scope_filter: Schema.optionalKey(Schema.Array(Schema.String)),
    expires_at: Schema.optionalKey(Schema.String),
    metadata
  })
)

/** `POST /v1/admin/api-keys` */
export const createKey = (context: Context, secrets: Secrets, body: object): Answer => {
  const request = readKey(body)
  recognized(request.permissions)
  const expiresAt = request.expires_at ?? iso(context.nowMs + keyLifeMs)
  const expiresAtMs = Read.instant("expires_at", expiresAt)
  if (openTenant(context, request.tenant_id).status === "SUSPENDED") {
    throw invalid(`Tenant is SUSPENDED: ${request.tenant_id}`)
  }
  const secret = secrets.make()
  const asked = request.permissions ?? []
  const key: ApiKey = {
    id: `key_${context.makeId().slice(0, 16)}`,
    hash: secrets.hash(secret),
    prefix: secret.slice(0, 14),
    tenantId: request.tenant_id,
    name: request.name,
    description: request.description,
    permissions: asked.length === 0 ? defaultPermissions : asked,
    scopeFilter: request.scope_filter,
    metadata: request.metadata,
    createdAt: iso(context.nowMs),
    expiresAt,
    expiresAtMs,
    revokedAt: undefined,
    revokedReason: undefined
  }
  context.store.keys.put(key)
  return answer(201, {
    key_id: key.id,
    key_secret: secret,
    key_prefix: key.prefix,
    tenant_id: key.tenantId,
    permissions: key.permissions,
    created_at: key.createdAt,
    expires_at: key.expiresAt
  })
}

const keyLifeMs = 90 * 86_400_000

/** `GET /v1/admin/api-keys` */
export const listKeys = (context: Context, query: URLSearchParams): Answer => {
  const tenantId = query.get("tenant_id")
  const rows = Array.from(tenantId === null ? context.store.keys.all() : context.store.keys.ofOwner(tenantId))
  return page(
    query,
    rows.map((key) => keyRow(key, context.nowMs)),
    "keys"
  )
}

/** `DELETE /v1/admin/api-keys/{id}` */
export const revokeKey = (context: Context, id: string, query: URLSearchParams): Answer => {
  const key = keyOf(context, id)
  if (key.revokedAt !== undefined) throw new Refusal(409, "KEY_REVOKED", `API key already revoked: ${id}`)
  const revoked = { ...key, revokedAt: iso(context.nowMs), revokedReason: query.get("reason") ?? undefined }
  context.store.keys.put(revoked)
  return answer(200, keyRow(revoked, context.nowMs))
}

const readKeyPatch = Read.request(
  Schema.Struct({
    name: Schema.optionalKey(text(1, 256)),
    description: Schema.optionalKey(Schema.String),
    permissions: Schema.optionalKey(Schema.Array(Schema.String)),
    scope_filter: Schema.optionalKey(Schema.Array(Schema.String)),
    metadata
  })
)

/** `PATCH /v1/admin/api-keys/{id}` */
export const patchKey = (context: Context, id: string, body: object): Answer => {
  const request = readKeyPatch(body)
  const key = keyOf(context, id)
  if (key.revokedAt !== undefined) throw new Refusal(409, "KEY_REVOKED", `API key already revoked: ${id}`)
  recognized(request.permissions)
  const changed: ApiKey = {
    ...key,
    name: request.name ?? key.name,
    description: request.description ?? key.description,
    permissions: request.permissions ?? key.permissions,
    scopeFilter: request.scope_filter ?? key.scopeFilter,
    metadata: request.metadata ?? key.metadata
  }
  context.store.keys.put(changed)
  return answer(200, keyRow(changed, context.nowMs))
}

const keyOf = (context: Context, id: string): ApiKey => {
  for (const key of context.store.keys.all()) {
    if (key.id === id) return key
  }
  throw new Refusal(404, "NOT_FOUND", `API key not found: ${id}`)
}

const recognized = (asked: ReadonlyArray<string> | undefined): void => {
  for (const permission of asked ?? []) {
    if (!permissions.has(permission)) throw invalid(`Unrecognized permission: ${permission}`)
  }
}

const readValidate = Read.request(Schema.Struct({ key_secret: text(1, 512) }))

/** `POST /v1/auth/validate` */
export const validateKey = (context: Context, secrets: Secrets, body: object): Answer => {
  const found = checkKey(context, secrets, readValidate(body).key_secret)
  return answer(
    200,
    typeof found === "object" && "key" in found
      ? {
          valid: true,
          tenant_id: found.key.tenantId,
          key_id: found.key.id,
          permissions: found.key.permissions,
          scope_filter: found.key.scopeFilter,
          expires_at: found.key.expiresAt
        }
      : { valid: false, tenant_id: found.tenantId, reason: found.reason }
  )
}

/** Whether a secret is a key that may be used, and why not. */
export const checkKey = (
  context: Pick<Context, "store" | "nowMs">,
  secrets: Secrets,
  secret: string
): { readonly key: ApiKey; readonly tenant: Tenant } | { readonly reason: string; readonly tenantId: string } => {
  const key = context.store.keys.get(secrets.hash(secret))
  if (key === undefined) return { reason: "KEY_NOT_FOUND", tenantId: "" }
  if (key.revokedAt !== undefined) return { reason: "KEY_REVOKED", tenantId: key.tenantId }
  if (key.expiresAtMs <= context.nowMs) return { reason: "KEY_EXPIRED", tenantId: key.tenantId }
  const tenant = context.store.tenants.get(key.tenantId)
  if (tenant === undefined || tenant.status === "CLOSED") return { reason: "TENANT_CLOSED", tenantId: key.tenantId }
  return tenant.status === "SUSPENDED" ? { reason: "TENANT_SUSPENDED", tenantId: key.tenantId } : { key, tenant }
}

const keyRow = (key: ApiKey, nowMs: number): object => ({
  key_id: key.id,
  tenant_id: key.tenantId,
  key_prefix: key.prefix,
  status: key.revokedAt !== undefined ? "REVOKED" : key.expiresAtMs <= nowMs ? "EXPIRED" : "ACTIVE",
  created_at: key.createdAt,
  expires_at: key.expiresAt,
  name: key.name,
  description: key.description,
  permissions: key.permissions,
  scope_filter: key.scopeFilter,
  metadata: key.metadata,
  revoked_at: key.revokedAt,
  revoked_reason: key.revokedReason
})

// ---------------------------------------------------------------------------------------------------------------------
// budgets
// ---------------------------------------------------------------------------------------------------------------------

const readBudget = Read.request(
  Schema.Struct({
    tenant_id: Schema.optionalKey(Schema.String),
    scope: text(1, 1_024),
    unit,
    allocated: Amount.Amount,
    overdraft_limit: Schema.optionalKey(Amount.Amount),
    commit_overage_policy: Schema.optionalKey(OveragePolicy),
    rollover_policy: Schema.optionalKey(Schema.String),
    period_start: Schema.optionalKey(Schema.String),
    period_end: Schema.optionalKey(Schema.String),
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
  return answer(201, budgetRow(budget))
}

/** `GET /v1/admin/budgets/lookup` */
export const lookUpBudget = (context: Context, query: URLSearchParams): Answer =>
  answer(200, budgetRow(budgetOf(context, query)))

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
  const id = `fund ${tenantId} ${request.idempotency_key ?? ""}`
  const form = canonical(body)
  if (request.idempotency_key !== undefined) {
    const stored = context.store.answers.get(id)
    if (stored !== undefined) {
      if (stored.request === form) return { status: stored.status, body: stored.body }
      throw new Refusal(409, "IDEMPOTENCY_MISMATCH", "Idempotency key reused with different payload")
    }
  }
  if (budget.status === "FROZEN") throw new Refusal(409, "BUDGET_FROZEN", `Budget is frozen: ${budget.scope}`)
  if (budget.status === "CLOSED") throw new Refusal(409, "BUDGET_CLOSED", `Budget is closed: ${budget.scope}`)
  const funded = funding(budget, request.operation, request.amount.amount, request.spent?.amount)
  const after = { ...funded, isOverLimit: funded.debt > funded.overdraftLimit, updatedAtMs: context.nowMs }
  context.store.budgets.put(after)
  const result = answer(200, {
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
  })
  if (request.idempotency_key !== undefined) {
    context.store.answers.put({
      id,
      request: form,
      status: result.status,
      body: result.body,
      reservationId: undefined,
      expiresAtMs: undefined,
      forgetAtMs: context.nowMs + 86_400_000
    })
  }
  return result
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
  if (amount > 9_223_372_036_854_775_807n) throw invalid("The budget can't hold more than 9223372036854775807")
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
  return answer(200, budgetRow(after))
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
  return answer(200, budgetRow(after))
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

// ---------------------------------------------------------------------------------------------------------------------
// policies
// ---------------------------------------------------------------------------------------------------------------------

const policyFields = {
  description: Schema.optionalKey(text(0, 1_024)),
  priority: Schema.optionalKey(count(0)),
  caps: Schema.optionalKey(
    Schema.Struct({
      max_tokens: Schema.optionalKey(count(0)),
      max_steps_remaining: Schema.optionalKey(count(0)),
      tool_allowlist: Schema.optionalKey(Schema.Array(text(0, 256))),
      tool_denylist: Schema.optionalKey(Schema.Array(text(0, 256))),
      cooldown_ms: Schema.optionalKey(count(0))
    })
  ),
  commit_overage_policy: Schema.optionalKey(OveragePolicy),
  reservation_ttl_override: Schema.optionalKey(
    Schema.Struct({
      default_ttl_ms: Schema.optionalKey(ttl),
      max_ttl_ms: Schema.optionalKey(ttl),
      max_extensions: Schema.optionalKey(count(0))
    })
  ),
  rate_limits: Schema.optionalKey(
    Schema.Struct({
      max_reservations_per_minute: Schema.optionalKey(count(1)),
      max_commits_per_minute: Schema.optionalKey(count(1))
    })
  ),
  effective_from: Schema.optionalKey(Schema.String),
  effective_until: Schema.optionalKey(Schema.String)
}

const readPolicy = Read.request(
  Schema.Struct({
    tenant_id: Schema.optionalKey(Schema.String),
    name: text(1, 256),
    scope_pattern: text(1, 1_024),
    ...policyFields
  })
)

const readPolicyPatch = Read.request(
  Schema.Struct({
    name: Schema.optionalKey(text(1, 256)),
    status: Schema.optionalKey(Schema.Literals(["ACTIVE", "DISABLED"])),
    ...policyFields
  })
)

/** `POST /v1/admin/policies` */
export const createPolicy = (context: Context, owner: string | undefined, body: object): Answer => {
  const request = readPolicy(body)
  const tenantId = owner ?? request.tenant_id
  if (tenantId === undefined) {
    throw invalid("tenant_id is required in the request body when using admin key authentication")
  }
  const pattern = Scopes.parse("scope_pattern", request.scope_pattern, { wildcards: true })
  Scopes.belongs(pattern, tenantId)
  openTenant(context, tenantId)
  const policy: Policy = {
    id: `pol_${context.makeId().slice(0, 16)}`,
    tenantId,
    name: request.name,
    scopePattern: pattern,
    status: "ACTIVE",
    createdAtMs: context.nowMs,
    updatedAtMs: undefined,
    ...policyOf(request, emptyPolicy)
  }
  context.store.policies.put(policy)
  return answer(201, policyRow(policy))
}

/** `PATCH /v1/admin/policies/{id}` */
export const patchPolicy = (context: Context, id: string, body: object): Answer => {
  const request = readPolicyPatch(body)
  const policy = context.store.policies.get(id)
  if (policy === undefined) throw new Refusal(404, "NOT_FOUND", `Policy not found: ${id}`)
  const after: Policy = {
    ...policy,
    name: request.name ?? policy.name,
    status: request.status ?? policy.status,
    updatedAtMs: context.nowMs,
    ...policyOf(request, policy)
  }
  context.store.policies.put(after)
  return answer(200, policyRow(after))
}

/** `GET /v1/admin/policies` */
export const listPolicies = (context: Context, owner: string | undefined, query: URLSearchParams): Answer => {
  const tenantId = owner ?? query.get("tenant_id")
  const rows = Array.from(tenantId === null ? context.store.policies.all() : context.store.policies.ofOwner(tenantId))
  return page(query, rows.map(policyRow), "policies")
}

type PolicyParts = Pick<
  Policy,
  | "description"
  | "priority"
  | "caps"
  | "overagePolicy"
  | "ttlOverride"
  | "rateLimits"
  | "effectiveFrom"
  | "effectiveUntil"
>

const emptyPolicy: PolicyParts = {
  description: undefined,
  priority: 0,
  caps: undefined,
  overagePolicy: undefined,
  ttlOverride: undefined,
  rateLimits: undefined,
  effectiveFrom: undefined,
  effectiveUntil: undefined
}

const policyOf = (
  request: Omit<ReturnType<typeof readPolicy>, "name" | "scope_pattern" | "tenant_id">,
  before: PolicyParts
): PolicyParts => ({
  description: request.description ?? before.description,
  priority: request.priority ?? before.priority,
  caps: request.caps ?? before.caps,
  overagePolicy: request.commit_overage_policy ?? before.overagePolicy,
  ttlOverride:
    request.reservation_ttl_override === undefined
      ? before.ttlOverride
      : {
          defaultTtlMs: request.reservation_ttl_override.default_ttl_ms,
          maxTtlMs: request.reservation_ttl_override.max_ttl_ms,
          maxExtensions: request.reservation_ttl_override.max_extensions
        },
  rateLimits:
    request.rate_limits === undefined
      ? before.rateLimits
      : {
          maxReservationsPerMinute: request.rate_limits.max_reservations_per_minute,
          maxCommitsPerMinute: request.rate_limits.max_commits_per_minute
        },
  effectiveFrom: request.effective_from ?? before.effectiveFrom,
  effectiveUntil: request.effective_until ?? before.effectiveUntil
})

const policyRow = (policy: Policy): object => ({
  policy_id: policy.id,
  scope_pattern: policy.scopePattern,
  status: policy.status,
  created_at: iso(policy.createdAtMs),
  name: policy.name,
  description: policy.description,
  priority: policy.priority,
  caps: policy.caps,
  commit_overage_policy: policy.overagePolicy,
  reservation_ttl_override:
    policy.ttlOverride === undefined
      ? undefined
      : {
          default_ttl_ms: policy.ttlOverride.defaultTtlMs ?? null,
          max_ttl_ms: policy.ttlOverride.maxTtlMs ?? null,
          max_extensions: policy.ttlOverride.maxExtensions ?? null
        },
  rate_limits:
    policy.rateLimits === undefined
      ? undefined
      : {
          max_reservations_per_minute: policy.rateLimits.maxReservationsPerMinute ?? null,
          max_commits_per_minute: policy.rateLimits.maxCommitsPerMinute ?? null
        },
  effective_from: policy.effectiveFrom,
  effective_until: policy.effectiveUntil,
  updated_at: policy.updatedAtMs === undefined ? undefined : iso(policy.updatedAtMs)
})

// ---------------------------------------------------------------------------------------------------------------------
// pages
// ---------------------------------------------------------------------------------------------------------------------

const page = (query: URLSearchParams, rows: ReadonlyArray<object>, name: string): Answer => {
  const limit = query.has("limit") ? Read.integer("limit", query.get("limit") ?? "", 1, 100) : 50
  const cursor = query.get("cursor")
  const from = cursor === null || cursor === "" ? 0 : Read.integer("cursor", cursor, 0, 999_999_999)
  const hasMore = from + limit < rows.length
  return answer(200, {
    [name]: rows.slice(from, from + limit),
    has_more: hasMore,
    next_cursor: hasMore ? String(from + limit) : undefined
  })
}
