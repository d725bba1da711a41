/**
 * The administrator's plane: what it refuses, in which order, and how it lists.
 */
import { describe, expect, it } from "@effect/vitest"
import type { World } from "./support/world.ts"
import { act, budget, make, spend, tokens } from "./support/world.ts"

const error = ({ body, status }: ReturnType<World["ask"]>): string => `${status} ${body["error"] ?? ""}`.trim()

const key = (world: World, more?: object): { readonly id: string; readonly secret: string } => {
  const { body } = world.admin("POST", "api-keys", {
    tenant_id: "acme",
    name: "k",
    expires_at: "2100-01-01T00:00:00Z",
    ...more
  })
  return { id: String(body["key_id"]), secret: String(body["key_secret"]) }
}

const made = (scope: string, more?: object): object => ({
  tenant_id: "acme",
  scope,
  unit: "TOKENS",
  allocated: tokens(10),
  ...more
})

const at = (scope: string): string => `scope=${scope}&unit=TOKENS`

const fund = (world: World, scope: string, operation: string, amount: number, more?: object) =>
  world.admin("POST", `budgets/fund?tenant_id=acme&${at(scope)}`, { operation, amount: tokens(amount), ...more })

/** A field of each row of a list. */
const column = (answer: ReturnType<World["ask"]>, list: string, field: string): ReadonlyArray<unknown> =>
  Array.from(Object(answer.body[list]), (row) => Object(row)[field])

describe("a scope", () => {
  it.each([
    ["tenant:acme/agent:a b", 400],
    ["tenant:acme/agent:-a", 400],
    ["tenant:acme/agent:a.", 400],
    ["tenant:acme/agent:a:b", 400],
    [`tenant:acme/agent:${"a".repeat(129)}`, 400],
    ["tenant:ACME", 400],
    ["Tenant:acme", 400],
    ["*", 400],
    ["tenant:acme/*", 400],
    ["tenant:acme/agent:A-1_b.c", 201],
    [`tenant:acme/agent:${"a".repeat(128)}`, 201]
  ])("%s of a budget is answered with %i", (scope, status) => {
    expect(make().admin("POST", "budgets", made(scope)).status).toBe(status)
  })

  it.each([
    ["tenant:*", 400],
    ["*", 400],
    ["tenant:acme/agent:*/toolset:t", 400],
    ["tenant:acme/*/toolset:t", 400],
    ["tenant:acme/agent:*", 201],
    ["tenant:acme/*", 201]
  ])("%s of a policy is answered with %i", (scope_pattern, status) => {
    const policy = { tenant_id: "acme", name: "p", scope_pattern }
    expect(make().admin("POST", "policies", policy).status).toBe(status)
  })
})

