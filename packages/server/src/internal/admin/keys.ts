/**
 * API keys: creation, changes, revocation, lists and validation.
 *
 * @see ApiKey and Permission in the governance specification
 */
import * as Schema from "effect/Schema"
import type { JsonResponse } from "../response.ts"
import { json } from "../response.ts"
import type { Context } from "../context.ts"
import type { ApiKey, Tenant } from "../model.ts"
import * as Parse from "../parse.ts"
import { invalidRequest, ErrorResponse } from "../errorResponse.ts"
import type { Secrets } from "../secrets.ts"
import * as Scopes from "../scopes.ts"
import { dayMs } from "../store.ts"
import type { SortKeys } from "./common.ts"
import {
  instant,
  iso,
  metadata,
  notBlank,
  NotBlank,
  page,
  reasonOf,
  searchFilter,
  sorted,
  stringOfLength,
  utc,
  optionalLiteral
} from "./common.ts"
import { checkActive, checkNotClosed } from "./tenants.ts"

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
  ...["tenants", "budgets", "policies", "apikeys", "webhooks"].flatMap((what) => [
    `admin:${what}:read`,
    `admin:${what}:write`
  ]),
  "admin:events:read",
  "admin:audit:read"
])

const keyFields = {
  description: Schema.optional(stringOfLength(0, 1_024)),
  permissions: Schema.optional(Schema.Array(Schema.String)),
  scope_filter: Schema.optional(Schema.Array(Schema.String)),
  metadata
}

const parseKey = Parse.request(
  Schema.Struct({ tenant_id: notBlank(128), name: notBlank(256), expires_at: instant, ...keyFields })
)

