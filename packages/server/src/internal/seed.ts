/**
 * Fills a server with tenants, their API keys, budgets and policies.
 *
 * It uses the admin plane, so that options are validated like the requests of an administrator. Existing objects
 * are left unchanged, so that the same seed can be applied at every start of a server with a data file.
 */
import * as Json from "@effect-cycles/protocol/Json"
import type { Response, Server } from "./call.ts"
import * as Handler from "./handler.ts"
import { budgetId } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A budget to create. Its scope is relative to the tenant. */
export interface SeedBudget {
  readonly scope?: string | undefined
  readonly unit: string
  readonly allocated: number | bigint
  readonly overdraftLimit?: number | bigint | undefined
  readonly caps?: object | undefined
}

/** An API key to create. */
export interface SeedKey {
  /** Identifies the key within its tenant. */
  readonly name: string
  /** The secret. Default: a random one. */
  readonly secret?: string | undefined
  readonly permissions?: ReadonlyArray<string> | undefined
  readonly scopeFilter?: ReadonlyArray<string> | undefined
  readonly expiresAt?: string | undefined
}

/** A policy to create. Its scope pattern is relative to the tenant. */
export interface SeedPolicy {
  /** Identifies the policy within its tenant. */
  readonly name: string
  readonly scopePattern?: string | undefined
  readonly description?: string | undefined
  readonly priority?: number | undefined
  readonly caps?: object | undefined
  readonly commitOveragePolicy?: string | undefined
  readonly reservationTtl?:
    | {
        readonly defaultTtlMs?: number | undefined
        readonly maxTtlMs?: number | undefined
        readonly maxExtensions?: number | undefined
      }
    | undefined
  readonly rateLimits?:
    | {
        readonly maxReservationsPerMinute?: number | undefined
        readonly maxCommitsPerMinute?: number | undefined
      }
    | undefined
  readonly effectiveFrom?: string | undefined
  readonly effectiveUntil?: string | undefined
}

/** A tenant to create, with its keys, budgets and policies. */
export interface SeedTenant {
  readonly tenant: string
  readonly name?: string | undefined
  readonly keys?: ReadonlyArray<SeedKey> | undefined
  readonly budgets?: ReadonlyArray<SeedBudget> | undefined
  readonly policies?: ReadonlyArray<SeedPolicy> | undefined
}

/** An API key that was created. */
export interface CreatedKey {
  readonly tenant: string
  readonly name: string
  readonly secret: string
  /** Whether the server generated the secret. */
  readonly isGenerated: boolean
}

/** The objects that a seed created: the keys, and the number of the others. */
export interface Seeded {
  readonly tenants: number
  readonly keys: ReadonlyArray<CreatedKey>
  readonly budgets: number
  readonly policies: number
}

// ---------------------------------------------------------------------------------------------------------------------
// seed
// ---------------------------------------------------------------------------------------------------------------------

/** Creates a tenant with one key and its budgets, and returns the key. Throws a `RangeError` if the server rejects an option. */
export const seed = (server: Server, tenant: string, budgets: ReadonlyArray<SeedBudget>, nowMs: number): string => {
  const isRepeated = (budget: SeedBudget, i: number): boolean =>
    budgets.findIndex(
      (other) => other.unit === budget.unit && scopeOf(tenant, other.scope) === scopeOf(tenant, budget.scope)
    ) !== i
  const repeated = budgets.find(isRepeated)
  if (repeated !== undefined) {
    throw new RangeError(
      `The embedded server can't be created: two ${repeated.unit} budgets have the scope ${scopeOf(tenant, repeated.scope)}`
    )
  }
  const { keys } = seedTenants(server, [{ tenant, keys: [{ name: "embedded" }], budgets }], nowMs)
  return keys[0]?.secret ?? ""
}

/** Creates the missing objects. Throws a `RangeError` if the server rejects one. Some may then have been created. */
export const seedTenants = (server: Server, tenants: ReadonlyArray<SeedTenant>, nowMs: number): Seeded => {
  const created = { tenants: 0, budgets: 0, policies: 0 }
  const keys: Array<CreatedKey> = []
  for (const { budgets = [], keys: wanted = [], name, policies = [], tenant } of tenants) {
    if (server.store.tenants.get(tenant) === undefined) {
      create(server, nowMs, "tenants", { tenant_id: tenant, name: name ?? tenant }, `tenant ${tenant}`)
      created.tenants += 1
    }
    for (const key of wanted) {
      const secret = seedKey(server, tenant, key, nowMs)
      if (secret !== undefined) {
        keys.push({ tenant, name: key.name, secret, isGenerated: key.secret === undefined })
      }
    }
    for (const budget of budgets) if (seedBudget(server, tenant, budget, nowMs)) created.budgets += 1
    for (const policy of policies) if (seedPolicy(server, tenant, policy, nowMs)) created.policies += 1
  }
  return { ...created, keys }
}

