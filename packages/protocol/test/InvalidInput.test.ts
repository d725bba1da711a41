import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Amount, InvalidInput, Operations } from "@effect-cycles/protocol"

const request = {
  idempotencyKey: "k",
  subject: { tenant: "acme" },
  action: { kind: "llm.completion", name: "openai:gpt-5" },
  estimate: Amount.tokens(10)
}

describe("InvalidInput", () => {
  describe("fromIssue", () => {
    it("lists every invalid field with its limit and value", () => {
      const input = { ...request, ttlMs: 5, idempotencyKey: "" }
      const encoded = Operations.reserve.encode(input)
      expect(Result.isFailure(encoded) && InvalidInput.fromIssue(encoded.failure.issue, input)).toEqual([
        { field: "idempotencyKey", expected: "1 to 256 characters", actual: '""' },
        { field: "ttlMs", expected: "an integer from 1000 to 86400000", actual: "5" }
      ])
    })
  })
})
