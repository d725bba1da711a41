/**
 * Policies: creation, changes and lists. `../policies.ts` applies them.
 *
 * @see Policy in the governance specification
 */
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import type { JsonResponse } from "../response.ts"
import { json } from "../response.ts"
import type { Context } from "../context.ts"
import type { Policy } from "../model.ts"
import * as Parse from "../parse.ts"
import { forbidden, ErrorResponse } from "../errorResponse.ts"
import * as Scopes from "../scopes.ts"
import type { Owner } from "./common.ts"
import {
  count,
  instant,
  iso,
  optionalIso,
  notBlank,
  page,
  tenantFor,
  queriedTenant,
  stringOfLength,
  ttl,
  utc,
  checkScopeFilter,
  optionalLiteral
} from "./common.ts"
import { checkActive, checkScopeNotClosed } from "./tenants.ts"

const statuses = ["ACTIVE", "DISABLED"] as const

const policyFields = {
  priority: Schema.optional(count(0)),
  caps: Schema.optional(
    Schema.Struct({
      max_tokens: Schema.optional(count(0)),
      max_steps_remaining: Schema.optional(count(0)),
      tool_allowlist: Schema.optional(Schema.Array(stringOfLength(0, 256))),
      tool_denylist: Schema.optional(Schema.Array(stringOfLength(0, 256))),
      cooldown_ms: Schema.optional(count(0))
    })
  ),
  commit_overage_policy: Schema.optional(OveragePolicy),
  reservation_ttl_override: Schema.optional(
    Schema.Struct({
      default_ttl_ms: Schema.optional(ttl),
      max_ttl_ms: Schema.optional(ttl),
      max_extensions: Schema.optional(count(0))
    })
  ),
  rate_limits: Schema.optional(
    Schema.Struct({
      max_reservations_per_minute: Schema.optional(count(1)),
      max_commits_per_minute: Schema.optional(count(1))
    })
  ),
  effective_from: instant,
  effective_until: instant
}

const parsePolicy = Parse.request(
  Schema.Struct({
    tenant_id: Schema.optional(Schema.String),
    name: notBlank(256),
    description: Schema.optional(stringOfLength(0, 1_024)),
    scope_pattern: notBlank(1_024),
    ...policyFields
  })
)

const parsePolicyPatch = Parse.request(
  Schema.Struct({
    name: Schema.optional(Schema.String),
    description: Schema.optional(Schema.String),
    status: Schema.optional(Schema.Literals(statuses)),
    ...policyFields
  })
)

/** `POST /v1/admin/policies` */
export const createPolicy = (context: Context, owner: Owner, body: object): JsonResponse => {
  const request = parsePolicy(body)
  const pattern = Scopes.parse("scope_pattern", request.scope_pattern, { wildcards: true })
  checkScopeFilter(owner, pattern)
  const tenantId = tenantFor(owner, request.tenant_id)
  Scopes.checkTenant(pattern, tenantId)
  checkActive(context, tenantId)
  const policy: Policy = {
    id: `pol_${context.makeId().slice(-16)}`,
    tenantId,
    name: request.name,
    scopePattern: pattern,
    status: "ACTIVE",
    createdAtMs: context.nowMs,
    updatedAtMs: undefined,
    ...mergePolicy(request, emptyPolicy)
  }
  context.store.policies.put(policy)
  return json(201, policyRow(policy))
}

/** `PATCH /v1/admin/policies/{id}` */
export const patchPolicy = (context: Context, owner: Owner, id: string, body: object): JsonResponse => {
  const request = parsePolicyPatch(body)
  const policy = context.store.policies.get(id)
  if (policy === undefined) throw new ErrorResponse(404, "NOT_FOUND", `Policy not found: ${id}`)
  checkScopeFilter(owner, policy.scopePattern)
  checkScopeNotClosed(context, policy.scopePattern)
  if (owner !== undefined && owner.tenantId !== policy.tenantId) throw forbidden("Policy does not belong to tenant")
  const after: Policy = {
    ...policy,
    name: request.name ?? policy.name,
    status: request.status ?? policy.status,
    updatedAtMs: context.nowMs,
    ...mergePolicy(request, policy)
  }
  context.store.policies.put(after)
  return json(200, policyRow(after))
}

/** `GET /v1/admin/policies` */
export const listPolicies = (context: Context, owner: Owner, query: URLSearchParams): JsonResponse => {
  const pattern = query.get("scope_pattern")
  checkScopeFilter(owner, pattern)
  const tenantId = queriedTenant(owner, query)
  const status = optionalLiteral(query, "status", statuses)
  const rows = Array.from(context.store.policies.ofOwner(tenantId)).filter(
    (policy) =>
      (pattern === null || policy.scopePattern === pattern) && (status === undefined || policy.status === status)
  )
  return page(query, rows, { name: "policies", id: (policy) => policy.id, row: policyRow })
}

type PolicyFields = Pick<
  Policy,
  | "description"
  | "priority"
  | "caps"
  | "overagePolicy"
  | "ttlOverride"
  | "rateLimits"
  | "effectiveFrom"
  | "effectiveUntil"
>

const emptyPolicy: PolicyFields = {
  description: undefined,
  priority: 0,
  caps: undefined,
  overagePolicy: undefined,
  ttlOverride: undefined,
  rateLimits: undefined,
  effectiveFrom: undefined,
  effectiveUntil: undefined
}

const mergePolicy = (
  request: Omit<ReturnType<typeof parsePolicy>, "name" | "scope_pattern" | "tenant_id">,
  before: PolicyFields
): PolicyFields => ({
  description: request.description ?? before.description,
  priority: request.priority ?? before.priority,
  caps: request.caps ?? before.caps,
  overagePolicy: request.commit_overage_policy ?? before.overagePolicy,
  ttlOverride:
    request.reservation_ttl_override === undefined
      ? before.ttlOverride
      : {
          defaultTtlMs: request.reservation_ttl_override.default_ttl_ms,
          maxTtlMs: request.reservation_ttl_override.max_ttl_ms,
          maxExtensions: request.reservation_ttl_override.max_extensions
        },
  rateLimits:
    request.rate_limits === undefined
      ? before.rateLimits
      : {
          maxReservationsPerMinute: request.rate_limits.max_reservations_per_minute,
          maxCommitsPerMinute: request.rate_limits.max_commits_per_minute
        },
  effectiveFrom: utc(request.effective_from) ?? before.effectiveFrom,
  effectiveUntil: utc(request.effective_until) ?? before.effectiveUntil
})

const policyRow = (policy: Policy): object => ({
  policy_id: policy.id,
  scope_pattern: policy.scopePattern,
  status: policy.status,
  created_at: iso(policy.createdAtMs),
  name: policy.name,
  description: policy.description,
  priority: policy.priority,
  caps: policy.caps,
  commit_overage_policy: policy.overagePolicy,
  reservation_ttl_override:
    policy.ttlOverride === undefined
      ? undefined
      : {
          default_ttl_ms: policy.ttlOverride.defaultTtlMs ?? null,
          max_ttl_ms: policy.ttlOverride.maxTtlMs ?? null,
          max_extensions: policy.ttlOverride.maxExtensions ?? null
        },
  rate_limits:
    policy.rateLimits === undefined
      ? undefined
      : {
          max_reservations_per_minute: policy.rateLimits.maxReservationsPerMinute ?? null,
          max_commits_per_minute: policy.rateLimits.maxCommitsPerMinute ?? null
        },
  effective_from: policy.effectiveFrom,
  effective_until: policy.effectiveUntil,
  updated_at: optionalIso(policy.updatedAtMs)
})
