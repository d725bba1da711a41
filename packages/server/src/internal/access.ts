/**
 * Who is asking, and what that key may do: the tenant's key with its permissions and its scope filter, or the administrator's.
 * How keys are made and kept is in `admin/keys.ts`; what belongs to whom is seen to by the commands.
 *
 * Source: AUTH & TENANCY of the protocol; Permission and ApiKey of the governance specification.
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

/** A tenant that asks with a key of its own. */
export interface KeyCaller extends Caller {
  readonly key: ApiKey
}

// ---------------------------------------------------------------------------------------------------------------------
// tenants
// ---------------------------------------------------------------------------------------------------------------------

/** The tenant whose key came along. */
export const authenticate = (call: Call): KeyCaller => {
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing API key")
  const result = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in result) throw unauthorized(result.reason)
  call.headers[Headers.TENANT] = result.tenant.id
  setUnlimited(call)
  return result
}

/** The tenant whose key came along, if the key may do this. */
export const authorizeTenant = (call: Call, permission: string): KeyCaller => {
  const caller = authenticate(call)
  if (!Policies.hasPermission(caller.key.permissions, permission)) {
    throw forbidden(`API key lacks required permission: ${permission}`)
  }
  return caller
}

// ---------------------------------------------------------------------------------------------------------------------
// the administrator
// ---------------------------------------------------------------------------------------------------------------------

/** Refuses everybody but the administrator. */
export const requireAdmin = (call: Call): void => {
  const key = call.request.headers[Headers.ADMIN_KEY]
  if (key === undefined || key === "") throw unauthorized("Missing X-Admin-API-Key header")
  if (!constantTimeEqual(key, call.server.adminKey)) throw unauthorized("Invalid admin API key")
}

/** The administrator, or else the tenant. */
export const authorizeTenantOrAdmin = (call: Call, permission: string): KeyCaller | "admin" => {
  if (!isAdmin(call)) return authorizeTenant(call, permission)
  setUnlimited(call)
  return "admin"
}

/** The key of the tenant on whose behalf budgets and policies are worked on, or nothing for the administrator. */
export const ownerOf = (call: Call, permission: string): Owner => {
  if (isAdmin(call)) return undefined
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing X-Cycles-API-Key header")
  const result = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in result) throw forbidden(`Invalid API key: ${result.reason}`)
  if (!Policies.hasPermission(result.key.permissions, permission)) {
    throw new ErrorResponse(403, "INSUFFICIENT_PERMISSIONS", `API key lacks required permission: ${permission}`)
  }
  return result.key
}

/** Whether the administrator's key came along. One that is wrong is never passed over. */
const isAdmin = (call: Call): boolean => {
  if (headerOf(call, Headers.ADMIN_KEY) === undefined) return false
  requireAdmin(call)
  return true
}

// ---------------------------------------------------------------------------------------------------------------------
// scope filters
// ---------------------------------------------------------------------------------------------------------------------

/** Refuses what the scope filter of a key doesn't allow. */
export const checkScopeFilter = (caller: KeyCaller, scopes: ReadonlyArray<string>): void => {
  if (!isInScopeFilter(caller, scopes)) throw forbidden("The scope_filter of the API key does not allow this scope")
}

/** The same for a reservation; one that isn't the caller's is refused elsewhere. */
export const checkReservationScopeFilter = (call: Call, caller: KeyCaller | "admin", id: string): void => {
  if (caller === "admin" || (caller.key.scopeFilter ?? []).length === 0) return
  const reservation = call.server.store.reservations.get(id)
  if (reservation?.tenantId === caller.tenant.id) checkScopeFilter(caller, reservation.affectedScopes)
}

/** Which paths a list shows to a caller. */
export const visibilityOf =
  (caller: KeyCaller | "admin") =>
  (scopes: ReadonlyArray<string>): boolean =>
    caller === "admin" || isInScopeFilter(caller, scopes)

const isInScopeFilter = (caller: KeyCaller, scopes: ReadonlyArray<string>): boolean =>
  Policies.scopeFilterAllows(caller.key.scopeFilter, scopes)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A header that says something. */
const headerOf = (call: Call, name: string): string | undefined => {
  const value = call.request.headers[name]
  return value === undefined || value.trim() === "" ? undefined : value
}
