/**
 * The effects of reservations, charges, overage and debt on the budgets of a path.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  columnOf,
  createBudget,
  estimateBody,
  eventBody,
  fund,
  makeTestServer,
  outcomeOf,
  reserve,
  tokens,
  uniqueKey
} from "./support/testServer.ts"

const agent = { agent: "a" }

describe("accounting", () => {
  describe("overage", () => {
    it("charges debt only to the budgets that are short, and changes nothing when it fails", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10, 5)
      const id = reserve(server, 10, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, agent)
      const commit = (amount: number) =>
        server.request(`reservations/${id}/commit`, { idempotency_key: `c${amount}`, actual: tokens(amount) })
      const before = [server.ledger(), server.ledger("agent:a")]
      expect(outcomeOf(commit(16))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED")
      expect([server.ledger(), server.ledger("agent:a")]).toEqual(before)
      expect(commit(15).status).toBe(200)
      expect(server.ledger()).toMatchObject({ spent: 15n, debt: 0n, reserved: 0n })
      expect(server.ledger("agent:a")).toMatchObject({ spent: 10n, debt: 5n, reserved: 0n })
    })

    it("cuts the charge to the remaining amount of a budget without overdraft, even if another budget allows overdraft", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10)
      createBudget(server, "agent:a/toolset:t", 5, 50)
      const subject = { agent: "a", toolset: "t" }
      const event = eventBody("e", 20, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, subject)
      const response = server.request("events", event)
      expect([response.status, response.body["charged"]]).toEqual([201, tokens(10)])
      expect(columnOf(response, "balances", "is_over_limit")).toEqual([undefined, true, undefined])
      expect(server.ledger("agent:a")).toMatchObject({ spent: 10n, debt: 0n })
      expect(server.ledger("agent:a/toolset:t")).toMatchObject({ spent: 5n, debt: 5n })
    })

    it("checks the overdraft limit of a budget against the charge after it was cut", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10)
      createBudget(server, "agent:a/toolset:t", 4, 3)
      const subject = { agent: "a", toolset: "t" }
      const id = reserve(server, 2, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, subject)
      const commit = (amount: number) =>
        server.request(`reservations/${id}/commit`, { idempotency_key: `c${amount}`, actual: tokens(amount) })
      // The agent has 10 left, the toolset 4 plus an overdraft of 3. The charge is cut to 10, which exceeds the 7.
      expect(outcomeOf(commit(100))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED")
      server.request("events", eventBody("e", 3, undefined, { agent: "a" }))
      expect(commit(100).body["charged"]).toEqual(tokens(7))
      expect(server.ledger("agent:a/toolset:t")).toMatchObject({ spent: 4n, debt: 3n, reserved: 0n })
    })

    it("marks no budget as over limit when the amount is 0, even if the budget is in debt", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10, 5)
      server.request("events", eventBody("e", 12, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, agent))
      const { body } = server.request("events", eventBody("z", 0, { overage_policy: "ALLOW_IF_AVAILABLE" }, agent))
      expect(Object(body["balances"])[1]).not.toHaveProperty("is_over_limit")
    })

    it("rejects any overage under REJECT, even if the budget could cover it", () => {
      const server = makeTestServer()
      const id = reserve(server, 0, { overage_policy: "REJECT" })
      const commit = { idempotency_key: "c", actual: tokens(1) }
      expect(outcomeOf(server.request(`reservations/${id}/commit`, commit))).toBe("409 BUDGET_EXCEEDED")
      expect(outcomeOf(server.request("events", eventBody("e", 1, { overage_policy: "REJECT" })))).toBe("201 APPLIED")
    })

    it("charges at least the reserved amount, even if the budget has since gone into debt", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10, 5)
      const id = reserve(server, 5, { overage_policy: "ALLOW_IF_AVAILABLE" }, agent)
      server.request("events", eventBody("e", 8, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, agent))
      expect(server.ledger("agent:a")).toMatchObject({ spent: 5n, debt: 3n, reserved: 5n })
      const { body } = server.request(`reservations/${id}/commit`, { idempotency_key: "c", actual: tokens(7) })
      expect(body["charged"]).toEqual(tokens(5))
      expect(server.ledger("agent:a")).toMatchObject({ spent: 10n, debt: 3n, reserved: 0n })
    })
  })

  describe("checkEstimate and checkEvent", () => {
    it("report the topmost budget that denies the request", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 5, 5)
      createBudget(server, "agent:a/toolset:t", 100)
      const subject = { agent: "a", toolset: "t" }
      server.admin("POST", "budgets/freeze?scope=tenant:acme/agent:a/toolset:t&unit=TOKENS", {})
      const reasons = (amount: number): ReadonlyArray<unknown> => [
        server.request("reservations", estimateBody(uniqueKey("r"), amount, undefined, subject)).body["error"],
        server.request("reservations", estimateBody(uniqueKey("d"), amount, { dry_run: true }, subject)).body[
          "reason_code"
        ],
        server.request("decide", estimateBody(uniqueKey("c"), amount, undefined, subject)).body["reason_code"],
        server.request("events", eventBody(uniqueKey("e"), amount, { overage_policy: "REJECT" }, subject)).body["error"]
      ]
      expect(reasons(6)).toEqual(Array(4).fill("BUDGET_EXCEEDED"))
      expect(reasons(5)).toEqual(Array(4).fill("BUDGET_FROZEN"))
    })
  })

  describe("debt", () => {
    it("denies reserve, dry run and decide for the same reason, and still allows commits", () => {
      const server = makeTestServer()
      createBudget(server, "agent:a", 10, 5)
      const reserved = reserve(server, 4, { overage_policy: "REJECT" }, agent)
      server.request("events", eventBody("e", 8, { overage_policy: "ALLOW_WITH_OVERDRAFT" }, agent))
      const reasons = (): ReadonlyArray<unknown> => [
        server.request("reservations", estimateBody(uniqueKey("r"), 1, undefined, agent)).body["error"],
        server.request("reservations", estimateBody(uniqueKey("d"), 1, { dry_run: true }, agent)).body["reason_code"],
        server.request("decide", estimateBody(uniqueKey("c"), 1, undefined, agent)).body["reason_code"]
      ]
      expect(reasons()).toEqual(["BUDGET_EXCEEDED", "BUDGET_EXCEEDED", "BUDGET_EXCEEDED"])
      server.admin("PATCH", "budgets?scope=tenant:acme/agent:a&unit=TOKENS", { overdraft_limit: tokens(1) })
      expect(reasons()).toEqual(Array(3).fill("OVERDRAFT_LIMIT_EXCEEDED"))
      server.admin("POST", "budgets/freeze?scope=tenant:acme/agent:a&unit=TOKENS", {})
      expect(reasons()).toEqual(Array(3).fill("BUDGET_FROZEN"))
      expect(
        server.request(`reservations/${reserved}/commit`, { idempotency_key: "c", actual: tokens(4) }).status
      ).toBe(200)
      server.admin("POST", "budgets/unfreeze?scope=tenant:acme/agent:a&unit=TOKENS", {})
      expect(fund(server, "tenant:acme/agent:a", "REPAY_DEBT", 5).status).toBe(200)
      expect(server.ledger("agent:a")).toMatchObject({ debt: 0n })
      expect(server.request("reservations", estimateBody("last", 1, undefined, agent)).status).toBe(200)
    })
  })
})
