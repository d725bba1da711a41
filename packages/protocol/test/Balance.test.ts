import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Operations } from "@effect-cycles/protocol"

describe("Balance", () => {
  it("accepts a negative remaining amount", () => {
    const page = Result.getOrThrow(
      Operations.balances.read(
        JSON.stringify({
          balances: [{ scope: "tenant:a", scope_path: "tenant:a", remaining: { unit: "TOKENS", amount: -120 } }]
        })
      )
    )
    expect(page.balances[0]?.remaining.amount).toBe(-120n)
  })
})
