/**
 * The capabilities of a credential, for dashboards.
 *
 * @see AuthIntrospectResponse in the governance specification
 */
import type { JsonResponse } from "../response.ts"
import { json } from "../response.ts"
import type { Owner } from "./common.ts"

/** `GET /v1/auth/introspect` */
export const introspect = (owner: Owner): JsonResponse =>
  json(
    200,
    owner === undefined
      ? {
          authenticated: true,
          auth_type: "admin",
          permissions: ["*"],
          capabilities: capabilities(() => true, true)
        }
      : {
          authenticated: true,
          auth_type: "tenant",
          permissions: owner.permissions,
          tenant_id: owner.tenantId,
          scope_filter: (owner.scopeFilter ?? []).length === 0 ? undefined : owner.scopeFilter,
          capabilities: capabilities((names) => names.some((name) => owner.permissions.includes(name)), false)
        }
  )

/** `isAdmin` decides the capabilities that no permission of a tenant's key grants. */
const capabilities = (hasAny: (permissions: ReadonlyArray<string>) => boolean, isAdmin: boolean): object => ({
  view_overview: isAdmin,
  view_budgets: hasAny(including("budgets", "read")),
  view_events: hasAny(including("events", "read")),
  view_webhooks: hasAny(including("webhooks", "read")),
  view_audit: isAdmin,
  view_tenants: isAdmin,
  view_api_keys: isAdmin,
  view_policies: hasAny(including("policies", "read")),
  view_reservations: hasAny(["reservations:list", ...reservationChanges, "admin:read"]),
  manage_budgets: hasAny(including("budgets", "write")),
  manage_policies: hasAny(including("policies", "write")),
  manage_webhooks: hasAny(including("webhooks", "write")),
  manage_tenants: isAdmin,
  manage_api_keys: isAdmin,
  manage_reservations: hasAny([...reservationChanges, "admin:write"])
})

/** The permissions that include an access to a kind of objects. */
const including = (objects: string, access: "read" | "write"): ReadonlyArray<string> => [
  `${objects}:${access}`,
  `admin:${access}`,
  `admin:${objects}:${access}`
]

const reservationChanges = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend"
] as const
