import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Amount, InvalidInput, Operations } from "@effect-cycles/protocol"

const request = {
  idempotencyKey: "k",
  subject: { tenant: "acme" },
  action: { kind: "llm.completion", name: "openai:gpt-5" },
  estimate: Amount.tokens(10)
}

const messageOf = (input: object) => {
  const encoded = Operations.reserve.encode(input)
  return Result.isFailure(encoded) ? InvalidInput.message(InvalidInput.fromIssue(encoded.failure.issue, input)) : ""
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

  describe("message", () => {
    it.each<readonly [object, string]>([
      [{ idempotencyKey: 1 }, "idempotencyKey must be a string, got 1"],
      [{ subject: undefined }, "subject must be an object, got nothing"],
      [
        { subject: {} },
        "subject must be an object with at least one of tenant, workspace, app, workflow, agent, toolset, got {}"
      ],
      [{ action: { kind: "k" } }, "action.name must be given, got nothing"],
      [{ action: { kind: "k", name: "n", tags: ["a", 5] } }, "action.tags.1 must be a string, got 5"],
      [
        { overagePolicy: "MAYBE" },
        'overagePolicy must be one of REJECT, ALLOW_IF_AVAILABLE, ALLOW_WITH_OVERDRAFT, got "MAYBE"'
      ],
      [
        { idempotencyKey: "x".repeat(300) },
        `idempotencyKey must be 1 to 256 characters, got "${"x".repeat(79)}... (302 characters)`
      ],
      [
        { ttlMs: 5, dryRun: 1 },
        "ttlMs must be an integer from 1000 to 86400000, got 5; dryRun must be a boolean, got 1"
      ]
    ])("describes the invalid fields of %j", (changes, message) => {
      expect(messageOf({ ...request, ...changes })).toBe(message)
    })

    it("describes an input whose getters throw", () => {
      const input = {
        get idempotencyKey(): string {
          throw new Error("a getter")
        }
      }
      expect(messageOf(input)).toBe("request must be an object whose fields can be read, got object")
    })
  })
})
