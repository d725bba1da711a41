import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { ErrorResponse } from "@effect-cycles/protocol"

describe("ErrorResponse", () => {
  const good = {
    error: "RESERVATION_EXPIRED",
    message: "too late",
    request_id: "r",
    trace_id: "t",
    retry_after_ms: 5,
    details: { a: 1 },
    cycles_evidence: { evidence_id: "e", cycles_evidence_url: "https://example.org/e" }
  }
  const read = (json: unknown) => Result.getOrUndefined(ErrorResponse.read(JSON.stringify(json)))
  const all = read(good)

  it.each<readonly [keyof typeof good, keyof ErrorResponse.ErrorResponse, ReadonlyArray<unknown>]>([
    ["message", "message", [12, [], {}]],
    ["request_id", "requestId", [12, {}]],
    ["trace_id", "traceId", [12, false]],
    ["retry_after_ms", "retryAfterMs", [-1, 1.5, "5", 2 ** 60]],
    ["details", "details", [[], "x", 1]],
    ["cycles_evidence", "cyclesEvidence", ["x", [], {}, { evidence_id: 1 }]]
  ])("returns its code if its %s is invalid, and treats that field as absent", (member, name, wrong) => {
    for (const odd of wrong) {
      const { [name]: _, ...others } = { ...all }
      expect([odd, read({ ...good, [member]: odd })]).toEqual([odd, others])
    }
  })

  it("returns the code if every other field is invalid", () => {
    expect(
      read({ ...good, message: 1, request_id: 1, trace_id: 1, retry_after_ms: -1, details: [], cycles_evidence: 1 })
    ).toEqual({ error: "RESERVATION_EXPIRED" })
  })

  it.each([{}, { error: 1 }, { error: null }, { message: "x" }, [], "x", null, 1])(
    "refuses a response without a code: %j",
    (json) => {
      expect(read(json)).toBeUndefined()
    }
  )
})
