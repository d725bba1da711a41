/**
 * Tenants: creation, changes, closing and lists.
 *
 * @see the tenants of the governance specification
 */
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import type { JsonResponse } from "../response.ts"
import { json } from "../response.ts"
import type { Context } from "../context.ts"
import type { Tenant } from "../model.ts"
import * as Parse from "../parse.ts"
import { invalidRequest, ErrorResponse, tenantClosed } from "../errorResponse.ts"
import * as Scopes from "../scopes.ts"
import {
  count,
  iso,
  optionalIso,
  notBlank,
  page,
  searchFilter,
  sorted,
  tenantId,
  ttl,
  optionalLiteral
} from "./common.ts"

const statuses = ["ACTIVE", "SUSPENDED", "CLOSED"] as const

/** The metadata of a tenant has string values. Numbers and booleans are converted. */
const TenantMetadata = Schema.Record(
  Schema.String,
  Schema.Union([Schema.String, Schema.Finite, Schema.BigInt, Schema.Boolean, Schema.Null])
).check(Schema.isMaxProperties(32, { expected: "an object of at most 32 fields" }))

const tenantFields = {
  default_commit_overage_policy: Schema.optional(OveragePolicy),
  default_reservation_ttl_ms: Schema.optional(ttl),
  max_reservation_ttl_ms: Schema.optional(ttl),
  max_reservation_extensions: Schema.optional(count(0)),
  metadata: Schema.optional(TenantMetadata)
}

const parseTenant = Parse.request(
  Schema.Struct({
    tenant_id: tenantId,
    name: notBlank(256),
    parent_tenant_id: Schema.optional(Schema.String),
    reservation_expiry_policy: Schema.optional(Schema.Literals(["AUTO_RELEASE", "MANUAL_CLEANUP", "GRACE_ONLY"])),
    ...tenantFields
  })
)

const parseTenantPatch = Parse.request(
  Schema.Struct({
    name: Schema.optional(Schema.String),
    status: Schema.optional(Schema.Literals(statuses)),
    ...tenantFields
  })
)

/** `POST /v1/admin/tenants` */
export const createTenant = (context: Context, body: object): JsonResponse => {
  const request = parseTenant(body)
  const existing = context.store.tenants.get(request.tenant_id)
  if (existing !== undefined) {
    if (existing.name === request.name) return json(200, tenantRow(existing))
    throw new ErrorResponse(409, "DUPLICATE_RESOURCE", `Tenant exists: ${existing.id}`)
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
    metadata: withStringValues(request.metadata),
    suspendedAtMs: undefined,
    closedAtMs: undefined
  }
  context.store.tenants.put(tenant)
  if (tenant.expiryPolicy !== undefined && tenant.expiryPolicy !== "AUTO_RELEASE") {
    context.warn(
      `reservation_expiry_policy ${tenant.expiryPolicy} of tenant ${tenant.id} has no effect: an expired reservation is released`
    )
  }
  return json(201, tenantRow(tenant))
}

const withStringValues = (metadata: typeof TenantMetadata.Type | undefined): unknown =>
  metadata === undefined
    ? undefined
    : Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, value === null ? null : String(value)]))

/** `GET /v1/admin/tenants/{id}` */
export const getTenant = (context: Context, id: string): JsonResponse => json(200, tenantRow(tenantOf(context, id)))

/** `GET /v1/admin/tenants` */
export const listTenants = (context: Context, query: URLSearchParams): JsonResponse => {
  const isFound = searchFilter(query)
  const status = optionalLiteral(query, "status", statuses)
  const parent = Parse.parameter(query, "parent_tenant_id")
  const rows = Array.from(context.store.tenants.all()).filter(
    (tenant) =>
      isFound(tenant.id, tenant.name) &&
      (status === undefined || tenant.status === status) &&
      (parent === undefined || tenant.parentId === parent)
  )
  const id = (tenant: Tenant) => tenant.id
  const keys = {
    tenant_id: id,
    name: (tenant: Tenant) => tenant.name,
    status: (tenant: Tenant) => tenant.status,
    created_at: (_: Tenant, place: number) => place
  }
  return page(query, sorted(query, rows, { keys, defaultKey: "created_at", id, isIdAscending: true }), {
    name: "tenants",
    id,
    row: tenantRow
  })
}

/** `PATCH /v1/admin/tenants/{id}` */
export const patchTenant = (context: Context, id: string, body: object): JsonResponse => {
  const request = parseTenantPatch(body)
  const tenant = tenantOf(context, id)
  const { status } = request
  if (tenant.status === "CLOSED" && status !== undefined) {
    if (status !== "CLOSED") throw invalidRequest("Cannot transition from CLOSED")
    // The other fields of the request are ignored.
    return json(200, tenantRow(tenant))
  }
  const changed: Tenant = {
    ...tenant,
    name: request.name ?? tenant.name,
    status: status ?? tenant.status,
    overagePolicy: request.default_commit_overage_policy ?? tenant.overagePolicy,
    defaultTtlMs: request.default_reservation_ttl_ms ?? tenant.defaultTtlMs,
    maxTtlMs: request.max_reservation_ttl_ms ?? tenant.maxTtlMs,
    maxExtensions: request.max_reservation_extensions ?? tenant.maxExtensions,
    metadata: withStringValues(request.metadata) ?? tenant.metadata,
    updatedAtMs: context.nowMs,
    suspendedAtMs: status === "SUSPENDED" ? context.nowMs : tenant.suspendedAtMs,
    closedAtMs: status === "CLOSED" ? context.nowMs : tenant.closedAtMs
  }
  context.store.tenants.put(changed)
  if (status === "CLOSED") closeOwned(context, id)
  return json(200, tenantRow(changed))
}

/** Closing is permanent: keys are revoked, and budgets are closed with nothing reserved. Reservations stay readable. */
const closeOwned = (context: Context, id: string): void => {
  for (const key of Array.from(context.store.keys.ofOwner(id))) {
    if (key.revokedAt === undefined) {
      context.store.keys.put({ ...key, revokedAt: iso(context.nowMs), revokedReason: "tenant_closed" })
    }
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
  if (tenant === undefined) throw new ErrorResponse(404, "TENANT_NOT_FOUND", `Tenant not found: ${id}`)
  return tenant
}

/** Throws a 409 if the tenant is closed. */
export const checkNotClosed = (context: Context, id: string | undefined): void => {
  if (id !== undefined && context.store.tenants.get(id)?.status === "CLOSED") throw tenantClosed(id)
}

/** Throws a 409 if the tenant of the scope is closed. */
export const checkScopeNotClosed = (context: Context, scope: string): void =>
  checkNotClosed(context, Scopes.tenantOf(scope))

/** Returns an active tenant, or throws: objects can be created only for active tenants. */
export const checkActive = (context: Context, id: string): Tenant => {
  checkNotClosed(context, id)
  const tenant = tenantOf(context, id)
  if (tenant.status !== "ACTIVE") throw invalidRequest(`Tenant is not ACTIVE: ${id}`)
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
  updated_at: optionalIso(tenant.updatedAtMs),
  suspended_at: optionalIso(tenant.suspendedAtMs),
  closed_at: optionalIso(tenant.closedAtMs)
})
