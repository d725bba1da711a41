/**
 * Keys: making, changing, revoking and checking them.
 *
 * Source: the governance specification, as far as the reference's own newcomers use it.
 */
import * as Schema from "effect/Schema"
import type { Answer } from "../answer.ts"
import { json } from "../answer.ts"
import type { Context } from "../ledger.ts"
import type { ApiKey, Tenant } from "../model.ts"
import * as Read from "../read.ts"
import { invalid, Refusal } from "../refusal.ts"
import type { Secrets } from "../secrets.ts"
import { dayMs } from "../store.ts"
import { iso, metadata, page, text } from "./parts.ts"
import { openTenant } from "./tenants.ts"

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
  return json(201, {
    key_id: key.id,
    key_secret: secret,
    key_prefix: key.prefix,
    tenant_id: key.tenantId,
    permissions: key.permissions,
    created_at: key.createdAt,
    expires_at: key.expiresAt
  })
}

const keyLifeMs = 90 * dayMs

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
  return json(200, keyRow(revoked, context.nowMs))
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
  return json(200, keyRow(changed, context.nowMs))
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
  return json(
    200,
    "key" in found
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