describe("budgets", () => {
  it("are made for a tenant that is active, and for no other", () => {
    const world = make()
    const status = (to: string) => world.admin("PATCH", "tenants/acme", { status: to })
    const create = () => error(world.admin("POST", "budgets", made("tenant:acme/agent:a")))
    status("SUSPENDED")
    expect(create()).toBe("400 INVALID_REQUEST")
    status("CLOSED")
    expect(create()).toBe("409 TENANT_CLOSED")
  })

  it("lose the mark of an old cut by any change, since there is no debt", () => {
    const world = make()
    budget(world, "agent:a", 10)
    world.ask("events", spend("e", 20, undefined, { agent: "a" }))
    const reserve = () => error(world.ask("reservations", act(`r${Math.random()}`, 0, undefined, { agent: "a" })))
    expect(reserve()).toBe("409 OVERDRAFT_LIMIT_EXCEEDED")
    const patched = world.admin("PATCH", `budgets?${at("tenant:acme/agent:a")}`, { commit_overage_policy: "REJECT" })
    expect([patched.status, patched.body["is_over_limit"]]).toEqual([200, false])
    expect(reserve()).toBe("200")
  })

  it("of a closed tenant are not changed", () => {
    const world = make()
    world.admin("PATCH", "tenants/acme", { status: "CLOSED" })
    for (const [method, path] of [
      ["PATCH", "budgets?"],
      ["POST", "budgets/freeze?"],
      ["POST", "budgets/unfreeze?"]
    ] as const) {
      expect(error(world.admin(method, path + at("tenant:acme"), {}))).toBe("409 TENANT_CLOSED")
    }
    expect(error(fund(world, "tenant:acme", "CREDIT", 1))).toBe("409 TENANT_CLOSED")
  })

  it("are frozen with a reason or none, and with nothing else", () => {
    const world = make()
    const freeze = (body?: object) => world.admin("POST", `budgets/freeze?${at("tenant:acme")}`, body)
    expect(error(freeze({ colour: "red" }))).toBe("400 INVALID_REQUEST")
    expect(error(freeze({ reason: "r".repeat(513) }))).toBe("400 INVALID_REQUEST")
    expect(freeze().body["status"]).toBe("FROZEN")
    expect(error(freeze())).toBe("409 INVALID_REQUEST")
    expect(error(world.admin("PATCH", `budgets?${at("tenant:acme")}`, { overdraft_limit: tokens(1) }))).toBe("200")
  })

  it("are funded once a key, whatever has become of the budget", () => {
    const world = make()
    budget(world, "agent:a", 10)
    const credit = (scope: string) => fund(world, scope, "CREDIT", 1, { idempotency_key: "k" })
    expect(error(credit("tenant:acme/agent:none"))).toBe("404 BUDGET_NOT_FOUND")
    const first = credit("tenant:acme/agent:a")
    world.admin("POST", `budgets/freeze?${at("tenant:acme/agent:a")}`)
    expect(credit("tenant:acme/agent:a")).toEqual(first)
    expect(credit("tenant:acme/agent:none")).toEqual(first)
    expect(world.books("agent:a")).toMatchObject({ allocated: 11n })
  })

  it("are asked for their unit before they are looked for", () => {
    const world = make()
    const wrong = { unit: "CREDITS", amount: 1 }
    const none = at("tenant:acme/agent:none")
    const credit = { operation: "CREDIT", amount: wrong }
    expect(error(world.admin("POST", `budgets/fund?tenant_id=acme&${none}`, credit))).toBe("400 UNIT_MISMATCH")
    expect(error(world.admin("PATCH", `budgets?${none}`, { overdraft_limit: wrong }))).toBe("400 UNIT_MISMATCH")
    expect(error(fund(world, "tenant:acme", "RESET_SPENT", 1, { spent: wrong }))).toBe("400 UNIT_MISMATCH")
    expect(error(world.admin("POST", "budgets", made("nonsense", { allocated: wrong })))).toBe("400 UNIT_MISMATCH")
    const euros = { unit: "EUR", amount: 1 }
    expect(error(world.admin("POST", "budgets", made("tenant:acme/app:a", { allocated: euros })))).toBe(
      "400 INVALID_REQUEST"
    )
  })

  it("are listed the most used first, or as asked, and filtered", () => {
    const world = make()
    for (const [name, allocated, limit, spent] of [
      ["a", 10, 0, 1],
      ["b", 10, 5, 12],
      ["c", 10, 0, 20],
      ["d", 0, 0, 0]
    ] as const) {
      budget(world, `agent:${name}`, allocated, limit)
      const policy = { overage_policy: "ALLOW_WITH_OVERDRAFT" }
      world.ask("events", spend(name, spent, policy, { agent: name }))
    }
    const list = (query: string) => {
      const answer = world.admin("GET", `budgets?tenant_id=acme&scope_prefix=tenant:acme/agent:&${query}`)
      return answer.status === 200
        ? column(answer, "ledgers", "scope").map((scope) => String(scope).slice(-1))
        : answer.status
    }
    expect(list("utilization_min=0.1&utilization_max=0.2")).toEqual(["a"])
    expect(list("utilization_min=1&sort_by=scope")).toEqual(["c", "b"])
    expect(list("sort_dir=asc&utilization_max=0.5")).toEqual(["d", "a"])
    expect(list("has_debt=true")).toEqual(["b"])
    expect(list("over_limit=yes")).toEqual(["c"])
    expect(list("search=AGENT:D")).toEqual(["d"])
    expect(list("sort_by=debt&limit=1")).toEqual(["b"])
    expect(list("sort_by=scope&sort_dir=ASC&status=&unit=")).toEqual(["a", "b", "c", "d"])
    const refused = ["sort_by=name", "sort_dir=up", "sort_dir=", "status=GONE", "utilization_min=2", "over_limit=maybe"]
    expect(refused.map(list)).toEqual(refused.map(() => 400))
    expect(list("utilization_min=0.6&utilization_max=0.5")).toEqual(400)
  })

  it("are listed in pages of 1 to 100, whose cursor is the last row", () => {
    const world = make()
    for (const name of ["a", "b", "c"]) budget(world, `agent:${name}`, 10)
    const list = (query: string) => world.admin("GET", `budgets?tenant_id=acme&sort_by=scope&sort_dir=asc&${query}`)
    const first = list("limit=2")
    expect(column(first, "ledgers", "scope")).toEqual(["tenant:acme", "tenant:acme/agent:a"])
    expect(first.body["next_cursor"]).toBe(column(first, "ledgers", "ledger_id")[1])
    const second = list(`limit=2&cursor=${String(first.body["next_cursor"])}`)
    expect(column(second, "ledgers", "scope")).toEqual(["tenant:acme/agent:b", "tenant:acme/agent:c"])
    expect([second.body["has_more"], second.body["next_cursor"]]).toEqual([false, undefined])
    expect([list("limit=0"), list("limit=-1")].map((answer) => column(answer, "ledgers", "scope").length)).toEqual([
      1, 1
    ])
    expect([list("limit=1000").status, list("limit=").status]).toEqual([200, 200])
    expect([list("limit=x").status, list("cursor=nonsense").status]).toEqual([400, 400])
  })

  it("are looked up, listed and made by a tenant's key within its scope filter", () => {
    const world = make()
    budget(world, "workspace:eng", 10)
    world.admin("POST", "tenants", { tenant_id: "other", name: "other" })
    world.admin("POST", "budgets", { ...made("tenant:other"), tenant_id: "other" })
    const { secret } = key(world, { permissions: ["admin:read", "admin:write"], scope_filter: ["workspace:eng"] })
    const ask = (path: string, body?: object) => error(world.ask(`admin/${path}`, body, secret))
    expect(ask(`budgets/lookup?${at("tenant:acme/workspace:eng")}`)).toBe("200")
    expect(ask(`budgets/lookup?${at("tenant:acme")}`)).toBe("403 FORBIDDEN")
    expect(ask("budgets?scope_prefix=tenant:acme/workspace:eng")).toBe("200")
    expect(ask("budgets?scope_prefix=tenant:acme")).toBe("403 FORBIDDEN")
    const { tenant_id: _, ...own } = { tenant_id: "", ...made("tenant:acme/workspace:eng/agent:a") }
    expect(ask("budgets", own)).toBe("201")
    expect(ask("budgets", { ...own, scope: "tenant:acme/workspace:hr" })).toBe("403 FORBIDDEN")
    const credit = { operation: "CREDIT", amount: tokens(1) }
    expect(ask(`budgets/fund?${at("tenant:acme/workspace:eng")}`, credit)).toBe("200")
    expect(ask(`budgets/fund?${at("tenant:acme")}`, credit)).toBe("403 FORBIDDEN")
    const wide = key(world, { permissions: ["budgets:read"] }).secret
    expect(error(world.ask(`admin/budgets/lookup?${at("tenant:other")}`, undefined, wide))).toBe("403 FORBIDDEN")
  })
})

