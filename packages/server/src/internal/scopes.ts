/**
 * Scopes of budgets and patterns of policies: `tenant:acme/workspace:eng`, in the fixed order of levels.
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Subject from "@effect-cycles/protocol/Subject"
import { invalidRequest } from "./errorResponse.ts"

/** Checks a scope or a pattern, and returns it. A pattern may end in `*` for a name, or for all that lies below. */
export const parse = (name: string, scope: string, options: { readonly wildcards: boolean }): string => {
  const levels: ReadonlyArray<string> = Subject.fields
  let last = -1
  const segments = scope.split("/")
  segments.forEach((segment, i) => {
    const isLast = i === segments.length - 1
    if (segment === "") throw invalidRequest(`${name} has an empty segment (leading, trailing, or consecutive '/')`)
    if (segment === "*" && options.wildcards && isLast && i > 0) return
    const colon = segment.indexOf(":")
    const [kind, id] = [segment.slice(0, Math.max(0, colon)), segment.slice(colon + 1)]
    if (kind === "" || id === "") throw invalidRequest(`${name} segment '${segment}' must be of form '<kind>:<id>'`)
    const level = levels.indexOf(kind)
    if (level < 0) {
      throw invalidRequest(
        `${name} segment '${segment}' uses non-canonical kind '${kind}'. Allowed: [${levels.join(", ")}]`
      )
    }
    if (i === 0 && level !== 0) throw invalidRequest(`${name} must start with 'tenant:<id>' (got '${kind}:...')`)
    if (level <= last) {
      throw invalidRequest(
        `${name} kind '${kind}' appears out of canonical order (canonical order is [${levels.join(", ")}])`
      )
    }
    last = level
    if (id === "*") {
      if (options.wildcards && isLast) return
      throw invalidRequest(`${name} allows no wildcard here (segment '${segment}')`)
    }
    if (id.length > Limits.maxSubjectValue || !idPattern.test(id)) {
      throw invalidRequest(
        `${name} segment '${segment}' must have a name of at most ${Limits.maxSubjectValue} letters, digits, '.', '_' or ` +
          "'-', with a letter or a digit at both ends"
      )
    }
  })
  return scope
}

const idPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/

/** The tenant that a scope names, in whatever case, if it names one. */
export const tenantOf = (scope: string): string | undefined => /^tenant:([^/]+)/.exec(scope)?.[1]

/** A scope begins with the tenant that it belongs to. */
export const checkTenant = (scope: string, tenantId: string): void => {
  const tenant = tenantOf(scope)
  if (tenant !== tenantId)
    throw invalidRequest(`Scope tenant '${tenant ?? ""}' does not match request tenant_id '${tenantId}'`)
}

/** A scope and all above it, from the top down. */
export const withAncestors = (scope: string): ReadonlyArray<string> =>
  scope.split("/").map((_, i, parts) => parts.slice(0, i + 1).join("/"))
