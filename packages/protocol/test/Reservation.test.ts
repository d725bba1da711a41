import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Amount, ErrorResponse, InvalidInput, Operations } from "@effect-cycles/protocol"
import { reservation } from "./support/reservation.ts"

const request = {
  idempotencyKey: "k",
  subject: { tenant: "acme" },
  action: { kind: "llm.completion", name: "openai:gpt-5" },
  estimate: Amount.tokens(10)
}

const problems = (changes: object) => {
  const input = { ...request, ...changes }
  const encoded = Operations.reserve.encode(input)
  return Result.isSuccess(encoded) ? [] : InvalidInput.fromIssue(encoded.failure.issue, input).map(({ field }) => field)
}

const text = (length: number) => "x".repeat(length)

const entries = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, "v"]))

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])

const shared = { a: 1 }

const cycle: { self?: unknown } = {}
cycle.self = [cycle]

const { proxy: revoked, revoke } = Proxy.revocable({}, {})
revoke()

describe("Reservation", () => {
  describe("requests", () => {
    it.each<readonly [string, string, object, object]>([
      ["idempotencyKey", "1 to 256 characters", { idempotencyKey: text(256) }, { idempotencyKey: text(257) }],
      ["idempotencyKey", "at least 1 character", { idempotencyKey: "k" }, { idempotencyKey: "" }],
      ["subject.tenant", "128 characters", { subject: { tenant: text(128) } }, { subject: { tenant: text(129) } }],
      [
        "subject.tenant",
        "the characters of a scope",
        { subject: { tenant: "a_.-Z9" } },
        { subject: { tenant: "a/b" } }
      ],
      ["subject", "one standard field", { subject: { agent: "a" } }, { subject: { dimensions: { a: "b" } } }],
      [
        "subject.dimensions",
        "16 entries",
        { subject: { tenant: "a", dimensions: entries(16) } },
        { subject: { tenant: "a", dimensions: entries(17) } }
      ],
      [
        "subject.dimensions.a",
        "256 characters",
        { subject: { tenant: "a", dimensions: { a: text(256) } } },
        { subject: { tenant: "a", dimensions: { a: text(257) } } }
      ],
      [
        "action.kind",
        "64 characters",
        { action: { kind: text(64), name: "n" } },
        { action: { kind: text(65), name: "n" } }
      ],
      ["action.kind", "not blank", { action: { kind: "k", name: "n" } }, { action: { kind: " ", name: "n" } }],
      [
        "action.name",
        "256 characters",
        { action: { kind: "k", name: text(256) } },
        { action: { kind: "k", name: text(257) } }
      ],
      [
        "action.tags",
        "10 tags",
        { action: { kind: "k", name: "n", tags: Array(10).fill("t") } },
        { action: { kind: "k", name: "n", tags: Array(11).fill("t") } }
      ],
      [
        "action.tags.0",
        "64 characters",
        { action: { kind: "k", name: "n", tags: [text(64)] } },
        { action: { kind: "k", name: "n", tags: [text(65)] } }
      ],
      ["estimate.unit", "a known unit", { estimate: Amount.credits(1) }, { estimate: Amount.make("EUR", 1) }],
      ["ttlMs", "at least 1,000", { ttlMs: 1_000 }, { ttlMs: 999 }],
      ["ttlMs", "at most 86,400,000", { ttlMs: 86_400_000 }, { ttlMs: 86_400_001 }],
      ["ttlMs", "an integer", { ttlMs: 2_000 }, { ttlMs: 2_000.5 }],
      ["gracePeriodMs", "at least 0", { gracePeriodMs: 0 }, { gracePeriodMs: -1 }],
      ["gracePeriodMs", "at most 60,000", { gracePeriodMs: 60_000 }, { gracePeriodMs: 60_001 }],
      ["overagePolicy", "a policy", { overagePolicy: "REJECT" }, { overagePolicy: "MAYBE" }],
      ["metadata.a", "JSON", { metadata: { a: [1, "x", null, 2n ** 60n] } }, { metadata: { a: Number.NaN } }],
      ["metadata.a", "no array with holes", { metadata: { a: [null] } }, { metadata: { a: Array(1) } }],
      ["metadata.a", "997 levels", { metadata: { a: nested(997) } }, { metadata: { a: nested(998) } }],
      ["metadata.a", "no cycle", { metadata: { a: [shared, shared] } }, { metadata: { a: cycle } }],
      [
        "metadata.a",
        "nothing that throws",
        { metadata: {} },
        {
          metadata: {
            a: {
              get b() {
                throw new Error()
              }
            }
          }
        }
      ],
      ["metadata.a", "no revoked proxy", { metadata: {} }, { metadata: { a: revoked } }],
      ["metadata.a", "no Date", { metadata: {} }, { metadata: { a: new Date(0) } }]
    ])("refuse %s beyond its limit: %s", (field, _limit, good, bad) => {
      expect(problems(good)).toEqual([])
      expect(problems(bad)).toContain(field)
    })

    it("omit absent fields", () => {
      expect(Result.getOrThrow(Operations.reserve.encode({ ...request, ttlMs: undefined }))).toEqual({
        idempotency_key: "k",
        subject: { tenant: "acme" },
        action: { kind: "llm.completion", name: "openai:gpt-5" },
        estimate: { unit: "TOKENS", amount: 10 }
      })
    })

    it.each([
      [2_147_483_647, true],
      [2_147_483_648, false],
      [-1, false]
    ])("accept a metric of %d: %s", (tokensInput, isFine) => {
      const encoded = Operations.commit.encode({
        idempotencyKey: "k",
        actual: Amount.tokens(1),
        metrics: { tokensInput }
      })
      expect(Result.isSuccess(encoded)).toBe(isFine)
    })
  })

  describe("responses", () => {
    it("keep unknown decisions, units and codes, and accept unknown keys", () => {
      const response = Result.getOrThrow(
        Operations.reserve.read(
          JSON.stringify({
            decision: "ALLOW_LATER",
            reservation_id: "r",
            affected_scopes: [],
            reserved: { unit: "EUR", amount: 1 },
            reason_code: "NEW_REASON",
            something_new: { a: 1 }
          })
        )
      )
      expect(response).toMatchObject({ decision: "ALLOW_LATER", reasonCode: "NEW_REASON", reserved: { unit: "EUR" } })
      expect(Result.getOrThrow(ErrorResponse.read('{"error":"NEW_CODE"}')).error).toBe("NEW_CODE")
    })

    it.each([
      {},
      { decision: "ALLOW" },
      { decision: 1, affected_scopes: [] },
      { decision: "ALLOW", affected_scopes: "tenant:a" },
      { decision: "ALLOW", affected_scopes: [], expires_at_ms: "soon" },
      []
    ])("fail if a required field is missing or has the wrong type: %j", (json) => {
      expect(Result.isFailure(Operations.reserve.read(JSON.stringify(json)))).toBe(true)
    })

    it.each<readonly [string, (text: string) => Result.Result<object, string>, object, string]>([
      [
        "reserve",
        Operations.reserve.read,
        { decision: "ALLOW", reservation_id: "r", affected_scopes: [] },
        "cycles_evidence"
      ],
      [
        "commit",
        Operations.commit.read,
        { status: "COMMITTED", charged: { unit: "TOKENS", amount: 1 } },
        "cycles_evidence"
      ],
      [
        "release",
        Operations.release.read,
        { status: "RELEASED", released: { unit: "TOKENS", amount: 1 } },
        "cycles_evidence"
      ],
      ["event", Operations.event.read, { status: "APPLIED", event_id: "e" }, "cycles_evidence"],
      ["decide", Operations.decide.read, { decision: "ALLOW" }, "cycles_evidence"],
      ["getReservation", Operations.getReservation.read, { ...reservation, status: "COMMITTED" }, "evidence"]
    ])("to %s are parsed even if their evidence is invalid", (_operation, read, json, member) => {
      const plain = Result.getOrThrow(read(JSON.stringify(json)))
      for (const odd of ["x", 1, [], [null], null, { evidence_id: 1 }, { reserve: { evidence_id: "e" } }]) {
        const response = Result.map(read(JSON.stringify({ ...json, [member]: odd })), (read) => Object.entries(read))
        expect([odd, response]).toMatchObject([odd, Result.succeed(expect.arrayContaining(Object.entries(plain)))])
      }
      expect(Result.isFailure(read(JSON.stringify({ ...json, [member]: "x", status: 1, decision: 1 })))).toBe(true)
    })

    it("accept a commit only with the status COMMITTED", () => {
      const charged = { unit: "TOKENS", amount: 1 }
      expect(Result.isSuccess(Operations.commit.read(JSON.stringify({ status: "COMMITTED", charged })))).toBe(true)
      expect(Result.isFailure(Operations.commit.read(JSON.stringify({ status: "PENDING", charged })))).toBe(true)
    })
  })
})