/** `POST /v1/admin/api-keys` */
export const createKey = (context: Context, secrets: Secrets, body: object): JsonResponse => {
  const request = parseKey(body)
  checkNotClosed(context, request.tenant_id)
  checkPermissions(request.permissions)
  request.scope_filter?.forEach(Scopes.checkFilterEntry)
  checkActive(context, request.tenant_id)
  const expiresAt = utc(request.expires_at) ?? iso(context.nowMs + defaultKeyLifetimeMs)
  const secret = secrets.make()
  const key: ApiKey = {
    id: `key_${context.makeId().slice(-16)}`,
    hash: secrets.hash(secret),
    prefix: prefixOf(secret),
    tenantId: request.tenant_id,
    name: request.name,
    description: request.description,
    permissions: request.permissions ?? defaultPermissions,
    scopeFilter: request.scope_filter,
    metadata: request.metadata,
    createdAt: iso(context.nowMs),
    expiresAt,
    expiresAtMs: Parse.parseInstant(expiresAt),
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

const defaultKeyLifetimeMs = 90 * dayMs

/** `GET /v1/admin/api-keys` */
export const listKeys = (context: Context, query: URLSearchParams): JsonResponse => {
  const tenantId = Parse.parameter(query, "tenant_id")
  const status = optionalLiteral(query, "status", ["ACTIVE", "REVOKED", "EXPIRED"])
  const isFound = searchFilter(query)
  const rows = Array.from(
    tenantId === undefined ? context.store.keys.all() : context.store.keys.ofOwner(tenantId)
  ).filter((key) => (status === undefined || statusOf(key) === status) && isFound(key.id, key.name))
  const id = (key: ApiKey) => key.id
  return page(query, sorted(query, rows, { keys: sortKeys, defaultKey: "created_at", id }), {
    name: "keys",
    id: tenantId === undefined ? (key) => `${key.tenantId}|${key.id}` : id,
    row: keyRow
  })
}

const sortKeys: SortKeys<ApiKey> = {
  key_id: (key) => key.id,
  name: (key) => key.name,
  tenant_id: (key) => key.tenantId,
  status: (key) => statusOf(key),
  created_at: (_, place) => place,
  expires_at: (key) => key.expiresAtMs
}

/** `DELETE /v1/admin/api-keys/{id}` */
export const revokeKey = (context: Context, id: string, query: URLSearchParams): JsonResponse => {
  const reason = reasonOf(query)
  const key = keyOf(context, id)
  checkNotClosed(context, key.tenantId)
  if (key.revokedAt !== undefined) throw new ErrorResponse(409, "KEY_REVOKED", `API key already revoked: ${id}`)
  const revoked = { ...key, revokedAt: iso(context.nowMs), revokedReason: reason }
  context.store.keys.put(revoked)
  return json(200, keyRow(revoked))
}

const parseKeyPatch = Parse.request(Schema.Struct({ name: Schema.optional(stringOfLength(0, 256)), ...keyFields }))

/** `PATCH /v1/admin/api-keys/{id}` */
export const patchKey = (context: Context, id: string, body: object): JsonResponse => {
  const request = parseKeyPatch(body)
  const key = keyOf(context, id)
  checkNotClosed(context, key.tenantId)
  if (key.revokedAt !== undefined) throw new ErrorResponse(409, "INVALID_REQUEST", "Cannot modify a REVOKED key")
  checkPermissions(request.permissions)
  request.scope_filter?.forEach(Scopes.checkFilterEntry)
  const changed: ApiKey = {
    ...key,
    name: request.name ?? key.name,
    description: request.description ?? key.description,
    permissions: request.permissions ?? key.permissions,
    scopeFilter: request.scope_filter ?? key.scopeFilter,
    metadata: request.metadata ?? key.metadata
  }
  context.store.keys.put(changed)
  return json(200, keyRow(changed))
}

const keyOf = (context: Context, id: string): ApiKey => {
  for (const key of context.store.keys.all()) {
    if (key.id === id) return key
  }
  throw new ErrorResponse(404, "NOT_FOUND", `API key not found: ${id}`)
}

const checkPermissions = (requested: ReadonlyArray<string> | undefined): void => {
  for (const permission of requested ?? []) {
    if (!permissions.has(permission)) throw invalidRequest(`Unrecognized permission: ${Parse.shown(permission)}`)
  }
}

const parseValidation = Parse.request(Schema.Struct({ key_secret: NotBlank }))

/** `POST /v1/auth/validate` */
export const validateKey = (context: Context, secrets: Secrets, body: object): JsonResponse => {
  const secret = parseValidation(body).key_secret
  const result = checkKey(context, secrets, secret)
  if ("key" in result) {
    return json(200, {
      valid: true,
      tenant_id: result.key.tenantId,
      key_id: result.key.id,
      permissions: result.key.permissions,
      scope_filter: result.key.scopeFilter,
      expires_at: result.key.expiresAt
    })
  }
  const { reason, tenantId } = result.tenantId === "" ? closestKey(context, secret) : result
  return json(200, { valid: false, tenant_id: tenantId, reason })
}

/**
 * The validation result of an unknown secret. A secret with the prefix of a key counts as a mistyped secret of that key. It
 * scans all keys, so only the admin plane uses it.
 */
const closestKey = (context: Context, secret: string): { readonly reason: string; readonly tenantId: string } => {
  const prefix = prefixOf(secret)
  for (const key of context.store.keys.all()) {
    if (key.prefix === prefix) return { reason: inactiveReason(context, key) ?? "INVALID_KEY", tenantId: key.tenantId }
  }
  return notFound
}

/** Returns the key and the tenant of a secret, or the reason why it is not valid. */
export const checkKey = (
  context: Pick<Context, "store" | "nowMs">,
  secrets: Secrets,
  secret: string
): { readonly key: ApiKey; readonly tenant: Tenant } | { readonly reason: string; readonly tenantId: string } => {
  const key = context.store.keys.get(secrets.hash(secret))
  if (key === undefined) return notFound
  const reason = inactiveReason(context, key)
  if (reason !== undefined) return { reason, tenantId: key.tenantId }
  const tenant = context.store.tenants.get(key.tenantId)
  if (tenant === undefined || tenant.status === "CLOSED") return { reason: "TENANT_CLOSED", tenantId: key.tenantId }
  return tenant.status === "SUSPENDED" ? { reason: "TENANT_SUSPENDED", tenantId: key.tenantId } : { key, tenant }
}

/** The reason why a key is no longer valid; `undefined` if it is valid. */
const inactiveReason = ({ nowMs }: { readonly nowMs: number }, key: ApiKey): string | undefined =>
  key.revokedAt !== undefined ? "KEY_REVOKED" : key.expiresAtMs <= nowMs ? "KEY_EXPIRED" : undefined

const notFound = { reason: "KEY_NOT_FOUND", tenantId: "" }

/** The visible part of a secret. */
const prefixOf = (secret: string): string => secret.slice(0, 14)

/** The status of a key. As in the reference server, an expired key remains ACTIVE. */
const statusOf = (key: ApiKey): string => (key.revokedAt === undefined ? "ACTIVE" : "REVOKED")

const keyRow = (key: ApiKey): object => ({
  key_id: key.id,
  tenant_id: key.tenantId,
  key_prefix: key.prefix,
  status: statusOf(key),
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
