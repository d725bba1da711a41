/**
 * The admin plane: its paths and methods, and the command or query behind each.
 *
 * It covers tenants, API keys, budgets, policies and the validation of keys. Other paths of the specification get a 404.
 *
 * @see the paths of the governance specification
 */
import { ownerOf, requireAdmin } from "../access.ts"
import type { JsonResponse } from "../response.ts"
import type { Call } from "../call.ts"
import { bodyOf, optionsResponse, queryOf, methodNotAllowed } from "../call.ts"
import { ErrorResponse } from "../errorResponse.ts"
import * as Budgets from "./budgets.ts"
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
  const { context, server } = call
  const [, space, resource, id, more] = call.segments
  const method = call.request.method === "HEAD" ? "GET" : call.request.method
  const body = () => bodyOf(call)
  if (space === "auth") {
    if (resource === "validate" && id === undefined) {
      if (method !== "POST") throw methodNotAllowed(call, ["POST"])
      requireAdmin(call)
      return Keys.validateKey(context, server.secrets, body())
    }
  } else if (space === "admin" && more === undefined) {
    const name = `${resource ?? ""}${id === undefined ? "" : resource === "budgets" ? `/${id}` : "/*"}`
    const route = Object.hasOwn(routes, name) ? routes[name] : undefined
    if (route !== undefined) {
      if (method === "OPTIONS") return optionsResponse(call, Object.keys(route))
      const run = Object.hasOwn(route, method) ? route[method] : undefined
      if (run === undefined) throw methodNotAllowed(call, Object.keys(route))
      return run(call, id === undefined ? "" : decodeURIComponent(id), queryOf(call), body)
    }
  }
  requireAdmin(call)
  throw new ErrorResponse(404, "NOT_FOUND", `There is no ${call.path}`)
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
