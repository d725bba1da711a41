/**
 * How long reservations and responses are kept.
 */
import { describe, expect, it } from "@effect/vitest"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import type { Store } from "../src/internal/store.ts"
import { makeMemory } from "../src/internal/store.ts"
import { estimateBody, makeTestServer, outcomeOf, reserve, eventBody, tokens } from "./support/testServer.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-sweep-"))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

const stores: ReadonlyArray<readonly [string, () => Store]> = [
  ["memory", makeMemory],
  ["SQLite", () => SqliteStore.open(join(folder, `${++files}.sqlite`))]
]

const hourMs = 3_600_000
const dayMs = 24 * hourMs

describe.each(stores)("sweep in %s", (_name, open) => {
  it("repeats the response to an extension until the extended lease ends", () => {
    const server = makeTestServer(open())
    const id = reserve(server, 1, { ttl_ms: 1_000, grace_period_ms: 60_000 })
    const extend = (key: string) =>
      server.request(`reservations/${id}/extend`, { idempotency_key: key, extend_by_ms: 1_000 })
    const first = extend("a")
    server.nowMs += 1_999
    expect(extend("a").body).toEqual({ ...first.body, remaining_ttl_ms: 1 })
    server.nowMs += 2
    expect(outcomeOf(extend("a"))).toBe("410 RESERVATION_EXPIRED")
    expect(server.request(`reservations/${id}/commit`, { idempotency_key: "c", actual: tokens(1) }).status).toBe(200)
    server.internals.store.close()
  })

  it("repeats the response to reserve and decide for 24 hours and to an event for 7 days", () => {
    const server = makeTestServer(open())
    const calls: ReadonlyArray<readonly [string, object, number]> = [
      ["reservations", estimateBody("k", 1), dayMs],
      ["reservations", estimateBody("dry", 1, { dry_run: true }), dayMs],
      ["decide", estimateBody("k", 1), dayMs],
      ["events", eventBody("k", 1), 7 * dayMs]
    ]
    for (const [path, body, retentionMs] of calls) {
      const start = server.nowMs
      const first = server.request(path, body)
      const other = { ...body, metadata: { other: true } }
      server.nowMs = start + retentionMs
      expect([path, server.request(path, body).body["event_id"], server.request(path, other).status]).toEqual([
        path,
        first.body["event_id"],
        409
      ])
      server.nowMs += 1
      expect([path, server.request(path, other).status]).toEqual([path, first.status])
    }
    server.internals.store.close()
  })

  it("repeats the response to a reserve until its lease and grace end, if that is later than 24 hours", () => {
    const server = makeTestServer(open())
    server.admin("PATCH", "tenants/acme", { max_reservation_ttl_ms: dayMs })
    const body = estimateBody("k", 1, { ttl_ms: dayMs, grace_period_ms: 60_000 })
    const id = server.request("reservations", body).body["reservation_id"]
    server.nowMs += dayMs + 60_000
    expect(server.request("reservations", body).body["reservation_id"]).toBe(id)
    server.nowMs += 1
    expect(server.request("reservations", body).body["reservation_id"]).not.toBe(id)
    server.internals.store.close()
  })

  it("keeps a reservation and its settlement for 30 days after it was settled or expired", () => {
    const server = makeTestServer(open())
    const ids = ["a", "b", "c"].map((key) => {
      const { body } = server.request("reservations", estimateBody(key, 1, { ttl_ms: 1_000, grace_period_ms: 0 }))
      return String(body["reservation_id"])
    })
    const [first, second, third] = ids
    server.request(`reservations/${first}/commit`, { idempotency_key: "c", actual: tokens(1) })
    server.request(`reservations/${second}/release`, { idempotency_key: "r" })
    const settledAt = server.nowMs
    const statuses = () => ids.map((id) => server.request(`reservations/${id}`).status)
    expect(statuses()).toEqual([200, 200, 200])
    server.nowMs = settledAt + 30 * dayMs
    expect(statuses()).toEqual([200, 200, 410])
    expect(server.request(`reservations/${first}/commit`, { idempotency_key: "c", actual: tokens(1) }).status).toBe(200)
    server.nowMs += 5
    expect(statuses()).toEqual([404, 404, 410])
    server.nowMs = settledAt + 1_000 + 30 * dayMs + 1
    expect(server.request(`reservations/${third}`).status).toBe(404)
    // Removing a reservation does not change the budget.
    expect(server.ledger()).toMatchObject({ spent: 1n, reserved: 0n })
    server.internals.store.close()
  })

  // About 2,700 calls with one commit each, so the timeout is longer.
  it("stores no more rows after 90 days of constant load than after 31", () => {
    const server = makeTestServer(open())
    const sizes: Array<readonly [number, number]> = []
    for (let day = 0; day < 90; day++) {
      for (let i = 0; i < 8; i++) {
        const key = `${day}-${i}`
        const id = server.request("reservations", estimateBody(key, 1, { ttl_ms: 1_000 + i })).body["reservation_id"]
        if (i % 4 === 0) server.request(`reservations/${id}/commit`, { idempotency_key: key, actual: tokens(1) })
        if (i % 4 === 1) server.request(`reservations/${id}/release`, { idempotency_key: key })
        if (i % 4 === 2) server.request(`reservations/${id}/extend`, { idempotency_key: key, extend_by_ms: 10 })
        server.request("events", eventBody(key, 1))
        server.request("decide", estimateBody(key, 1))
        server.nowMs += 3 * hourMs
      }
      sizes.push([server.internals.store.reservations.size(), server.internals.store.responses.size()])
    }
    expect(sizes.slice(32).filter((size) => String(size) !== String(sizes[32]))).toEqual([])
    expect(sizes[32]?.[0]).toBeLessThan(31 * 8)
    server.internals.store.close()
  }, 60_000)
})
