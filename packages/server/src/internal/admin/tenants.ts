/**
 * Tenants: making, changing and closing them.
 *
 * Source: the governance specification, as far as the reference's own newcomers use it.
 */
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import type { Answer } from "../answer.ts"
import { json } from "../answer.ts"
import type { Context } from "../ledger.ts"
import type { Tenant } from "../model.ts"
import * as Read from "../read.ts"
import { invalid, Refusal, tenantClosed } from "../refusal.ts"
import { count, iso, metadata, page, text, ttl } from "./parts.ts"

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
    if (known.name === request.name) return json(200, tenantRow(known))
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
  return json(201, tenantRow(tenant))
}

/** `GET /v1/admin/tenants/{id}` */
export const getTenant = (context: Context, id: string): Answer => json(200, tenantRow(tenantOf(context, id)))

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
  return json(200, tenantRow(changed))
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

const tenantOf = (context: Context, id: string): Tenant => {
  const tenant = context.store.tenants.get(id)
  if (tenant === undefined) throw new Refusal(404, "TENANT_NOT_FOUND", `Tenant not found: ${id}`)
  return tenant
}

/** A tenant that is there and not closed. */
export const openTenant = (context: Context, id: string): Tenant => {
  const tenant = tenantOf(context, id)
  if (tenant.status === "CLOSED") throw tenantClosed(id)
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
