/**
 * Scopes of budgets and scope patterns of policies, such as `tenant:acme/workspace:eng`. Levels have a fixed order.
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Subject from "@effect-cycles/protocol/Subject"
import { invalidRequest } from "./errorResponse.ts"
import * as Parse from "./parse.ts"

/** Validates and returns a scope or a pattern. A pattern may end in `kind:*` (any id) or `/*` (all scopes below). */
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

/**
 * Throws unless an entry of the scope filter of a key is one segment, `kind:id` or `kind:*`. The reference server accepts any text
 * but never matches others, so that the key could do nothing there.
 */
export const checkFilterEntry = (entry: string): void => {
  const colon = entry.indexOf(":")
  const [kind, id] = [entry.slice(0, Math.max(0, colon)), entry.slice(colon + 1)]
  const levels: ReadonlyArray<string> = Subject.fields
  if (levels.includes(kind) && (id === "*" || (id.length <= Limits.maxSubjectValue && idPattern.test(id)))) return
  throw invalidRequest(
    `scope_filter entry '${Parse.shown(entry)}' must be one segment, '<kind>:<id>' or '<kind>:*', with a kind of ` +
      levels.join(", ")
  )
}

const idPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/

/** The tenant id at the start of a scope, in its original case. */
export const tenantOf = (scope: string): string | undefined => /^tenant:([^/]+)/.exec(scope)?.[1]

/** Throws unless the scope starts with the tenant. */
export const checkTenant = (scope: string, tenantId: string): void => {
  const tenant = tenantOf(scope)
  if (tenant !== tenantId)
    throw invalidRequest(`Scope tenant '${tenant ?? ""}' does not match request tenant_id '${tenantId}'`)
}

/** A scope and its ancestors, from the top down. */
export const withAncestors = (scope: string): ReadonlyArray<string> =>
  scope.split("/").map((_, i, parts) => parts.slice(0, i + 1).join("/"))
