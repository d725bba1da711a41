/** Makes requests of steps, with the ids and keys of one server. */
import { choose, mutate } from "../fuzz/json.ts"
import type { Rendered, Step } from "./step.ts"
import { plainStep } from "./step.ts"

/** The objects of one server that steps refer to, in the order of their creation. */
export interface Known {
  readonly adminKey: string
  /** The ids of tenants, the same on every server. */
  readonly tenants: ReadonlyArray<string>
  readonly keys: Array<{ readonly id: string; readonly secret: string }>
  readonly reservations: Array<string>
  readonly policies: Array<string>
}

/** Starts with nothing but the ids that tenants will have. */
export const makeKnown = (adminKey: string, run: string): Known => ({
  adminKey,
  tenants: [`acme-${run}`, `globex-${run}`],
  keys: [],
  reservations: [],
  policies: []
})

const units = ["TOKENS", "TOKENS", "TOKENS", "USD_MICROCENTS", "CREDITS", "RISK_POINTS"]

const amounts = [100, 1, 0, 42, 1_000, 10_000, 5_000, 9_223_372_036_854_775_807n, 9_007_199_254_740_993n, -1, 1_000_000]

const subjects: ReadonlyArray<Readonly<Record<string, unknown>>> = [
  {},
  { agent: "planner" },
  { workspace: "eng", app: "chat" },
  { workspace: "eng" },
  { agent: "planner", dimensions: { team: "a" } },
  { toolset: "search", workflow: "w" }
]

const scopes = ["", "/agent:planner", "/workspace:eng/app:chat", "/workspace:eng", "/toolset:search", "/agent:*"]

const names = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "é", "a b", ""]

const policies = ["ALLOW_IF_AVAILABLE", "REJECT", "ALLOW_WITH_OVERDRAFT", undefined]

const metadata = [undefined, undefined, { a: 1 }, { a: { b: ["c", null, 1.5, 9_007_199_254_740_993n] } }]

/** Makes the request of a step. */
export const render = (step: Step, known: Known): Rendered => {
  const { body, ...request } = partsOf(step, known)
  const text = body === undefined ? undefined : mutate(body, step.isMutated ? step.mutations : [])
  return {
    ...request,
    headers: {
      ...authOf(step, request.plane, known),
      ...(text === undefined ? undefined : { "content-type": "application/json" })
    },
    body: text
  }
}

const authOf = ({ variant }: Step, plane: Rendered["plane"], known: Known): Readonly<Record<string, string>> => {
  const key = { "x-cycles-api-key": known.keys.length === 0 ? "none" : choose(known.keys, variant % 10).secret }
  const admin = { "x-admin-api-key": known.adminKey }
  // One in ten requests has the wrong kind of key.
  if (variant === 58) return {}
  if (variant === 59) return { ...key, ...admin }
  if (variant >= 54) return plane === "admin" ? key : admin
  return plane === "admin" ? admin : key
}

type Parts = Omit<Rendered, "body" | "headers"> & { readonly body?: object }

