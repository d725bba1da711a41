import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Amount, Identifiers, Json, Operations, Reservation } from "@effect-cycles/protocol"

/** Decodes a text with the schema alone. */
const decoded = <A, I>(schema: Schema.Codec<A, I>, text: string) =>
  Result.getOrUndefined(Schema.decodeUnknownResult(schema)(Json.parseAnswer(text)))

/** Decodes a text with the schema alone, without invalid evidence, which counts as absent. */
const decodedLeniently = <A, I>(schema: Schema.Codec<A, I>, json: object) =>
  decoded(schema, JSON.stringify(json)) ?? decoded(schema, JSON.stringify({ ...json, cycles_evidence: undefined }))

/** Encodes a value with the schema alone. */
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

/** Returns copies of a value, one without each subset of these fields. */
const lacking = <A extends object>(value: A, names: ReadonlyArray<keyof A>): ReadonlyArray<A> => {
  const [name, ...others] = names
  if (name === undefined) return [value]
  return lacking(value, others).flatMap((rest) => [rest, { ...rest, [name]: undefined }])
}

/** Returns a value with each field replaced by an invalid value, and with each field left out. */
const damaged = (value: object): ReadonlyArray<object> =>
  Object.keys(value).flatMap((name) => [
    { ...value, [name]: undefined },
    ...[null, -1, 1.5, "x", [null], { unit: "TOKENS", amount: -1 }, { unit: 5, amount: 2 ** 60 }].map((wrong) => ({
      ...value,
      [name]: wrong
    }))
  ])

describe("Operations", () => {
  it("gives each operation a unique name and route", () => {
    const operations = Object.entries(Operations.all)
    expect(operations.map(([, { name }]) => name)).toEqual(operations.map(([key]) => key))
    expect(Operations.names).toEqual(operations.map(([key]) => key))
    const routes = operations.map(([, { method, path }]) => `${method} ${path}`)
    expect(new Set(routes).size).toBe(routes.length)
  })

  it("declares a schema for exactly the parameters of each path", () => {
    for (const { name, params, path } of Object.values(Operations.all)) {
      const inPath = Array.from(path.matchAll(/:(\w+)/g), ([, param]) => param)
      expect([name, Object.keys(params)]).toEqual([name, inPath])
    }
  })

  describe("pathOf", () => {
    it.each([
      ["r-1", "r-1"],
      ["a/b?c#d%e f", "a%2Fb%3Fc%23d%25e%20f"],
      ["é😀", "%C3%A9%F0%9F%98%80"],
      ["...", "..."],
      ["$&$1", "%24%26%241"]
    ])("percent-encodes %j", (id, encoded) => {
      expect(Operations.commit.pathOf(id)).toEqual(Result.succeed(`/v1/reservations/${encoded}/commit`))
      expect(Operations.getReservation.pathOf(id)).toEqual(Result.succeed(`/v1/reservations/${encoded}`))
    })

    it.each([
      ["\ud800", "well-formed text, without a lone surrogate"],
      ["a\udfffb", "well-formed text, without a lone surrogate"],
      [".", 'neither "." nor ".."'],
      ["..", 'neither "." nor ".."'],
      ["", "1 to 128 characters"],
      ["x".repeat(129), "1 to 128 characters"],
      [undefined, "a string"]
    ])("fails for %j and never throws", (id, expected) => {
      for (const operation of [Operations.commit, Operations.release, Operations.extend, Operations.getReservation]) {
        expect(Result.getFailure(operation.pathOf(id))).toMatchObject({ value: { field: "reservationId", expected } })
      }
    })

    it("validates an evidence id, and takes no id if the path has no parameter", () => {
      const id = "ab".repeat(32)
      expect(Operations.getEvidence.pathOf(id)).toEqual(Result.succeed(`/v1/evidence/${id}`))
      expect(Result.getFailure(Operations.getEvidence.pathOf("abc"))).toMatchObject({
        value: { field: "evidenceId", expected: "64 hexadecimal digits", actual: '"abc"' }
      })
      expect(Operations.getJwks.pathOf()).toEqual(Result.succeed("/v1/.well-known/cycles-jwks.json"))
    })
  })

  describe("read", () => {
    it("returns every field of the schema", () => {
      expect(Result.getOrThrow(Operations.reserve.read(JSON.stringify(reserved)))).toEqual(
        decoded(Reservation.ReservationCreateResponse, JSON.stringify(reserved))
      )
      expect(Result.getOrThrow(Operations.commit.read(JSON.stringify(committed)))).toEqual(
        decoded(Reservation.CommitResponse, JSON.stringify(committed))
      )
    })

    it("fails if the schema fails, except for invalid evidence", () => {
      for (const json of [...damaged(reserved), ...damaged({ ...reserved, balances: undefined })]) {
        const text = JSON.stringify(json)
        expect([text, Result.getOrUndefined(Operations.reserve.read(text))]).toEqual([
          text,
          decodedLeniently(Reservation.ReservationCreateResponse, json)
        ])
      }
      for (const json of damaged(committed)) {
        const text = JSON.stringify(json)
        expect([text, Result.getOrUndefined(Operations.commit.read(text))]).toEqual([
          text,
          decodedLeniently(Reservation.CommitResponse, json)
        ])
      }
    })

    it("reads instants above 2^53-1 as 2^53-1", () => {
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

    it.each(["-1", "1.5", "-9223372036854775808", '"1"', '"9007199254740992"'])("refuses the instant %s", (written) => {
      expect(Result.isFailure(Operations.extend.read(`{"status":"ACTIVE","expires_at_ms":${written}}`))).toBe(true)
    })

    it("reads amounts above 2^53-1 exactly, and null as absent", () => {
      const text = `{"status":"COMMITTED","charged":{"unit":"TOKENS","amount":9007199254740993},"released":null}`
      expect(Result.getOrThrow(Operations.commit.read(text))).toEqual({
        status: "COMMITTED",
        charged: Amount.tokens(9_007_199_254_740_993n)
      })
    })

    it.each(["", "<html>", '{"status":"COMM'])("fails if the text isn't JSON: %j", (text) => {
      expect(Operations.commit.read(text)).toEqual(Result.fail("the body isn't JSON"))
    })
  })

  describe("encode", () => {
    it("writes every field of the schema, and no other", () => {
      const known = Json.stringify(encoded(Reservation.ReservationCreateRequest, reserve))
      const given = { ...reserve, action: { ...reserve.action, more: 1 }, subject: { ...reserve.subject, more: 1 } }
      expect(Json.stringify(Result.getOrThrow(Operations.reserve.encode({ ...given, more: 1 })))).toBe(known)
      expect(Json.stringify(Result.getOrThrow(Operations.commit.encode({ ...commit, more: 1 })))).toBe(
        Json.stringify(encoded(Reservation.CommitRequest, commit))
      )
    })

    it("writes the same JSON as the schema, with and without each optional field", () => {
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

    it("writes amounts above 2^53-1 exactly", () => {
      const request = { ...commit, actual: Amount.tokens(9_007_199_254_740_993n) }
      expect(Json.stringify(Result.getOrThrow(Operations.commit.encode(request)))).toContain(
        '{"unit":"TOKENS","amount":9007199254740993}'
      )
    })
  })
})
