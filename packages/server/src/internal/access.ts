/**
 * Who is asking, and what that key may do: the tenant's key with its permissions and its scope filter, or the administrator's.
 * How keys are made and kept is in `admin/keys.ts`; what belongs to whom is seen to by the commands.
 *
 * Source: AUTH & TENANCY of the protocol; Permission and ApiKey of the governance specification.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Keys from "./admin/keys.ts"
import type { Owner } from "./admin/parts.ts"
import type { Call } from "./call.ts"
import { unlimited } from "./call.ts"
import type { Caller } from "./context.ts"
import type { ApiKey } from "./model.ts"
import * as Policies from "./policies.ts"
import { forbidden, Refusal, unauthorized } from "./refusal.ts"
import { isSame } from "./secrets.ts"

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
export const authenticated = (call: Call): KeyCaller => {
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing API key")
  const found = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in found) throw unauthorized(found.reason)
  call.headers[Headers.TENANT] = found.tenant.id
  unlimited(call)
  return found
}

/** The tenant whose key came along, if the key may do this. */
export const tenant = (call: Call, permission: string): KeyCaller => {
  const caller = authenticated(call)
  if (!Policies.permits(caller.key.permissions, permission)) {
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
  if (!isSame(key, call.server.adminKey)) throw unauthorized("Invalid admin API key")
}

/** The administrator, or else the tenant. */
export const either = (call: Call, permission: string): KeyCaller | "admin" => {
  if (!isAdmin(call)) return tenant(call, permission)
  unlimited(call)
  return "admin"
}

/** The key of the tenant on whose behalf budgets and policies are worked on, or nothing for the administrator. */
export const ownerOf = (call: Call, permission: string): Owner => {
  if (isAdmin(call)) return undefined
  const secret = headerOf(call, Headers.API_KEY)
  if (secret === undefined) throw unauthorized("Missing X-Cycles-API-Key header")
  const found = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in found) throw forbidden(`Invalid API key: ${found.reason}`)
  if (!Policies.permits(found.key.permissions, permission)) {
    throw new Refusal(403, "INSUFFICIENT_PERMISSIONS", `API key lacks required permission: ${permission}`)
  }
  return found.key
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
export const withinFilter = (caller: KeyCaller, scopes: ReadonlyArray<string>): void => {
  if (!allows(caller, scopes)) throw forbidden("The scope_filter of the API key does not allow this scope")
}

/** The same for a reservation; one that isn't the caller's is refused elsewhere. */
export const reservationWithinFilter = (call: Call, caller: KeyCaller | "admin", id: string): void => {
  if (caller === "admin" || (caller.key.scopeFilter ?? []).length === 0) return
  const reservation = call.server.store.reservations.get(id)
  if (reservation?.tenantId === caller.tenant.id) withinFilter(caller, reservation.affectedScopes)
}

/** Which paths a list shows to a caller. */
export const visible =
  (caller: KeyCaller | "admin") =>
  (scopes: ReadonlyArray<string>): boolean =>
    caller === "admin" || allows(caller, scopes)

const allows = (caller: KeyCaller, scopes: ReadonlyArray<string>): boolean =>
  Policies.allows(caller.key.scopeFilter, scopes)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A header that says something. */
const headerOf = (call: Call, name: string): string | undefined => {
  const value = call.request.headers[name]
  return value === undefined || value.trim() === "" ? undefined : value
}
