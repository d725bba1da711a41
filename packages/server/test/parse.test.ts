/**
 * How JSON bodies are parsed and validated.
 */
import { describe, expect, it } from "@effect/vitest"
import { estimateBody, eventBody, makeTestServer, outcomeOf, reserve, tokens } from "./support/testServer.ts"

describe("parse", () => {
  describe("request", () => {
    const commit = { idempotency_key: "c", actual: tokens(1), metrics: { latency_ms: 1 } }
    const unknownFields: ReadonlyArray<readonly [string, object, object]> = [
      ["at the top level", estimateBody("k", 1, { more: 1 }), { ...commit, more: 1 }],
      ["in its subject", estimateBody("k", 1, {}, { more: "1" }), { ...commit, actual: { ...tokens(1), more: 1 } }],
      [
        "in its action",
        estimateBody("k", 1, { action: { kind: "k", name: "n", more: 1 } }),
        { ...commit, metrics: { more: 1 } }
      ],
      ["whose value is an object", estimateBody("k", 1, { more: { a: 1 } }), { ...commit, more: {} }],
      [
        "with the name of a property of Object.prototype",
        estimateBody("k", 1, { constructor: 1 }),
        { ...commit, toString: "x" }
      ]
    ]

    it.each(unknownFields)("rejects an unknown field %s", (_where, reserveBody, commitBody) => {
      const server = makeTestServer()
      const id = server.request("reservations", estimateBody("held", 1)).body["reservation_id"]
      for (const response of [
        server.request("reservations", reserveBody),
        server.request(`reservations/${id}/commit`, commitBody)
      ]) {
        expect([response.status, response.body["error"]]).toEqual([400, "INVALID_REQUEST"])
        expect(response.body["message"]).toMatch(/^Validation failed: there is no field \S+$/)
      }
      expect(server.ledger()).toMatchObject({ reserved: 1n, spent: 0n })
    })

    it("accepts any fields in metadata and custom metrics", () => {
      const server = makeTestServer()
      const custom = { more: { a: [{ b: null }] }, constructor: 1 }
      const reserveBody = estimateBody("k", 1, { metadata: custom, action: { kind: "k", name: "n", tags: ["a", "b"] } })
      const { body, status } = server.request("reservations", reserveBody)
      expect(status).toBe(200)
      const metrics = { latency_ms: 1, custom }
      expect(server.request(`reservations/${body["reservation_id"]}/commit`, { ...commit, metrics }).status).toBe(200)
    })
  })

  describe("json", () => {
    it("keeps integers above 2^53 in metadata and custom metrics exact", () => {
      const server = makeTestServer()
      const metadata = { n: 2n ** 60n + 1n, list: [-(2n ** 61n + 1n)], more: 2n ** 70n }
      const { body } = server.request("reservations", estimateBody("k", 1, { metadata }))
      const commit = { idempotency_key: "c", actual: tokens(1), metrics: { custom: metadata }, metadata }
      expect(server.request(`reservations/${body["reservation_id"]}/commit`, commit).status).toBe(200)
      expect(server.request(`reservations/${body["reservation_id"]}`).body).toMatchObject({
        metadata,
        committed_metadata: metadata
      })
    })
  })

  describe("problemOf", () => {
    const secret = "cyc_live_0123456789abcdef"

    it.each([
      ["of the wrong type", { key_secret: [secret] }],
      ["that is blank", { key_secret: " " }],
      ["with another name", { secret }],
      ["as a name", { [secret]: 1 }],
      ["beside an unknown field", { key_secret: secret, more: { key_secret: secret } }]
    ])("never repeats the secret of a key %s", (_how, body) => {
      const server = makeTestServer()
      const response = server.send("POST", "auth/validate", { "x-admin-api-key": "K" }, body)
      expect([response.status, response.body["error"]]).toEqual([400, "INVALID_REQUEST"])
      expect(response.body["message"]).not.toMatch(/cyc_live|0123|" "/)
    })

    it("never repeats a secret that is sent in place of another value", () => {
      const server = makeTestServer()
      const messages = [
        server.request("decide", estimateBody("k", 1, { action: secret })),
        server.request("decide", estimateBody("k", 1, { estimate: { unit: secret, amount: 1 } })),
        server.request(
          "decide",
          estimateBody("k", 1, { action: { kind: "k", name: "n", tags: { password: "hunter2" } } })
        ),
        server.request(`reservations?limit=${secret}`),
        server.request(`reservations?status=${secret}`),
        server.admin("GET", `budgets?unit=${secret}`),
        server.admin("POST", "api-keys", { tenant_id: "acme", name: "k", permissions: [secret] })
      ].map(({ body, status }) => [status, body["message"]])
      for (const [status, message] of messages) {
        expect(status).toBe(400)
        expect(message).not.toMatch(/cyc_live|hunter2/)
      }
    })

    it.each([
      [{ tenant_id: "a", name: "n" }, 'tenant_id must be 3 to 64 characters, got "a"'],
      [{ tenant_id: "ACME", name: "n" }, 'tenant_id must be lower-case letters, digits and hyphens, got "ACME"'],
      [{ tenant_id: "acme-2", name: " " }, 'name must be a text that is not blank, got " "'],
      [{ tenant_id: "acme-2", name: 5 }, "name must be a string, got 5"],
      [{ tenant_id: "acme-2" }, "name must be given, got nothing"],
      [{ tenant_id: "acme-2", name: "n", more: 1 }, "there is no field more"],
      [
        { tenant_id: "acme-2", name: "n", max_reservation_extensions: -1 },
        "max_reservation_extensions must be an integer from 0 to 2147483647, got -1"
      ],
      [
        { tenant_id: "acme-2", name: "n", default_reservation_ttl_ms: 1 },
        "default_reservation_ttl_ms must be an integer from 1000 to 86400000, got 1"
      ],
      [
        { tenant_id: "acme-2", name: "n", default_commit_overage_policy: "MAYBE" },
        'default_commit_overage_policy must be one of REJECT, ALLOW_IF_AVAILABLE, ALLOW_WITH_OVERDRAFT, got "MAYBE"'
      ],
      [
        { tenant_id: "acme-2", name: "n", metadata: { a: [] } },
        "metadata.a must be a string or a number or an integer or a boolean or null, got []"
      ]
    ])("describes the expected and the received value of %j", (tenant, message) => {
      const { body, status } = makeTestServer().admin("POST", "tenants", tenant)
      expect([status, body["message"]]).toEqual([400, `Validation failed: ${message}`])
    })
  })

  describe("withMetadata", () => {
    const nanoseconds = 1_700_000_000_000_000_001n

    it("accepts 64-bit integers as values of dimensions and as the time of the client", () => {
      const server = makeTestServer()
      const subject = { dimensions: { started: nanoseconds, negative: -nanoseconds } }
      const { body, status } = server.request("reservations", estimateBody("k", 1, {}, subject))
      expect(status).toBe(200)
      expect(server.request(`reservations/${body["reservation_id"]}`).body["subject"]).toMatchObject({
        dimensions: { started: String(nanoseconds), negative: String(-nanoseconds) }
      })
      const at = (client_time_ms: bigint) => server.request("events", eventBody("e", 1, { client_time_ms }, subject))
      expect(at(nanoseconds).status).toBe(201)
      expect(at(nanoseconds).status).toBe(201)
      expect(outcomeOf(at(nanoseconds + 1n))).toBe("409 IDEMPOTENCY_MISMATCH")
      expect([2n ** 63n, -nanoseconds].map((time) => outcomeOf(at(time)))).toEqual(Array(2).fill("400 INVALID_REQUEST"))
      expect(server.ledger()).toMatchObject({ spent: 1n })
    })

    it("accepts a 64-bit integer as the reason of a release", () => {
      const server = makeTestServer()
      const release = { idempotency_key: "r", reason: nanoseconds }
      expect(outcomeOf(server.request(`reservations/${reserve(server, 1)}/release`, release))).toBe("200 RELEASED")
    })
  })

  describe("withoutNulls", () => {
    it("treats null as absent in optional fields, and rejects it in required and unknown fields", () => {
      const server = makeTestServer()
      const id = reserve(server, 1)
      const nulls = { subject: { tenant: "acme", agent: null, dimensions: { a: null } } }
      const event = {
        ...eventBody("e", 1),
        ...nulls,
        metrics: { tokens_input: null, custom: null },
        client_time_ms: null
      }
      const bodies: ReadonlyArray<readonly [string, object]> = [
        [
          "reservations",
          { ...estimateBody("r", 1), ...nulls, ttl_ms: null, overage_policy: null, dry_run: null, metadata: null }
        ],
        ["decide", { ...estimateBody("d", 1), ...nulls, metadata: null }],
        ["events", event],
        [`reservations/${id}/extend`, { idempotency_key: "x", extend_by_ms: 1, metadata: null }],
        [`reservations/${id}/commit`, { idempotency_key: "c", actual: tokens(1), metrics: null, metadata: null }]
      ]
      for (const [path, body] of bodies) {
        expect(outcomeOf(server.request(path, { ...body, colour: null }))).toBe("400 INVALID_REQUEST")
        expect(outcomeOf(server.request(path, { ...body, idempotency_key: null }))).toBe("400 INVALID_REQUEST")
        expect(server.request(path, body).status).toBeLessThan(300)
      }
      expect(outcomeOf(server.request("events", { ...event, metrics: { colour: null } }))).toBe("400 INVALID_REQUEST")
      const tenant = {
        tenant_id: "t-a",
        name: "n",
        parent_tenant_id: null,
        max_reservation_ttl_ms: null,
        metadata: null
      }
      expect(outcomeOf(server.admin("POST", "tenants", { ...tenant, colour: null }))).toBe("400 INVALID_REQUEST")
      expect(server.admin("POST", "tenants", tenant).status).toBe(201)
    })
  })

  describe("requestParser", () => {
    it("rejects metadata on a release", () => {
      const server = makeTestServer()
      const release = (more: object) =>
        outcomeOf(server.request(`reservations/${reserve(server, 1)}/release`, { idempotency_key: "r", ...more }))
      expect([release({ metadata: {} }), release({ metadata: null })]).toEqual(Array(2).fill("400 INVALID_REQUEST"))
      expect(release({ reason: "r" })).toBe("200 RELEASED")
    })
  })
})