describe("tenants", () => {
  it("keep labels of text, and take no other", () => {
    const world = make()
    const create = (more: object) => world.admin("POST", "tenants", { tenant_id: "new", name: "n", ...more })
    expect(create({ metadata: { a: { b: 1 } } }).status).toBe(400)
    expect(create({ metadata: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, "x"])) }).status).toBe(400)
    expect(create({ reservation_expiry_policy: "NEVER" }).status).toBe(400)
    expect(create({ name: " " }).status).toBe(400)
    expect(create({ max_reservation_extensions: 2_147_483_648 }).status).toBe(400)
    const { body, status } = create({ metadata: { a: 1, b: true }, reservation_expiry_policy: "GRACE_ONLY" })
    expect([status, body["metadata"], body["reservation_expiry_policy"]]).toEqual([
      201,
      { a: "1", b: "true" },
      "GRACE_ONLY"
    ])
    expect(world.admin("PATCH", "tenants/new", { reservation_expiry_policy: "GRACE_ONLY" }).status).toBe(400)
    expect(world.admin("PATCH", "tenants/new", { name: "" }).body["name"]).toBe("")
  })

  it("say when they were suspended last, and are closed once", () => {
    const world = make()
    const patch = (body: object) => {
      world.nowMs += 1_000
      return world.admin("PATCH", "tenants/acme", body)
    }
    const first = patch({ status: "SUSPENDED" })
    const second = patch({ status: "SUSPENDED" })
    expect(second.body["suspended_at"]).not.toBe(first.body["suspended_at"])
    expect(second.body["suspended_at"]).toBe(second.body["updated_at"])
    const closed = patch({ status: "CLOSED" })
    expect(patch({ status: "CLOSED", name: "again" })).toEqual(closed)
    expect(error(patch({ status: "SUSPENDED" }))).toBe("400 INVALID_REQUEST")
    expect(patch({ name: "still" }).body).toMatchObject({ name: "still", closed_at: closed.body["closed_at"] })
  })

  it("are listed the newest first, or as asked, and by status, parent and text", () => {
    const world = make()
    for (const [id, parent] of [
      ["t-a", undefined],
      ["t-b", "acme"],
      ["t-c", "acme"]
    ]) {
      world.admin("POST", "tenants", { tenant_id: id, name: "same", parent_tenant_id: parent })
    }
    world.admin("PATCH", "tenants/t-c", { status: "SUSPENDED" })
    const list = (query: string) => {
      const answer = world.admin("GET", `tenants?${query}`)
      return answer.status === 200 ? column(answer, "tenants", "tenant_id") : answer.status
    }
    expect(list("")).toEqual(["t-c", "t-b", "t-a", "acme"])
    expect(list("sort_by=name")).toEqual(["t-a", "t-b", "t-c", "acme"])
    expect(list("sort_dir=asc&limit=1&cursor=t-a")).toEqual(["t-b"])
    expect(list("status=SUSPENDED")).toEqual(["t-c"])
    expect(list("parent_tenant_id=acme")).toEqual(["t-c", "t-b"])
    expect(list("search=T-")).toEqual(["t-c", "t-b", "t-a"])
    expect([list("status=GONE"), list("sort_by=id"), list(`search=${"x".repeat(129)}`)]).toEqual([400, 400, 400])
  })
})

