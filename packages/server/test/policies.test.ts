/**
 * How policies apply to scopes.
 */
import { describe, expect, it } from "@effect/vitest"
import type { TestServer } from "./support/testServer.ts"
import { budgetBody, estimateBody, makeTestServer, uniqueKey } from "./support/testServer.ts"

describe("policies", () => {
  describe("effectivePolicy", () => {
    const policy = (server: TestServer, more: object) =>
      server.admin("POST", "policies", {
        tenant_id: "acme",
        name: "p",
        scope_pattern: "tenant:acme/agent:Planner",
        ...more
      })

    it("matches a subject in any case, while the policy is in force, and prefers the highest priority", () => {
      const server = makeTestServer()
      const decide = (name: string) =>
        server.request("decide", estimateBody(uniqueKey("d"), 1, undefined, { agent: name })).body["caps"]
      policy(server, { caps: { max_tokens: 5 }, priority: 1 })
      expect(decide("PLANNER")).toEqual({ max_tokens: 5 })
      expect(decide("other")).toBeUndefined()
      const from = new Date(server.nowMs + 1_000).toISOString()
      policy(server, { caps: { max_tokens: 3 }, priority: 2, effective_from: from })
      expect(decide("planner")).toEqual({ max_tokens: 5 })
      server.nowMs += 1_000
      expect(decide("planner")).toEqual({ max_tokens: 3 })
    })

    it("rejects a malformed instant in a policy and in the period of a budget", () => {
      const server = makeTestServer()
      expect(policy(server, { effective_from: "tomorrow" }).status).toBe(400)
      expect(policy(server, { effective_until: "2026-13-45T00:00:00Z" }).status).toBe(400)
      const create = (period_start: string) =>
        server.admin("POST", "budgets", budgetBody("tenant:acme/agent:p", { period_start })).status
      expect(create("soon")).toBe(400)
      expect(create("2026-01-01T00:00:00Z")).toBe(201)
    })

    it("counts only new reservations against the rate limit, not repeated, denied or dry-run requests", () => {
      const server = makeTestServer()
      policy(server, { rate_limits: { max_reservations_per_minute: 2 } })
      const reserve = (key: string, more?: object, amount = 1) =>
        server.request("reservations", estimateBody(key, amount, more, { agent: "planner" })).status
      expect([
        reserve("a"),
        reserve("a"),
        reserve("big", undefined, 9_000_000),
        reserve("dry", { dry_run: true })
      ]).toEqual([200, 200, 409, 200])
      expect([reserve("b"), reserve("c"), reserve("b")]).toEqual([200, 429, 200])
      server.nowMs += 60_000
      expect(reserve("c")).toBe(200)
    })
  })
})
