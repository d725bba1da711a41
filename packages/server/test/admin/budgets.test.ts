/**
 * Budgets of the admin plane: creation, funding, freezing, lookup and lists.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  createBudget,
  createKey,
  errorOf,
  estimateBody,
  eventBody,
  fund,
  budgetBody,
  budgetQuery,
  columnOf,
  makeTestServer,
  tokens,
  uniqueKey
} from "../support/testServer.ts"

describe("budgets", () => {
  it("creates budgets only for active tenants", () => {
    const server = makeTestServer()
    const status = (to: string) => server.admin("PATCH", "tenants/acme", { status: to })
    const create = () => errorOf(server.admin("POST", "budgets", budgetBody("tenant:acme/agent:a")))
    status("SUSPENDED")
    expect(create()).toBe("400 INVALID_REQUEST")
    status("CLOSED")
    expect(create()).toBe("409 TENANT_CLOSED")
  })

  it("stores a period and a rollover policy without effect, and warns", () => {
    const warnings: Array<string> = []
    const server = makeTestServer(undefined, (message) => warnings.push(message))
    const create = (agent: string, more: object) =>
      server.admin("POST", "budgets", budgetBody(`tenant:acme/agent:${agent}`, more)).body
    const period = { period_start: "2023-01-01T00:00:00Z", period_end: "2023-02-01T00:00:00Z" }
    expect(create("a", { ...period, rollover_policy: "CARRY_FORWARD" })).toMatchObject(period)
    create("b", { rollover_policy: "CAP_AT_ALLOCATED" })
    create("c", { rollover_policy: "NONE" })
    expect(warnings).toEqual([
      expect.stringMatching(
        /^period_start and period_end and rollover_policy of the TOKENS budget .*agent:a have no effect/
      ),
      expect.stringMatching(/^rollover_policy of the TOKENS budget .*agent:b has no effect/)
    ])
    server.nowMs += 90 * 86_400_000
    const lookup = server.admin("GET", `budgets/lookup?${budgetQuery("tenant:acme/agent:a")}`).body
    expect(lookup).toMatchObject({ allocated: tokens(10), remaining: tokens(10), status: "ACTIVE" })
  })

  it("clears is_over_limit of a budget without debt on any patch", () => {
    const server = makeTestServer()
    createBudget(server, "agent:a", 10)
    server.request("events", eventBody("e", 20, undefined, { agent: "a" }))
    const reserve = () =>
      errorOf(server.request("reservations", estimateBody(uniqueKey("r"), 0, undefined, { agent: "a" })))
    expect(reserve()).toBe("409 OVERDRAFT_LIMIT_EXCEEDED")
    const patched = server.admin("PATCH", `budgets?${budgetQuery("tenant:acme/agent:a")}`, {
      commit_overage_policy: "REJECT"
    })
    expect([patched.status, patched.body["is_over_limit"]]).toEqual([200, false])
    expect(reserve()).toBe("200")
  })

  it("rejects changes to the budgets of a closed tenant", () => {
    const server = makeTestServer()
    server.admin("PATCH", "tenants/acme", { status: "CLOSED" })
    for (const [method, path] of [
      ["PATCH", "budgets?"],
      ["POST", "budgets/freeze?"],
      ["POST", "budgets/unfreeze?"]
    ] as const) {
      expect(errorOf(server.admin(method, path + budgetQuery("tenant:acme"), {}))).toBe("409 TENANT_CLOSED")
    }
    expect(errorOf(fund(server, "tenant:acme", "CREDIT", 1))).toBe("409 TENANT_CLOSED")
  })

  it("freezes with an optional reason, and rejects other fields", () => {
    const server = makeTestServer()
    const freeze = (body?: object) => server.admin("POST", `budgets/freeze?${budgetQuery("tenant:acme")}`, body)
    expect(errorOf(freeze({ colour: "red" }))).toBe("400 INVALID_REQUEST")
    expect(errorOf(freeze({ reason: "r".repeat(513) }))).toBe("400 INVALID_REQUEST")
    expect(freeze().body["status"]).toBe("FROZEN")
    expect(errorOf(freeze())).toBe("409 INVALID_REQUEST")
    expect(
      errorOf(server.admin("PATCH", `budgets?${budgetQuery("tenant:acme")}`, { overdraft_limit: tokens(1) }))
    ).toBe("200")
  })

  it("funds once per idempotency key, even after the budget was frozen", () => {
    const server = makeTestServer()
    createBudget(server, "agent:a", 10)
    const credit = (scope: string) => fund(server, scope, "CREDIT", 1, { idempotency_key: "k" })
    expect(errorOf(credit("tenant:acme/agent:none"))).toBe("404 BUDGET_NOT_FOUND")
    const first = credit("tenant:acme/agent:a")
    server.admin("POST", `budgets/freeze?${budgetQuery("tenant:acme/agent:a")}`)
    expect(credit("tenant:acme/agent:a")).toEqual(first)
    expect(credit("tenant:acme/agent:none")).toEqual(first)
    expect(server.ledger("agent:a")).toMatchObject({ allocated: 11n })
  })

  it("checks the unit before it looks up the budget", () => {
    const server = makeTestServer()
    const wrong = { unit: "CREDITS", amount: 1 }
    const none = budgetQuery("tenant:acme/agent:none")
    const credit = { operation: "CREDIT", amount: wrong }
    expect(errorOf(server.admin("POST", `budgets/fund?tenant_id=acme&${none}`, credit))).toBe("400 UNIT_MISMATCH")
    expect(errorOf(server.admin("PATCH", `budgets?${none}`, { overdraft_limit: wrong }))).toBe("400 UNIT_MISMATCH")
    expect(errorOf(fund(server, "tenant:acme", "RESET_SPENT", 1, { spent: wrong }))).toBe("400 UNIT_MISMATCH")
    expect(errorOf(server.admin("POST", "budgets", budgetBody("nonsense", { allocated: wrong })))).toBe(
      "400 UNIT_MISMATCH"
    )
    const euros = { unit: "EUR", amount: 1 }
    expect(errorOf(server.admin("POST", "budgets", budgetBody("tenant:acme/app:a", { allocated: euros })))).toBe(
      "400 INVALID_REQUEST"
    )
  })

  it("lists by utilization in descending order by default, with filters and other orders", () => {
    const server = makeTestServer()
    for (const [name, allocated, limit, spent] of [
      ["a", 10, 0, 1],
      ["b", 10, 5, 12],
      ["c", 10, 0, 20],
      ["d", 0, 0, 0]
    ] as const) {
      createBudget(server, `agent:${name}`, allocated, limit)
      const policy = { overage_policy: "ALLOW_WITH_OVERDRAFT" }
      server.request("events", eventBody(name, spent, policy, { agent: name }))
    }
    const list = (query: string) => {
      const response = server.admin("GET", `budgets?tenant_id=acme&scope_prefix=tenant:acme/agent:&${query}`)
      return response.status === 200
        ? columnOf(response, "ledgers", "scope").map((scope) => String(scope).slice(-1))
        : response.status
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

  it("lists pages of 1 to 100 rows whose cursor is the last row", () => {
    const server = makeTestServer()
    for (const name of ["a", "b", "c"]) createBudget(server, `agent:${name}`, 10)
    const list = (query: string) => server.admin("GET", `budgets?tenant_id=acme&sort_by=scope&sort_dir=asc&${query}`)
    const first = list("limit=2")
    expect(columnOf(first, "ledgers", "scope")).toEqual(["tenant:acme", "tenant:acme/agent:a"])
    expect(first.body["next_cursor"]).toBe(columnOf(first, "ledgers", "ledger_id")[1])
    const second = list(`limit=2&cursor=${String(first.body["next_cursor"])}`)
    expect(columnOf(second, "ledgers", "scope")).toEqual(["tenant:acme/agent:b", "tenant:acme/agent:c"])
    expect([second.body["has_more"], second.body["next_cursor"]]).toEqual([false, undefined])
    expect(
      [list("limit=0"), list("limit=-1")].map((response) => columnOf(response, "ledgers", "scope").length)
    ).toEqual([1, 1])
    expect([list("limit=1000").status, list("limit=").status]).toEqual([200, 200])
    expect([list("limit=x").status, list("cursor=nonsense").status]).toEqual([400, 400])
  })

  it("lets a tenant key look up, list and create budgets only within its scope filter", () => {
    const server = makeTestServer()
    createBudget(server, "workspace:eng", 10)
    server.admin("POST", "tenants", { tenant_id: "other", name: "other" })
    server.admin("POST", "budgets", { ...budgetBody("tenant:other"), tenant_id: "other" })
    const { secret } = createKey(server, {
      permissions: ["admin:read", "admin:write"],
      scope_filter: ["workspace:eng"]
    })
    const statusOf = (path: string, body?: object) => errorOf(server.request(`admin/${path}`, body, secret))
    expect(statusOf(`budgets/lookup?${budgetQuery("tenant:acme/workspace:eng")}`)).toBe("200")
    expect(statusOf(`budgets/lookup?${budgetQuery("tenant:acme")}`)).toBe("403 FORBIDDEN")
    expect(statusOf("budgets?scope_prefix=tenant:acme/workspace:eng")).toBe("200")
    expect(statusOf("budgets?scope_prefix=tenant:acme")).toBe("403 FORBIDDEN")
    const { tenant_id: _, ...own } = { tenant_id: "", ...budgetBody("tenant:acme/workspace:eng/agent:a") }
    expect(statusOf("budgets", own)).toBe("201")
    expect(statusOf("budgets", { ...own, scope: "tenant:acme/workspace:hr" })).toBe("403 FORBIDDEN")
    const credit = { operation: "CREDIT", amount: tokens(1) }
    expect(statusOf(`budgets/fund?${budgetQuery("tenant:acme/workspace:eng")}`, credit)).toBe("200")
    expect(statusOf(`budgets/fund?${budgetQuery("tenant:acme")}`, credit)).toBe("403 FORBIDDEN")
    const wide = createKey(server, { permissions: ["budgets:read"] }).secret
    expect(errorOf(server.request(`admin/budgets/lookup?${budgetQuery("tenant:other")}`, undefined, wide))).toBe(
      "403 FORBIDDEN"
    )
  })
})
