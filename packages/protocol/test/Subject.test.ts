import { describe, expect, it } from "@effect/vitest"
import { Subject } from "@effect-cycles/protocol"

describe("Subject", () => {
  it("merges field by field, with precedence for the inner subject", () => {
    expect(
      Subject.merge(
        { tenant: "t", agent: "outer", dimensions: { a: "1", b: "2" } },
        { agent: "inner", dimensions: { b: "3" } }
      )
    ).toEqual({ tenant: "t", agent: "inner", dimensions: { a: "1", b: "3" } })
  })

  it("returns scopes from the top down, in lower case", () => {
    expect(Subject.scopes({ toolset: "T", tenant: "acme", agent: "A" })).toEqual([
      "tenant:acme",
      "tenant:acme/agent:a",
      "tenant:acme/agent:a/toolset:t"
    ])
  })
})
