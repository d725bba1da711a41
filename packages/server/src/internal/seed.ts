/**
 * Fills a new server with one tenant, an API key and budgets.
 *
 * It uses the admin plane, so that options are validated like the requests of an administrator.
 */
import * as Json from "@effect-cycles/protocol/Json"
import type { Server } from "./call.ts"
import * as Handler from "./handler.ts"
import { budgetId } from "./store.ts"

/** A budget to create. Its scope is relative to the tenant. */
export interface SeedBudget {
  readonly scope?: string | undefined
  readonly unit: string
  readonly allocated: number | bigint
  readonly overdraftLimit?: number | bigint | undefined
  readonly caps?: object | undefined
}

/** Creates the tenant and its budgets, and returns an API key. Throws a `RangeError` if the server rejects an option. */
export const seed = (server: Server, tenant: string, budgets: ReadonlyArray<SeedBudget>, nowMs: number): string => {
  const post = (path: string, body: object): Readonly<Record<string, unknown>> => {
    const response = Handler.handle(
      server,
      "admin",
      {
        method: "POST",
        url: path,
        headers: { "x-admin-api-key": server.adminKey, "content-type": "application/json" },
        body: Json.stringify(body)
      },
      nowMs
    )
    const json: unknown = JSON.parse(response.body)
    if (response.status >= 400 || typeof json !== "object" || json === null) {
      throw new RangeError(`The embedded server can't be created: ${response.body}`)
    }
    return { ...json }
  }
  post("/v1/admin/tenants", { tenant_id: tenant, name: tenant })
  const apiKey = post("/v1/admin/api-keys", { tenant_id: tenant, name: "embedded" })["key_secret"]
  for (const { allocated, caps, overdraftLimit, scope: relativeScope, unit } of budgets) {
    const scope = scopeOf(tenant, relativeScope)
    post("/v1/admin/budgets", {
      tenant_id: tenant,
      scope,
      unit,
      allocated: { unit, amount: allocated },
      overdraft_limit: overdraftLimit === undefined ? undefined : { unit, amount: overdraftLimit }
    })
    // The admin plane has no field for the caps of a budget.
    const budget = server.store.budgets.get(budgetId(scope, unit))
    if (caps !== undefined && budget !== undefined) server.store.budgets.put({ ...budget, caps })
  }
  return String(apiKey)
}

/** The full scope of a budget, in lower case like all stored scopes. */
export const scopeOf = (tenant: string, scope: string | undefined): string =>
  (scope === undefined || scope === "" ? `tenant:${tenant}` : `tenant:${tenant}/${scope}`).toLowerCase()