const partsOf = (step: Step, known: Known): Parts => {
  const { key, operation, scope, target, variant } = step
  const tenant = choose(known.tenants, variant % 7 === 6 ? 1 : 0)
  const unit = choose(units, step.amount)
  const amount = { unit, amount: choose(amounts, step.amount) }
  const subject = { tenant, ...choose(subjects, scope) }
  const path = `tenant:${tenant}${choose(scopes, scope)}`
  const name = choose(names, key)
  const action = { kind: "llm.completion", name: choose(["openai:gpt-5", "x", "tool:search"], key) }
  const overage = choose(policies, variant)
  const extra = choose(metadata, variant)
  const reservation = known.reservations.length === 0 ? "none" : choose(known.reservations, target)
  const policy = known.policies.length === 0 ? "none" : choose(known.policies, target)
  const apiKey = known.keys.length === 0 ? { id: "none", secret: "none" } : choose(known.keys, target)
  const query = `scope=${encodeURIComponent(path)}&unit=${unit}`
  const runtime = (path: string, body?: object): Parts =>
    body === undefined
      ? { plane: "runtime", method: "GET", path: `/v1/${path}` }
      : { plane: "runtime", method: "POST", path: `/v1/${path}`, body }
  const admin = (method: Rendered["method"], path: string, body?: object): Parts => ({
    plane: "admin",
    method,
    path: `/v1/admin/${path}`,
    ...(body === undefined ? undefined : { body })
  })
  const list = `limit=${choose([1, 2, 50, 0, 1_000], variant)}`
  const reserve = { idempotency_key: name, subject, action, estimate: amount, metadata: extra }
  switch (operation) {
    case "reserve":
      return runtime("reservations", {
        ...reserve,
        ttl_ms: choose([60_000, 3_600_000, undefined, 86_400_000], target),
        grace_period_ms: choose([undefined, 0, 60_000], target),
        overage_policy: overage,
        dry_run: variant % 11 === 0 ? true : undefined
      })
    case "commit":
      return runtime(`reservations/${encodeURIComponent(reservation)}/commit`, {
        idempotency_key: `c-${name}`,
        actual: amount,
        metrics: variant % 3 === 0 ? { tokens_input: 1, custom: { a: variant } } : undefined,
        metadata: extra
      })
    case "release":
      return runtime(`reservations/${encodeURIComponent(reservation)}/release`, {
        idempotency_key: `r-${name}`,
        reason: name
      })
    case "extend":
      return runtime(`reservations/${encodeURIComponent(reservation)}/extend`, {
        idempotency_key: `e-${name}`,
        extend_by_ms: choose([60_000, 1, 86_400_000, 0], variant)
      })
    case "decide":
      return runtime("decide", reserve)
    case "event":
      return runtime("events", {
        idempotency_key: `v-${name}`,
        subject,
        action,
        actual: amount,
        overage_policy: overage
      })
    case "getReservation":
      return runtime(`reservations/${encodeURIComponent(reservation)}`)
    case "listReservations":
      return runtime(`reservations?sort_by=created_at_ms&sort_dir=${choose(["asc", "desc", "up"], target)}&${list}`)
    case "balances":
      return runtime(`balances?tenant=${tenant}&${list}${variant % 2 === 0 ? "&include_children=true" : ""}`)
    case "createTenant":
      return admin("POST", "tenants", {
        tenant_id: choose(known.tenants, target),
        name: name,
        default_commit_overage_policy: overage,
        max_reservation_ttl_ms: variant % 5 === 0 ? 3_600_000 : undefined,
        max_reservation_extensions: variant % 4 === 0 ? 1 : undefined,
        metadata: variant % 3 === 0 ? { a: "b" } : undefined
      })
    case "getTenant":
      return admin("GET", `tenants/${tenant}`)
    case "patchTenant":
      return admin("PATCH", `tenants/${tenant}`, {
        name,
        status: choose([undefined, undefined, "SUSPENDED", "ACTIVE", "CLOSED"], variant),
        default_commit_overage_policy: overage
      })
    case "listTenants":
      return admin("GET", `tenants?search=${tenant}&${list}`)
    case "createKey":
      return admin("POST", "api-keys", {
        tenant_id: tenant,
        name,
        permissions: choose([undefined, undefined, ["reservations:create", "balances:read"], ["nope"], []], variant),
        scope_filter: choose([undefined, undefined, ["agent:planner"], ["workspace:eng"]], target)
      })
    case "patchKey":
      return admin("PATCH", `api-keys/${apiKey.id}`, { name, description: "d", scope_filter: [] })
    case "revokeKey":
      return admin("DELETE", `api-keys/${apiKey.id}?reason=r`)
    case "listKeys":
      return admin("GET", `api-keys?tenant_id=${tenant}&${list}`)
    case "validateKey":
      return { plane: "admin", method: "POST", path: "/v1/auth/validate", body: { key_secret: apiKey.secret } }
    case "introspect":
      return { plane: "admin", method: "GET", path: "/v1/auth/introspect" }
    case "createBudget":
      return admin("POST", "budgets", {
        tenant_id: tenant,
        scope: path,
        unit,
        allocated: { unit, amount: choose([10_000, 1_000_000, 100, 0], target) },
        overdraft_limit: variant % 3 === 0 ? { unit, amount: 500 } : undefined,
        commit_overage_policy: overage
      })
    case "listBudgets":
      return admin("GET", `budgets?tenant_id=${tenant}&${list}`)
    case "lookUpBudget":
      return admin("GET", `budgets/lookup?${query}`)
    case "patchBudget":
      return admin("PATCH", `budgets?${query}`, {
        overdraft_limit: { unit, amount: 100 },
        commit_overage_policy: overage
      })
    case "fund":
      return admin("POST", `budgets/fund?${query}&tenant_id=${tenant}`, {
        operation: choose(["CREDIT", "DEBIT", "RESET", "REPAY_DEBT", "RESET_SPENT", "NOPE"], variant),
        amount,
        idempotency_key: variant % 2 === 0 ? `f-${name}` : undefined,
        reason: "r"
      })
    case "freeze":
      return admin("POST", `budgets/freeze?${query}`, { reason: "r" })
    case "unfreeze":
      return admin("POST", `budgets/unfreeze?${query}`)
    case "createPolicy":
      return admin("POST", "policies", {
        tenant_id: tenant,
        name,
        scope_pattern: path,
        priority: target,
        caps: variant % 2 === 0 ? { max_tokens: 10, tool_denylist: ["x"] } : undefined,
        commit_overage_policy: overage,
        rate_limits: variant % 5 === 0 ? { max_reservations_per_minute: 3 } : undefined,
        reservation_ttl_override: variant % 7 === 0 ? { max_ttl_ms: 60_000, max_extensions: 1 } : undefined
      })
    case "patchPolicy":
      return admin("PATCH", `policies/${policy}`, {
        status: choose(["ACTIVE", "DISABLED", "NOPE"], variant),
        priority: 1
      })
    case "listPolicies":
      return admin("GET", `policies?tenant_id=${tenant}&${list}`)
    case "adminBalances":
      return { plane: "admin", method: "GET", path: `/v1/balances?tenant=${tenant}` }
    case "unknown":
      return choose<Parts>(
        [
          admin("GET", "nothing"),
          runtime("nothing"),
          { plane: "runtime", method: "DELETE", path: "/v1/reservations" },
          { plane: "runtime", method: "GET", path: "/v1/reservations/%zz" },
          { plane: "runtime", method: "GET", path: "/v1/reservations?limit=-1&cursor=%00" },
          { plane: "runtime", method: "GET", path: "//v1//reservations" },
          { plane: "admin", method: "PATCH", path: "/v1/admin/tenants/..%2f" },
          { plane: "runtime", method: "GET", path: "/actuator/health" }
        ],
        variant
      )
  }
}

/** Adds the objects that a response has created. */
export const learn = (known: Known, step: Step, status: number, body: unknown): void => {
  if (status !== 200 && status !== 201) return
  const field = (name: string): string | undefined => {
    const value: unknown = Object(body)[name]
    return typeof value === "string" ? value : undefined
  }
  if (step.operation === "reserve") {
    const id = field("reservation_id")
    if (id !== undefined && !known.reservations.includes(id)) known.reservations.push(id)
  }
  if (step.operation === "createKey") {
    const [id, secret] = [field("key_id"), field("key_secret")]
    if (id !== undefined && secret !== undefined) known.keys.push({ id, secret })
  }
  if (step.operation === "createPolicy") {
    const id = field("policy_id")
    if (id !== undefined) known.policies.push(id)
  }
}

/** The steps that every sequence starts with: a tenant with a key and a budget. */
export const preamble: ReadonlyArray<Step> = [
  plainStep("createTenant", { variant: 1 }),
  plainStep("createTenant", { target: 1, variant: 1 }),
  plainStep("createKey"),
  plainStep("createKey", { variant: 15 }),
  plainStep("createBudget", { variant: 1 })
]
