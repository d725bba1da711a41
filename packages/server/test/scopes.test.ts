/**
 * Which scopes of budgets and patterns of policies are valid.
 */
import { describe, expect, it } from "@effect/vitest"
import { budgetBody, makeTestServer } from "./support/testServer.ts"

describe("scopes", () => {
  describe("parse", () => {
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
    ])("responds to a budget at %s with status %i", (scope, status) => {
      expect(makeTestServer().admin("POST", "budgets", budgetBody(scope)).status).toBe(status)
    })

    it.each([
      ["tenant:*", 400],
      ["*", 400],
      ["tenant:acme/agent:*/toolset:t", 400],
      ["tenant:acme/*/toolset:t", 400],
      ["tenant:acme/agent:*", 201],
      ["tenant:acme/*", 201]
    ])("responds to a policy for %s with status %i", (scope_pattern, status) => {
      const policy = { tenant_id: "acme", name: "p", scope_pattern }
      expect(makeTestServer().admin("POST", "policies", policy).status).toBe(status)
    })
  })
})
