import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Amount, Json, Operations, RequestDecoder } from "@effect-cycles/protocol"

const decodeCommit = RequestDecoder.make(Operations.commit.request)

const failureOf = (body: unknown): string => Result.merge(Result.mapError(decodeCommit(body), String)).toString()

describe("make", () => {
  it("decodes the body of a request, with integers above 2^53-1", () => {
    const body = Json.parse('{"idempotency_key":"k","actual":{"unit":"TOKENS","amount":9223372036854775807}}')
    expect(decodeCommit(body)).toEqual(
      Result.succeed({ idempotencyKey: "k", actual: Amount.make("TOKENS", 9223372036854775807n) })
    )
  })

  it("ignores unknown fields", () => {
    const body = { idempotency_key: "k", actual: { unit: "TOKENS", amount: 1, more: 1 }, more: 1 }
    expect(decodeCommit(body)).toEqual(Result.succeed({ idempotencyKey: "k", actual: Amount.tokens(1) }))
  })

  it("refuses a unit that the protocol doesn't define, though a response may have it", () => {
    expect(failureOf({ idempotency_key: "k", actual: { unit: "EUR", amount: 1 } })).toContain("Expected one of")
  })

  it.each([
    ["a missing field", { idempotency_key: "k" }],
    ["a negative amount", { idempotency_key: "k", actual: { unit: "TOKENS", amount: -1 } }],
    ["an empty key", { idempotency_key: "", actual: { unit: "TOKENS", amount: 1 } }],
    ["another type", []]
  ])("fails for %s", (_, body) => {
    expect(Result.isFailure(decodeCommit(body))).toBe(true)
  })
})