describe("keys", () => {
  it("have the permissions that they are given, be it none, and the usual ones where nothing is said", () => {
    const world = make()
    const { body } = world.admin("POST", "api-keys", {
      tenant_id: "acme",
      name: "none",
      permissions: [],
      expires_at: "2100-01-01T01:00:00.000+01:00"
    })
    expect([body["permissions"], body["expires_at"]]).toEqual([[], "2100-01-01T00:00:00Z"])
    expect(error(world.ask("balances?tenant=acme", undefined, String(body["key_secret"])))).toBe("403 FORBIDDEN")
    for (const permission of ["admin:overage:read", "admin:events:write", "admin:audit:write"]) {
      expect(world.admin("POST", "api-keys", { tenant_id: "acme", name: "k", permissions: [permission] }).status).toBe(
        400
      )
    }
  })

  it("past their end are refused, and still listed as active", () => {
    const world = make()
    const { id, secret } = key(world, { expires_at: new Date(world.nowMs + 1_000).toISOString(), name: "short" })
    world.nowMs += 2_000
    expect(error(world.ask("balances?tenant=acme", undefined, secret))).toBe("401 UNAUTHORIZED")
    expect(column(world.admin("GET", "api-keys?search=SHORT"), "keys", "status")).toEqual(["ACTIVE"])
    expect(world.admin("PATCH", `api-keys/${id}`, { name: "" }).status).toBe(200)
    expect(world.admin("POST", "api-keys/nothing", {}).status).toBe(405)
  })

  it("are revoked once, for a reason or none, and not changed afterwards", () => {
    const world = make()
    const { id } = key(world)
    expect(world.admin("DELETE", `api-keys/${id}?reason=`).body).not.toHaveProperty("revoked_reason")
    expect(error(world.admin("DELETE", `api-keys/${id}`))).toBe("409 KEY_REVOKED")
    expect(error(world.admin("PATCH", `api-keys/${id}`, { name: "n" }))).toBe("409 INVALID_REQUEST")
    expect(column(world.admin("GET", "api-keys?status=REVOKED"), "keys", "key_id")).toEqual([id])
  })

  it("of a closed tenant have ended for that reason, and are not changed", () => {
    const world = make()
    const { id } = key(world)
    world.admin("PATCH", "tenants/acme", { status: "CLOSED" })
    expect(new Set(column(world.admin("GET", "api-keys?tenant_id=acme"), "keys", "revoked_reason"))).toEqual(
      new Set(["tenant_closed"])
    )
    expect(error(world.admin("DELETE", `api-keys/${id}`))).toBe("409 TENANT_CLOSED")
    expect(error(world.admin("PATCH", `api-keys/${id}`, { name: "n" }))).toBe("409 TENANT_CLOSED")
    const create = { tenant_id: "acme", name: "k", permissions: ["nonsense"] }
    expect(error(world.admin("POST", "api-keys", create))).toBe("409 TENANT_CLOSED")
  })

  it("that are mistyped are told from those that nobody has", () => {
    const world = make()
    const { id, secret } = key(world)
    const validate = (text: string) =>
      world.send("POST", "auth/validate", { "x-admin-api-key": "K" }, { key_secret: text }).body
    expect(validate(`${secret}x`)).toEqual({ valid: false, tenant_id: "acme", reason: "INVALID_KEY" })
    expect(validate("cyc_live_")).toEqual({ valid: false, tenant_id: "", reason: "KEY_NOT_FOUND" })
    world.admin("DELETE", `api-keys/${id}`)
    expect(validate(`${secret}x`)).toEqual({ valid: false, tenant_id: "acme", reason: "KEY_REVOKED" })
    expect(validate(" ")["error"]).toBe("INVALID_REQUEST")
  })

  it("are listed the newest first, over pages, for one tenant or all", () => {
    const world = make()
    const ids = [key(world).id, key(world).id]
    const list = (query: string) => world.admin("GET", `api-keys?limit=1&${query}`)
    const first = list("tenant_id=acme")
    expect([column(first, "keys", "key_id"), first.body["next_cursor"]]).toEqual([[ids[1]], ids[1]])
    expect(column(list(`tenant_id=acme&cursor=${ids[1]}`), "keys", "key_id")).toEqual([ids[0]])
    const all = list("").body["next_cursor"]
    expect(all).toBe(`acme|${ids[1]}`)
    expect(column(list(`cursor=${encodeURIComponent(String(all))}`), "keys", "key_id")).toEqual([ids[0]])
  })
})

