import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Amount, Identifiers, Json, Operations, Reservation } from "@effect-cycles/protocol"

/** What the schema alone makes of a text. */
const decoded = <A, I>(schema: Schema.Codec<A, I>, text: string) =>
  Result.getOrUndefined(Schema.decodeUnknownResult(schema)(Json.parseAnswer(text)))

/** What becomes of evidence that is wrong: it counts as absent, and the rest is what its schema makes of it. */
const forgiven = <A, I>(schema: Schema.Codec<A, I>, json: object) =>
  decoded(schema, JSON.stringify(json)) ?? decoded(schema, JSON.stringify({ ...json, cycles_evidence: undefined }))

/** What the schema alone writes. */
const encoded = <A, I>(schema: Schema.Codec<A, I>, input: A) =>
  Result.getOrUndefined(Schema.encodeUnknownResult(schema)(input))

const balance = {
  scope: "agent:a",
  scope_path: "tenant:t/agent:a",
  remaining: { unit: "TOKENS", amount: -5 },
  reserved: { unit: "TOKENS", amount: 1 },
  spent: { unit: "TOKENS", amount: 2 },
  debt: { unit: "TOKENS", amount: 3 },
  allocated: { unit: "TOKENS", amount: 4 },
  overdraft_limit: { unit: "TOKENS", amount: 6 },
  is_over_limit: true
}

const evidence = { evidence_id: "e", cycles_evidence_url: "https://example.org/e" }

const reserved = {
  decision: "ALLOW_WITH_CAPS",
  reservation_id: "r",
  affected_scopes: ["tenant:t", "tenant:t/agent:a"],
  reserved: { unit: "TOKENS", amount: 7 },
  expires_at_ms: 8,
  remaining_ttl_ms: 9,
  scope_path: "tenant:t/agent:a",
  caps: { max_tokens: 1, max_steps_remaining: 2, tool_allowlist: ["a"], tool_denylist: ["b"], cooldown_ms: 3 },
  balances: [balance],
  reason_code: "WHY",
  retry_after_ms: 10,
  cycles_evidence: evidence
}

const committed = {
  status: "COMMITTED",
  charged: { unit: "TOKENS", amount: 7 },
  released: { unit: "TOKENS", amount: 8 },
  balances: [balance],
  cycles_evidence: evidence
}

const reserve: Reservation.ReservationCreateRequest = {
  idempotencyKey: Identifiers.IdempotencyKey.make("k"),
  subject: { tenant: "t", workspace: "w", app: "a", workflow: "f", agent: "g", toolset: "s", dimensions: { d: "1" } },
  action: { kind: "k", name: "n", tags: ["x"] },
  estimate: Amount.tokens(7),
  ttlMs: 1_000,
  gracePeriodMs: 0,
  overagePolicy: "REJECT",
  dryRun: true,
  metadata: { m: [1] }
}

const commit: Reservation.CommitRequest = {
  idempotencyKey: reserve.idempotencyKey,
  actual: Amount.tokens(7),
  metrics: { tokensInput: 1, tokensOutput: 2, latencyMs: 3, modelVersion: "v", custom: { c: true } },
  metadata: { m: null }
}

/** A value with every set of these fields left out. */
const lacking = <A extends object>(value: A, names: ReadonlyArray<keyof A>): ReadonlyArray<A> => {
  const [name, ...others] = names
  if (name === undefined) return [value]
  return lacking(value, others).flatMap((rest) => [rest, { ...rest, [name]: undefined }])
}

/** One field after another with a value that no schema allows there, and one after another left out. */
const damaged = (value: object): ReadonlyArray<object> =>
  Object.keys(value).flatMap((name) => [
    { ...value, [name]: undefined },
    ...[null, -1, 1.5, "x", [null], { unit: "TOKENS", amount: -1 }, { unit: 5, amount: 2 ** 60 }].map((wrong) => ({
      ...value,
      [name]: wrong
    }))
  ])

