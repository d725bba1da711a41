/**
 * Scopes of budgets and patterns of policies: `tenant:acme/workspace:eng`, in the fixed order of levels.
 */
import * as Subject from "@effect-cycles/protocol/Subject"
import { invalid } from "./refusal.ts"

/** Checks a scope or a pattern, and returns it. */
export const parse = (name: string, scope: string, options: { readonly wildcards: boolean }): string => {
  const levels: ReadonlyArray<string> = Subject.fields
  let last = -1
  const segments = scope.split("/")
  segments.forEach((segment, i) => {
    if (segment === "") throw invalid(`${name} has an empty segment (leading, trailing, or consecutive '/')`)
    if (options.wildcards && segment === "*" && i === segments.length - 1) return
    const [kind = "", id = "", ...more] = segment.split(":")
    if (id === "" || more.length > 0) throw invalid(`${name} segment '${segment}' must be of form '<kind>:<id>'`)
    const level = levels.indexOf(kind)
    if (level < 0) {
      throw invalid(`${name} segment '${segment}' uses non-canonical kind '${kind}'. Allowed: [${levels.join(", ")}]`)
    }
    if (level <= last) {
      throw invalid(`${name} kind '${kind}' appears out of canonical order (canonical order is [${levels.join(", ")}])`)
    }
    if (id.includes("*") && !(options.wildcards && id === "*")) {
      throw invalid(`${name} wildcards are not allowed here (segment '${segment}')`)
    }
    last = level
  })
  return scope
}

/** A scope begins with the tenant that it belongs to. */
export const belongs = (scope: string, tenantId: string): void => {
  const first = scope.split("/")[0] ?? ""
  if (!first.startsWith("tenant:"))
    throw invalid(`scope must start with 'tenant:<id>' (got '${first.split(":")[0]}:...')`)
  const tenant = first.slice("tenant:".length)
  if (tenant !== tenantId && tenant !== "*") {
    throw invalid(`Scope tenant '${tenant}' does not match request tenant_id '${tenantId}'`)
  }
}