describe("policies", () => {
  const policy = { name: "p", scope_pattern: "tenant:acme/agent:a" }

  it("are made and changed by the tenant's own key, and nobody else's", () => {
    const world = make()
    const { secret } = key(world, { permissions: ["policies:read", "policies:write"] })
    const create = (body: object) => world.ask("admin/policies", body, secret)
    expect(error(create({ ...policy, tenant_id: "acme" }))).toBe("400 INVALID_REQUEST")
    const id = String(create(policy).body["policy_id"])
    const patch = (apiKey: string) =>
      error(world.send("PATCH", `admin/policies/${id}`, { "x-cycles-api-key": apiKey }, { priority: 3 }))
    expect(patch(secret)).toBe("200")
    expect(patch(key(world).secret)).toBe("403 INSUFFICIENT_PERMISSIONS")
    world.admin("POST", "tenants", { tenant_id: "other", name: "other" })
    expect(patch(key(world, { tenant_id: "other", permissions: ["policies:write"] }).secret)).toBe("403 FORBIDDEN")
  })

  it("are listed for one tenant, by pattern and status", () => {
    const world = make()
    const ids = ["a", "b"].map((name) =>
      String(
        world.admin("POST", "policies", {
          ...policy,
          tenant_id: "acme",
          scope_pattern: `tenant:acme/agent:${name}`,
          effective_until: "2100-01-01T00:00:00.500Z"
        }).body["policy_id"]
      )
    )
    world.admin("PATCH", `policies/${ids[1]}`, { status: "DISABLED" })
    const list = (query: string) => world.admin("GET", `policies?tenant_id=acme&${query}`)
    expect(column(list("status=DISABLED"), "policies", "policy_id")).toEqual([ids[1]])
    expect(column(list("scope_pattern=tenant:acme/agent:a"), "policies", "policy_id")).toEqual([ids[0]])
    expect(column(list(""), "policies", "effective_until")).toEqual(Array(2).fill("2100-01-01T00:00:00.500Z"))
    expect(world.admin("GET", "policies").status).toBe(400)
  })
})