describe("the messages of every lifecycle", () => {
  describe("an answer", () => {
    it("has every field of its schema", () => {
      expect(Result.getOrThrow(Operations.reserve.read(JSON.stringify(reserved)))).toEqual(
        decoded(Reservation.ReservationCreateResponse, JSON.stringify(reserved))
      )
      expect(Result.getOrThrow(Operations.commit.read(JSON.stringify(committed)))).toEqual(
        decoded(Reservation.CommitResponse, JSON.stringify(committed))
      )
    })

    it.prop(
      "to a reserve is read as its schema reads it",
      { wire: Schema.toEncoded(Reservation.ReservationCreateResponse) },
      ({ wire }) => {
        const text = Json.stringify(wire)
        expect(Result.getOrUndefined(Operations.reserve.read(text))).toEqual(
          decoded(Reservation.ReservationCreateResponse, text)
        )
      }
    )

    it.prop(
      "to a commit is read as its schema reads it",
      { wire: Schema.toEncoded(Reservation.CommitResponse) },
      ({ wire }) => {
        const text = Json.stringify(wire)
        expect(Result.getOrUndefined(Operations.commit.read(text))).toEqual(decoded(Reservation.CommitResponse, text))
      }
    )

    it("is refused where its schema refuses it, but for its evidence", () => {
      for (const json of [...damaged(reserved), ...damaged({ ...reserved, balances: undefined })]) {
        const text = JSON.stringify(json)
        expect([text, Result.getOrUndefined(Operations.reserve.read(text))]).toEqual([
          text,
          forgiven(Reservation.ReservationCreateResponse, json)
        ])
      }
      for (const json of damaged(committed)) {
        const text = JSON.stringify(json)
        expect([text, Result.getOrUndefined(Operations.commit.read(text))]).toEqual([
          text,
          forgiven(Reservation.CommitResponse, json)
        ])
      }
    })

    it("holds instants that a number can't, as the last that it can", () => {
      const latest = Number.MAX_SAFE_INTEGER
      for (const [written, read] of [
        ["9007199254740991", latest],
        ["9007199254740992", latest],
        ["9223372036854775807", latest],
        ["92233720368547758070", latest],
        ["1", 1]
      ] as const) {
        const create = `{"decision":"ALLOW","affected_scopes":[],"reservation_id":"r","expires_at_ms":${written}}`
        expect(Result.getOrThrow(Operations.reserve.read(create)).expiresAtMs).toBe(read)
        const extend = `{"status":"ACTIVE","expires_at_ms":${written}}`
        expect(Result.getOrThrow(Operations.extend.read(extend)).expiresAtMs).toBe(read)
      }
    })

    it.each(["-1", "1.5", "-9223372036854775808", '"1"', '"9007199254740992"'])("has no instant of %s", (written) => {
      expect(Result.isFailure(Operations.extend.read(`{"status":"ACTIVE","expires_at_ms":${written}}`))).toBe(true)
    })

    it("holds amounts that a number can't, and treats null as absent", () => {
      const text = `{"status":"COMMITTED","charged":{"unit":"TOKENS","amount":9007199254740993},"released":null}`
      expect(Result.getOrThrow(Operations.commit.read(text))).toEqual({
        status: "COMMITTED",
        charged: Amount.tokens(9_007_199_254_740_993n)
      })
    })

    it.each(["", "<html>", '{"status":"COMM'])("that is no JSON says so: %j", (text) => {
      expect(Operations.commit.read(text)).toEqual(Result.fail("the body is no JSON"))
    })
  })

  describe("a request", () => {
    it("has every field of its schema, and no other", () => {
      const known = Json.stringify(encoded(Reservation.ReservationCreateRequest, reserve))
      const given = { ...reserve, action: { ...reserve.action, more: 1 }, subject: { ...reserve.subject, more: 1 } }
      expect(Json.stringify(Result.getOrThrow(Operations.reserve.encode({ ...given, more: 1 })))).toBe(known)
      expect(Json.stringify(Result.getOrThrow(Operations.commit.encode({ ...commit, more: 1 })))).toBe(
        Json.stringify(encoded(Reservation.CommitRequest, commit))
      )
    })

    it("is written as its schema writes it, whichever fields are left out", () => {
      for (const input of lacking(reserve, ["ttlMs", "gracePeriodMs", "overagePolicy", "dryRun", "metadata"])) {
        for (const subject of lacking(reserve.subject, ["workspace", "app", "workflow", "agent", "dimensions"])) {
          const request = { ...input, subject }
          expect(JSON.parse(Json.stringify(Result.getOrThrow(Operations.reserve.encode(request))))).toEqual(
            JSON.parse(Json.stringify(encoded(Reservation.ReservationCreateRequest, request)))
          )
        }
      }
      for (const input of lacking(commit, ["metrics", "metadata"])) {
        expect(JSON.parse(Json.stringify(Result.getOrThrow(Operations.commit.encode(input))))).toEqual(
          JSON.parse(Json.stringify(encoded(Reservation.CommitRequest, input)))
        )
      }
    })

    it("holds amounts that a number can't", () => {
      const request = { ...commit, actual: Amount.tokens(9_007_199_254_740_993n) }
      expect(Json.stringify(Result.getOrThrow(Operations.commit.encode(request)))).toContain(
        '{"unit":"TOKENS","amount":9007199254740993}'
      )
    })
  })
})
