/**
 * Which caller may use which operation and scope.
 */
import { describe, expect, it } from "@effect/vitest"
import type { TestServer } from "./support/testServer.ts"
import {
  columnOf,
  createBudget,
  createKey,
  estimateBody,
  makeTestServer,
  outcomeOf,
  reserve
} from "./support/testServer.ts"

const adminRelease = (server: TestServer, id: string): ReturnType<TestServer["request"]> =>
  server.asAdmin(`reservations/${id}/release`, { idempotency_key: "r" })

describe("access", () => {
  describe("authorizeTenantOrAdmin", () => {
    it("rejects a suspended tenant, even for a repeated request, while the administrator can still release", () => {
      const server = makeTestServer()
      const id = reserve(server, 5)
      const other = reserve(server, 5)
      const earlier = estimateBody("k", 1)
      server.request("reservations", earlier)
      server.admin("PATCH", "tenants/acme", { status: "SUSPENDED" })
      expect(outcomeOf(server.request("reservations", earlier))).toBe("401 UNAUTHORIZED")
      const released = adminRelease(server, id)
      expect([released.status, released.body["status"]]).toEqual([200, "RELEASED"])
      server.admin("PATCH", "tenants/acme", { status: "ACTIVE" })
      expect(server.request("reservations", earlier).status).toBe(200)
      server.admin("PATCH", "tenants/acme", { status: "CLOSED" })
      expect(outcomeOf(adminRelease(server, other))).toBe("409 TENANT_CLOSED")
      expect(outcomeOf(server.request(`reservations/${id}`))).toBe("401 UNAUTHORIZED")
      expect(server.ledger()).toMatchObject({ reserved: 0n })
    })
  })

  describe("authorizeTenant", () => {
    it("restricts a key with a scope filter to matching scopes, for reads and writes", () => {
      const server = makeTestServer()
      createBudget(server, "workspace:eng", 100)
      createBudget(server, "workspace:hr", 100)
      const key = createKey(server, { scope_filter: ["workspace:Eng"] }).secret
      const inside = server.request(
        "reservations",
        estimateBody("i", 1, undefined, { workspace: "Eng", agent: "x" }),
        key
      )
      expect(inside.status).toBe(200)
      expect(outcomeOf(server.request("reservations", estimateBody("o", 1, undefined, { workspace: "hr" }), key))).toBe(
        "403 FORBIDDEN"
      )
      const outside = reserve(server, 1, undefined, { workspace: "hr" })
      expect(server.request(`reservations/${outside}`, undefined, key).status).toBe(403)
      const list = server.request("reservations", undefined, key)
      expect(columnOf(list, "reservations", "reservation_id")).toEqual([inside.body["reservation_id"]])
      const balances = server.request("balances?tenant=acme", undefined, key)
      expect(columnOf(balances, "balances", "scope_path")).toEqual(["tenant:acme/workspace:eng"])
    })

    it("grants every read permission with admin:read and every write permission with admin:write, and nothing else", () => {
      const server = makeTestServer()
      const keyWith = (permission: string) => createKey(server, { permissions: [permission] }).secret
      const reader = keyWith("admin:read")
      expect(server.request("balances?tenant=acme", undefined, reader).status).toBe(200)
      expect(server.request("reservations", undefined, reader).status).toBe(403)
      expect(server.request("balances?tenant=acme", undefined, keyWith("admin:write")).status).toBe(403)
    })

    it("rejects a key with KEY_EXPIRED from the instant when it expires", () => {
      const server = makeTestServer()
      const expires_at = new Date(server.nowMs + 1_000).toISOString()
      const key = createKey(server, { expires_at }).secret
      server.nowMs += 999
      expect(server.request("balances?tenant=acme", undefined, key).status).toBe(200)
      server.nowMs += 1
      expect(server.request("balances?tenant=acme", undefined, key)).toMatchObject({
        status: 401,
        body: { message: "KEY_EXPIRED" }
      })
    })
  })
})
