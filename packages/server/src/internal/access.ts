/**
 * Authentication and authorization: API keys with permissions and a scope filter, and the admin key.
 *
 * `admin/keys.ts` stores the keys. Commands check the ownership of reservations.
 *
 * @see AUTH & TENANCY in cycles-protocol-v0.yaml; Permission and ApiKey in the governance specification
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Keys from "./admin/keys.ts"
import type { Owner } from "./admin/common.ts"
import type { Call } from "./call.ts"
import { setUnlimited } from "./call.ts"
import type { Caller } from "./context.ts"
import type { ApiKey } from "./model.ts"
import * as Policies from "./policies.ts"
import { forbidden, ErrorResponse, unauthorized } from "./errorResponse.ts"
import { constantTimeEqual } from "./secrets.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A tenant that authenticated with an API key. */
export interface KeyCaller extends Caller {
  readonly key: ApiKey
}

// ---------------------------------------------------------------------------------------------------------------------
// tenants
// ---------------------------------------------------------------------------------------------------------------------

/** Returns the tenant of the API key, or throws a 401. */
export const authenticate = (call: Call): KeyCaller => {
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing API key")
  const result = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in result) throw unauthorized(result.reason)
  call.headers[Headers.TENANT] = result.tenant.id
  setUnlimited(call)
  return result
}

/** Returns the tenant of the API key, or throws a 401, or a 403 if the key lacks the permission. */
export const authorizeTenant = (call: Call, permission: string): KeyCaller => {
  const caller = authenticate(call)
  if (!Policies.hasPermission(caller.key.permissions, permission)) {
    throw forbidden(`API key lacks required permission: ${permission}`)
  }
  return caller
}

// ---------------------------------------------------------------------------------------------------------------------
// admin key
// ---------------------------------------------------------------------------------------------------------------------

/** Throws a 401 unless the request has the admin key. */
export const requireAdmin = (call: Call): void => {
  const key = call.request.headers[Headers.ADMIN_KEY]
  if (key === undefined || key === "") throw unauthorized("Missing X-Admin-API-Key header")
  if (!constantTimeEqual(key, call.server.adminKey)) throw unauthorized("Invalid admin API key")
}

/** Returns `"admin"` for the admin key, otherwise the tenant of the API key. */
export const authorizeTenantOrAdmin = (call: Call, permission: string): KeyCaller | "admin" => {
  if (!isAdmin(call)) return authorizeTenant(call, permission)
  setUnlimited(call)
  return "admin"
}

/** Returns the API key that manages budgets and policies, or `undefined` for the admin key. */
export const ownerOf = (call: Call, permission: string | undefined): Owner =>
  isAdmin(call) ? undefined : keyOf(call, permission)

/** Returns the API key of a request to the admin plane. Throws a 403 if it lacks the permission. */
export const keyOf = (call: Call, permission: string | undefined): ApiKey => {
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing X-Cycles-API-Key header")
  const result = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in result) throw forbidden(`Invalid API key: ${result.reason}`)
  if (permission !== undefined && !Policies.hasPermission(result.key.permissions, permission)) {
    throw new ErrorResponse(403, "INSUFFICIENT_PERMISSIONS", `API key lacks required permission: ${permission}`)
  }
  return result.key
}

/** Whether the request has the admin key. A wrong admin key throws, even if there is a valid API key. */
const isAdmin = (call: Call): boolean => {
  if (headerOf(call, Headers.ADMIN_KEY) === undefined) return false
  requireAdmin(call)
  return true
}

// ---------------------------------------------------------------------------------------------------------------------
// scope filters
// ---------------------------------------------------------------------------------------------------------------------

/** Throws a 403 if the scope filter of the key excludes the scopes. */
export const checkScopeFilter = (caller: KeyCaller, scopes: ReadonlyArray<string>): void => {
  if (!isInScopeFilter(caller, scopes)) throw forbidden("The scope_filter of the API key does not allow this scope")
}

/** Applies the scope filter to a reservation. The command rejects a reservation of another tenant. */
export const checkReservationScopeFilter = (call: Call, caller: KeyCaller | "admin", id: string): void => {
  if (caller === "admin" || (caller.key.scopeFilter ?? []).length === 0) return
  const reservation = call.server.store.reservations.get(id)
  if (reservation?.tenantId === caller.tenant.id) checkScopeFilter(caller, reservation.affectedScopes)
}

/** Returns the predicate that selects the rows a caller may see. */
export const visibilityOf =
  (caller: KeyCaller | "admin") =>
  (scopes: ReadonlyArray<string>): boolean =>
    caller === "admin" || isInScopeFilter(caller, scopes)

const isInScopeFilter = (caller: KeyCaller, scopes: ReadonlyArray<string>): boolean =>
  Policies.scopeFilterAllows(caller.key.scopeFilter, scopes)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A header, or `undefined` if it is blank. */
const headerOf = (call: Call, name: string): string | undefined => {
  const value = call.request.headers[name]
  return value === undefined || value.trim() === "" ? undefined : value
}