describe("the administrator's plane", () => {
  it("names the methods of a path to anybody, and tells nobody else what is there", () => {
    const world = make()
    const ask = (method: string, path: string) => world.send(method, path, {})
    expect(ask("DELETE", "admin/tenants")).toMatchObject({ status: 405, headers: { allow: "POST,GET" } })
    expect(ask("OPTIONS", "admin/tenants")).toMatchObject({
      status: 200,
      headers: { allow: "POST,GET,HEAD,OPTIONS" }
    })
    expect(ask("GET", "auth/validate").status).toBe(405)
    expect(ask("GET", "admin/tenants").status).toBe(401)
  })

  it("reads JSON alone, by the name that it is given", () => {
    const world = make()
    const create = (type: string) =>
      world.send(
        "POST",
        "admin/tenants",
        { "x-admin-api-key": "K", "content-type": type },
        { tenant_id: "t-a", name: "n" }
      )
    expect(["", "text/plain"].map((type) => error(create(type)))).toEqual(Array(2).fill("415 INVALID_REQUEST"))
    expect(create("application/json;charset=utf-8").status).toBe(201)
  })

  it("takes no capital digits in a trace, which the runtime plane takes", () => {
    const world = make()
    const digits = "0123456789ABCDEF0123456789ABCDEF"
    const traced = (path: string, headers: Record<string, string>) =>
      world.send("GET", path, headers).headers["x-cycles-trace-id"]
    const parent = { traceparent: `00-${digits}-0123456789ABCDEF-01` }
    const own = { "x-cycles-trace-id": digits }
    expect([traced("balances", parent), traced("balances", own)]).toEqual(Array(2).fill(digits.toLowerCase()))
    for (const headers of [parent, own]) {
      expect(traced("admin/tenants", headers)).toMatch(/^[0-9a-f]{32}$/)
      expect(traced("admin/tenants", headers)).not.toBe(digits.toLowerCase())
    }
  })
})
