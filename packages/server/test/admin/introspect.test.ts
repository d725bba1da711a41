/**
 * What a credential may do, and the balances of the admin plane.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Handler from "../../src/internal/handler.ts"
import type { TestServer } from "../support/testServer.ts"
import { columnOf, createBudget, createKey, errorOf, makeTestServer } from "../support/testServer.ts"

const capabilitiesOf = (server: TestServer, headers: Readonly<Record<string, string>>) =>
  server.send("GET", "auth/introspect", headers).body

/** The names of the capabilities that are true. */
const granted = (body: { readonly [name: string]: unknown }): ReadonlyArray<string> =>
  Object.entries(Object(body["capabilities"])).flatMap(([name, isGranted]) => (isGranted === true ? [name] : []))

describe("introspect", () => {
  it("returns every capability for the admin key, and no tenant", () => {
    const body = capabilitiesOf(makeTestServer(), { "x-admin-api-key": "K" })
    expect(body).toEqual({
      authenticated: true,
      auth_type: "admin",
      permissions: ["*"],
      capabilities: expect.any(Object)
    })
    expect(granted(body)).toHaveLength(15)
  })

  it("derives the capabilities of a tenant's key from its permissions, without those of an administrator", () => {
    const server = makeTestServer()
    const of = (permissions: ReadonlyArray<string>, more?: object) =>
      capabilitiesOf(server, { "x-cycles-api-key": createKey(server, { permissions, ...more }).secret })
    const scope_filter = ["workspace:eng"]
    expect(of(["budgets:read"], { scope_filter })).toEqual({
      authenticated: true,
      auth_type: "tenant",
      permissions: ["budgets:read"],
      tenant_id: "acme",
      scope_filter,
      capabilities: expect.any(Object)
    })
    expect(of([])).not.toHaveProperty("scope_filter")
    expect(granted(of([]))).toEqual([])
    expect(granted(of(["budgets:read"]))).toEqual(["view_budgets"])
    expect(granted(of(["reservations:extend"]))).toEqual(["view_reservations", "manage_reservations"])
    expect(granted(of(["reservations:list"]))).toEqual(["view_reservations"])
    expect(granted(of(["admin:policies:write"]))).toEqual(["manage_policies"])
    expect(granted(of(["admin:read", "admin:write", "admin:tenants:read", "admin:apikeys:write"]))).toEqual([
      "view_budgets",
      "view_events",
      "view_webhooks",
      "view_policies",
      "view_reservations",
      "manage_budgets",
      "manage_policies",
      "manage_webhooks",
      "manage_reservations"
    ])
  })

  it("rejects a missing key with 401, an unknown key with 403, and other methods with 405", () => {
    const server = makeTestServer()
    const send = (method: string, headers: Readonly<Record<string, string>>) =>
      errorOf(server.send(method, "auth/introspect", headers))
    expect(send("GET", {})).toBe("401 UNAUTHORIZED")
    expect(send("GET", { "x-admin-api-key": "wrong" })).toBe("401 UNAUTHORIZED")
    expect(send("GET", { "x-cycles-api-key": "wrong" })).toBe("403 FORBIDDEN")
    expect(send("POST", { "x-admin-api-key": "K" })).toBe("405 INVALID_REQUEST")
  })
})

describe("listBalances", () => {
  const balances = (server: TestServer, key: string, query = "") => {
    const response = Handler.handle(
      server.internals,
      "admin",
      { method: "GET", url: `/v1/balances?${query}`, headers: { "x-cycles-api-key": key }, body: "" },
      server.nowMs
    )
    return { status: response.status, body: Object(JSON.parse(response.body)) }
  }

  it("returns the active budgets of the key's tenant, by scope, unit and page", () => {
    const server = makeTestServer()
    createBudget(server, "workspace:eng", 10)
    createBudget(server, "workspace:hr", 20)
    server.admin("POST", "budgets/freeze?scope=tenant:acme/workspace:hr&unit=TOKENS")
    const key = createKey(server).secret
    const scopes = (query?: string) => columnOf(balances(server, key, query), "balances", "scope")
    expect(scopes()).toEqual(["tenant:acme", "tenant:acme/workspace:eng"])
    expect(scopes("scope_prefix=tenant:acme/")).toEqual(["tenant:acme/workspace:eng"])
    expect(scopes("tenant_id=other&unit=TOKENS&limit=1")).toEqual(["tenant:acme"])
    expect(scopes("unit=CREDITS")).toEqual([])
    expect(balances(server, key).body.balances[0]).toMatchObject({
      overdraft_limit: { amount: 0 },
      is_over_limit: false
    })
    for (const query of ["limit=0", "limit=101", "limit=x", "unit=BEANS"]) {
      expect(errorOf(balances(server, key, query))).toBe("400 INVALID_REQUEST")
    }
  })

  it("requires balances:read, and returns only budgets within the scope filter", () => {
    const server = makeTestServer()
    createBudget(server, "workspace:eng", 10)
    const filtered = createKey(server, { scope_filter: ["workspace:eng"] }).secret
    expect(columnOf(balances(server, filtered), "balances", "scope")).toEqual(["tenant:acme/workspace:eng"])
    expect(errorOf(balances(server, filtered, "scope_prefix=tenant:acme"))).toBe("403 FORBIDDEN")
    expect(errorOf(balances(server, createKey(server, { permissions: [] }).secret))).toBe(
      "403 INSUFFICIENT_PERMISSIONS"
    )
    expect(errorOf(balances(server, ""))).toBe("401 UNAUTHORIZED")
  })
})
