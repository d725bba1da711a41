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
        expect(response.body["message"]).toMatch(/no excess property/)
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

  describe("withMetadata", () => {
    it("rejects metadata on a release", () => {
      const server = makeTestServer()
      const release = (more: object) =>
        outcomeOf(server.request(`reservations/${reserve(server, 1)}/release`, { idempotency_key: "r", ...more }))
      expect([release({ metadata: {} }), release({ metadata: null })]).toEqual(Array(2).fill("400 INVALID_REQUEST"))
      expect(release({ reason: "r" })).toBe("200 RELEASED")
    })
  })
})
