/**
 * The admin plane: its paths and methods, and the command or query behind each.
 *
 * It covers tenants, API keys, budgets, balances, policies, and the validation and introspection of keys. Other paths of the
 * specification get a 404.
 *
 * @see the paths of the governance specification
 */
import { keyOf, ownerOf, requireAdmin } from "../access.ts"
import type { JsonResponse } from "../response.ts"
import type { Call } from "../call.ts"
import { bodyOf, optionsResponse, queryOf, methodNotAllowed, noSuchPath } from "../call.ts"
import * as Budgets from "./budgets.ts"
import { introspect } from "./introspect.ts"
import * as Keys from "./keys.ts"
import * as Policies from "./policies.ts"
import * as Tenants from "./tenants.ts"

// ---------------------------------------------------------------------------------------------------------------------
// respond
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a path belongs to the admin plane, for a port that serves both planes. */
export const isPath = (path: string): boolean => path.startsWith("/v1/admin/") || path.startsWith("/v1/auth/")

/** Handles a request of the admin plane. */
export const respond = (call: Call): JsonResponse => {
  const [, , , id] = call.segments
  const method = call.request.method === "HEAD" ? "GET" : call.request.method
  const body = () => bodyOf(call)
  const name = routeOf(call.path, call.segments)
  const route = Object.hasOwn(routes, name) ? routes[name] : undefined
  if (route !== undefined) {
    if (method === "OPTIONS") return optionsResponse(call, Object.keys(route))
    const run = Object.hasOwn(route, method) ? route[method] : undefined
    if (run === undefined) throw methodNotAllowed(call, Object.keys(route))
    return run(call, id === undefined ? "" : decodeURIComponent(id), queryOf(call), body)
  }
  requireAdmin(call)
  throw noSuchPath(call)
}

/** The name of the route of a path: without `/v1/admin/`, and with `*` for an id. */
const routeOf = (path: string, [, space, resource, id, more]: ReadonlyArray<string>): string => {
  if (space !== "admin") return path
  if (more !== undefined) return ""
  return `${resource ?? ""}${id === undefined ? "" : resource === "budgets" ? `/${id}` : "/*"}`
}

// ---------------------------------------------------------------------------------------------------------------------
// routes
// ---------------------------------------------------------------------------------------------------------------------

type Route = (call: Call, id: string, query: URLSearchParams, body: () => object) => JsonResponse

const byAdmin =
  (run: Route): Route =>
  (call, id, query, body) => {
    requireAdmin(call)
    return run(call, id, query, body)
  }

/** Parses an optional body. */
const optionalBody = (call: Call, body: () => object): object => (call.request.body === "" ? {} : body())

const routes: Readonly<Partial<Record<string, Readonly<Partial<Record<string, Route>>>>>> = {
  "/v1/auth/validate": {
    POST: byAdmin(({ context, server }, _id, _query, body) => Keys.validateKey(context, server.secrets, body()))
  },
  "/v1/auth/introspect": { GET: (call) => introspect(ownerOf(call, undefined)) },
  "/v1/balances": {
    GET: (call, _id, query) => Budgets.listBalances(call.context, keyOf(call, "balances:read"), query)
  },
  tenants: {
    POST: byAdmin(({ context }, _id, _query, body) => Tenants.createTenant(context, body())),
    GET: byAdmin(({ context }, _id, query) => Tenants.listTenants(context, query))
  },
  "tenants/*": {
    GET: byAdmin(({ context }, id) => Tenants.getTenant(context, id)),
    PATCH: byAdmin(({ context }, id, _query, body) => Tenants.patchTenant(context, id, body()))
  },
  "api-keys": {
    POST: byAdmin(({ context, server }, _id, _query, body) => Keys.createKey(context, server.secrets, body())),
    GET: byAdmin(({ context }, _id, query) => Keys.listKeys(context, query))
  },
  "api-keys/*": {
    PATCH: byAdmin(({ context }, id, _query, body) => Keys.patchKey(context, id, body())),
    DELETE: byAdmin(({ context }, id, query) => Keys.revokeKey(context, id, query))
  },
  budgets: {
    POST: (call, _id, _query, body) => Budgets.createBudget(call.context, ownerOf(call, "budgets:write"), body()),
    GET: (call, _id, query) => Budgets.listBudgets(call.context, ownerOf(call, "budgets:read"), query),
    PATCH: byAdmin(({ context }, _id, query, body) => Budgets.patchBudget(context, query, body()))
  },
  "budgets/lookup": {
    GET: (call, _id, query) => Budgets.lookUpBudget(call.context, ownerOf(call, "budgets:read"), query)
  },
  "budgets/fund": {
    POST: (call, _id, query, body) => Budgets.fund(call.context, ownerOf(call, "budgets:write"), query, body())
  },
  "budgets/freeze": {
    POST: byAdmin((call, _id, query, body) => Budgets.setFrozen(call.context, query, optionalBody(call, body), true))
  },
  "budgets/unfreeze": {
    POST: byAdmin((call, _id, query, body) => Budgets.setFrozen(call.context, query, optionalBody(call, body), false))
  },
  policies: {
    POST: (call, _id, _query, body) => Policies.createPolicy(call.context, ownerOf(call, "policies:write"), body()),
    GET: (call, _id, query) => Policies.listPolicies(call.context, ownerOf(call, "policies:read"), query)
  },
  "policies/*": {
    PATCH: (call, id, _query, body) => Policies.patchPolicy(call.context, ownerOf(call, "policies:write"), id, body())
  }
}