/** Throws a `RangeError` if the seed contradicts an existing tenant or key. It changes nothing. */
export const checkSeed = (server: Server, tenants: ReadonlyArray<SeedTenant>): void => {
  for (const { keys = [], tenant } of tenants) {
    const status = server.store.tenants.get(tenant)?.status ?? "ACTIVE"
    if (status !== "ACTIVE") throw rejected(`tenant ${tenant}`, `it exists and is ${status}`)
    for (const key of keys) isExisting(server, tenant, key)
  }
}

/** The full scope of a budget, in lower case like all stored scopes. */
export const scopeOf = (tenant: string, scope: string | undefined): string => pathOf(tenant, scope).toLowerCase()

const pathOf = (tenant: string, scope: string | undefined): string =>
  scope === undefined || scope === "" ? `tenant:${tenant}` : `tenant:${tenant}/${scope}`

// ---------------------------------------------------------------------------------------------------------------------
// objects
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the tenant has a key of that name. Throws if its secret differs, or if another key has the secret. */
const isExisting = (server: Server, tenant: string, { name, secret }: SeedKey): boolean => {
  const what = nameOf(tenant, name)
  const sameSecret = secret === undefined ? undefined : server.store.keys.get(server.secrets.hash(secret))
  if (sameSecret !== undefined && (sameSecret.tenantId !== tenant || sameSecret.name !== name)) {
    throw rejected(what, `its secret belongs to the key ${sameSecret.name} of tenant ${sameSecret.tenantId}`)
  }
  for (const existing of server.store.keys.ofOwner(tenant)) {
    if (existing.name !== name) continue
    if (secret === undefined || sameSecret !== undefined) return true
    throw rejected(what, "it exists with another secret")
  }
  return false
}

const nameOf = (tenant: string, key: string): string => `key ${key} of tenant ${tenant}`

/** Creates a key and returns its secret, or returns `undefined` if the tenant has a key of that name. */
const seedKey = (server: Server, tenant: string, key: SeedKey, nowMs: number): string | undefined => {
  const { secret } = key
  if (isExisting(server, tenant, key)) return undefined
  const secrets = secret === undefined ? server.secrets : { ...server.secrets, make: () => secret }
  const body = create(
    { ...server, secrets },
    nowMs,
    "api-keys",
    {
      tenant_id: tenant,
      name: key.name,
      permissions: key.permissions,
      scope_filter: key.scopeFilter,
      expires_at: key.expiresAt
    },
    nameOf(tenant, key.name)
  )
  return String(body["key_secret"])
}

const seedBudget = (server: Server, tenant: string, budget: SeedBudget, nowMs: number): boolean => {
  const { allocated, caps, overdraftLimit, unit } = budget
  const scope = scopeOf(tenant, budget.scope)
  const id = budgetId(scope, unit)
  if (server.store.budgets.get(id) !== undefined) return false
  create(
    server,
    nowMs,
    "budgets",
    {
      tenant_id: tenant,
      scope,
      unit,
      allocated: { unit, amount: allocated },
      overdraft_limit: overdraftLimit === undefined ? undefined : { unit, amount: overdraftLimit }
    },
    `${unit} budget ${scope}`
  )
  // The admin plane has no field for the caps of a budget.
  const stored = server.store.budgets.get(id)
  if (caps !== undefined && stored !== undefined) server.store.budgets.put({ ...stored, caps })
  return true
}

const seedPolicy = (server: Server, tenant: string, policy: SeedPolicy, nowMs: number): boolean => {
  for (const existing of server.store.policies.ofOwner(tenant)) if (existing.name === policy.name) return false
  const { rateLimits, reservationTtl } = policy
  create(
    server,
    nowMs,
    "policies",
    {
      tenant_id: tenant,
      name: policy.name,
      scope_pattern: pathOf(tenant, policy.scopePattern),
      description: policy.description,
      priority: policy.priority,
      caps: policy.caps,
      commit_overage_policy: policy.commitOveragePolicy,
      reservation_ttl_override: reservationTtl && {
        default_ttl_ms: reservationTtl.defaultTtlMs,
        max_ttl_ms: reservationTtl.maxTtlMs,
        max_extensions: reservationTtl.maxExtensions
      },
      rate_limits: rateLimits && {
        max_reservations_per_minute: rateLimits.maxReservationsPerMinute,
        max_commits_per_minute: rateLimits.maxCommitsPerMinute
      },
      effective_from: policy.effectiveFrom,
      effective_until: policy.effectiveUntil
    },
    `policy ${policy.name} of tenant ${tenant}`
  )
  return true
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Creates an object through the admin plane, and returns the body of the response. */
const create = (
  server: Server,
  nowMs: number,
  path: string,
  body: object,
  what: string
): Readonly<Record<string, unknown>> => {
  const response: Response = Handler.handle(
    server,
    "admin",
    {
      method: "POST",
      url: `/v1/admin/${path}`,
      headers: { "x-admin-api-key": server.adminKey, "content-type": "application/json" },
      body: Json.stringify(body)
    },
    nowMs
  )
  const json: Readonly<Record<string, unknown>> = Object(JSON.parse(response.body))
  if (response.status >= 400) throw rejected(what, String(json["message"]))
  return json
}

const rejected = (what: string, problem: string): RangeError =>
  new RangeError(`The embedded server can't be created: ${what}: ${problem}`)
