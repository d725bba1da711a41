/**
 * Finds the policies that apply to a path, and applies their rate limits, the scope filters of API keys, and permissions.
 *
 * Each field of the effective policy comes from the matching policy with the highest priority that defines it.
 *
 * @see Policy, Permission and ApiKey in the governance specification
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Policy, TtlOverride } from "./model.ts"
import { ErrorResponse } from "./errorResponse.ts"
import type { Store } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The combination of all policies that apply to a path. */
export interface EffectivePolicy {
  readonly caps: unknown
  readonly overagePolicy: OveragePolicy | undefined
  readonly ttl: TtlOverride | undefined
  readonly reservations: Limit | undefined
  readonly commits: Limit | undefined
}

interface Limit {
  readonly policyId: string
  readonly perMinute: number
}

/** Counts calls by policy and minute, for rate limits. */
export interface Meter {
  readonly count: (key: string, minute: number) => number
}

/** Creates a meter that stores only the current minute. */
export const makeMeter = (): Meter => {
  let current = -1
  let counts = new Map<string, number>()
  return {
    count: (key, minute) => {
      if (minute !== current) {
        current = minute
        counts = new Map()
      }
      const next = (counts.get(key) ?? 0) + 1
      counts.set(key, next)
      return next
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// rules
// ---------------------------------------------------------------------------------------------------------------------

/** Combines the policies of a tenant that apply to a path. */
export const effectivePolicy = (
  context: { readonly store: Store; readonly nowMs: number },
  tenantId: string,
  scopes: ReadonlyArray<string>
): EffectivePolicy => {
  const policies: Array<Policy> = []
  for (const policy of context.store.policies.ofOwner(tenantId)) {
    if (isInForce(policy, context.nowMs) && scopes.some((scope) => matchesPattern(policy.scopePattern, scope)))
      policies.push(policy)
  }
  if (policies.length === 0) return noPolicy
  policies.sort((a, b) => b.priority - a.priority)
  return {
    caps: policies.find((policy) => policy.caps !== undefined)?.caps,
    overagePolicy: policies.find((policy) => policy.overagePolicy !== undefined)?.overagePolicy,
    ttl: policies.find((policy) => policy.ttlOverride !== undefined)?.ttlOverride,
    reservations: limitOf(policies, (policy) => policy.rateLimits?.maxReservationsPerMinute),
    commits: limitOf(policies, (policy) => policy.rateLimits?.maxCommitsPerMinute)
  }
}

/** Counts a call, and throws a 429 if it exceeds the rate limit. */
export const checkRateLimit = (
  context: { readonly nowMs: number; readonly meter: Meter },
  policy: EffectivePolicy,
  what: "reservations" | "commits"
): void => {
  const allowed = policy[what]
  if (allowed === undefined) return
  const minute = Math.floor(context.nowMs / 60_000)
  if (context.meter.count(`${allowed.policyId} ${what}`, minute) <= allowed.perMinute) return
  const endsAtSeconds = (minute + 1) * 60
  throw new ErrorResponse(429, "LIMIT_EXCEEDED", `More than ${allowed.perMinute} ${what} a minute`, {
    headers: {
      [Headers.RETRY_AFTER]: String(Math.max(1, Math.ceil(endsAtSeconds - context.nowMs / 1_000))),
      [Headers.RATE_LIMIT_REMAINING]: "0",
      [Headers.RATE_LIMIT_RESET]: String(endsAtSeconds)
    }
  })
}

/**
 * Whether a pattern matches a scope. `prefix/*` matches all scopes below the prefix, and `kind:*` any id. A pattern that does
 * not start with a tenant matches the end of a scope.
 */
export const matchesPattern = (pattern: string, scope: string): boolean => {
  // Stored scopes are in lower case.
  const patternParts = pattern.toLowerCase().split("/")
  const given = scope.split("/")
  const parts = patternParts[0]?.startsWith("tenant:") === true ? given : given.slice(-patternParts.length)
  return (
    patternParts.every((part, i) => {
      const actual = parts[i]
      if (actual === undefined) return false
      if (part === "*") return i === patternParts.length - 1
      return part.endsWith(":*") ? actual.startsWith(part.slice(0, -1)) : part === actual
    }) &&
    (patternParts[patternParts.length - 1] === "*" || parts.length === patternParts.length)
  )
}

/** Whether the scope filter of a key allows a path. An entry is a pattern, or segments anywhere in the path. */
export const scopeFilterAllows = (
  filter: ReadonlyArray<string> | undefined,
  scopes: ReadonlyArray<string>
): boolean => {
  if (filter === undefined || filter.length === 0) return true
  const path = scopes[scopes.length - 1] ?? ""
  return filter.some(
    (entry) => scopes.some((scope) => matchesPattern(entry, scope)) || `/${path}/`.includes(`/${entry.toLowerCase()}/`)
  )
}

/**
 * Whether permissions include another one. `admin:read` includes all that end in `:read`, `admin:write` all that end in
 * `:write`.
 */
export const hasPermission = (permissions: ReadonlyArray<string>, permission: string): boolean =>
  permissions.includes(permission) ||
  (permission.endsWith(":read") && permissions.includes("admin:read")) ||
  (permission.endsWith(":write") && permissions.includes("admin:write"))

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const noPolicy: EffectivePolicy = {
  caps: undefined,
  overagePolicy: undefined,
  ttl: undefined,
  reservations: undefined,
  commits: undefined
}

const isInForce = (policy: Policy, nowMs: number): boolean =>
  policy.status === "ACTIVE" &&
  (policy.effectiveFrom === undefined || Date.parse(policy.effectiveFrom) <= nowMs) &&
  (policy.effectiveUntil === undefined || nowMs < Date.parse(policy.effectiveUntil))

const limitOf = (
  policies: ReadonlyArray<Policy>,
  perMinute: (policy: Policy) => number | undefined
): Limit | undefined => {
  for (const policy of policies) {
    const limit = perMinute(policy)
    if (limit !== undefined) return { policyId: policy.id, perMinute: limit }
  }
  return undefined
}
