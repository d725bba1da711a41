/**
 * How long things are kept, and that no more than that is kept.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import type { Store } from "../src/internal/store.ts"
import { makeMemory } from "../src/internal/store.ts"
import * as NodeCyclesServer from "../src/NodeCyclesServer.ts"
import { setUp } from "./support/sockets.ts"
import { act, make, spend, tokens } from "./support/world.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-retention-"))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

const stores: ReadonlyArray<readonly [string, () => Store]> = [
  ["memory", makeMemory],
  ["SQLite", () => SqliteStore.open(join(folder, `${++files}.sqlite`))]
]

const hourMs = 3_600_000
const dayMs = 24 * hourMs

describe.each(stores)("the server in %s", (_name, open) => {
  it("answers a repeated reserve and decide alike for 24 hours, an event for 7 days, and then as new", () => {
    const world = make(open())
    const calls: ReadonlyArray<readonly [string, object, number]> = [
      ["reservations", act("k", 1), dayMs],
      ["reservations", act("dry", 1, { dry_run: true }), dayMs],
      ["decide", act("k", 1), dayMs],
      ["events", spend("k", 1), 7 * dayMs]
    ]
    for (const [path, body, keptMs] of calls) {
      const start = world.nowMs
      const first = world.ask(path, body)
      const other = { ...body, metadata: { other: true } }
      world.nowMs = start + keptMs
      expect([path, world.ask(path, body).body["event_id"], world.ask(path, other).status]).toEqual([
        path,
        first.body["event_id"],
        409
      ])
      world.nowMs += 1
      expect([path, world.ask(path, other).status]).toEqual([path, first.status])
    }
    world.server.store.close()
  })

  it("remembers the key of a reserve for as long as its lease and grace, where that is longer", () => {
    const world = make(open())
    world.admin("PATCH", "tenants/acme", { max_reservation_ttl_ms: dayMs })
    const body = act("k", 1, { ttl_ms: dayMs, grace_period_ms: 60_000 })
    const id = world.ask("reservations", body).body["reservation_id"]
    world.nowMs += dayMs + 60_000
    expect(world.ask("reservations", body).body["reservation_id"]).toBe(id)
    world.nowMs += 1
    expect(world.ask("reservations", body).body["reservation_id"]).not.toBe(id)
    world.server.store.close()
  })

  it("keeps a reservation and its settlement for 30 days after its end, however it ended", () => {
    const world = make(open())
    const held = ["a", "b", "c"].map((key) => {
      const { body } = world.ask("reservations", act(key, 1, { ttl_ms: 1_000, grace_period_ms: 0 }))
      return String(body["reservation_id"])
    })
    const [first, second, third] = held
    world.ask(`reservations/${first}/commit`, { idempotency_key: "c", actual: tokens(1) })
    world.ask(`reservations/${second}/release`, { idempotency_key: "r" })
    const settledAt = world.nowMs
    const statuses = () => held.map((id) => world.ask(`reservations/${id}`).status)
    expect(statuses()).toEqual([200, 200, 200])
    world.nowMs = settledAt + 30 * dayMs
    expect(statuses()).toEqual([200, 200, 410])
    expect(world.ask(`reservations/${first}/commit`, { idempotency_key: "c", actual: tokens(1) }).status).toBe(200)
    world.nowMs += 5
    expect(statuses()).toEqual([404, 404, 410])
    world.nowMs = settledAt + 1_000 + 30 * dayMs + 1
    expect(world.ask(`reservations/${third}`).status).toBe(404)
    // What was spent stays spent.
    expect(world.books()).toMatchObject({ spent: 1n, reserved: 0n })
    world.server.store.close()
  })

  // Each of some 2,700 calls is made durable by itself.
  it("holds no more after 90 days of the same load than after 31", () => {
    const world = make(open())
    const sizes: Array<readonly [number, number]> = []
    for (let day = 0; day < 90; day++) {
      for (let i = 0; i < 8; i++) {
        const key = `${day}-${i}`
        const id = world.ask("reservations", act(key, 1, { ttl_ms: 1_000 + i })).body["reservation_id"]
        if (i % 4 === 0) world.ask(`reservations/${id}/commit`, { idempotency_key: key, actual: tokens(1) })
        if (i % 4 === 1) world.ask(`reservations/${id}/release`, { idempotency_key: key })
        if (i % 4 === 2) world.ask(`reservations/${id}/extend`, { idempotency_key: key, extend_by_ms: 10 })
        world.ask("events", spend(key, 1))
        world.ask("decide", act(key, 1))
        world.nowMs += 3 * hourMs
      }
      sizes.push([world.server.store.reservations.size(), world.server.store.answers.size()])
    }
    expect(sizes.slice(32).filter((size) => String(size) !== String(sizes[32]))).toEqual([])
    expect(sizes[32]?.[0]).toBeLessThan(31 * 8)
    world.server.store.close()
  }, 60_000)
})

describe("a server that nobody asks", () => {
  it.effect("gives back what has expired, and forgets it in its time", () =>
    Effect.gen(function* () {
      const { adminUrl, server, url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K" })
      const apiKey = yield* Effect.promise(() => setUp(adminUrl))
      yield* Effect.promise(() =>
        fetch(`${url}/v1/reservations`, {
          method: "POST",
          headers: { "content-type": "application/json", "x-cycles-api-key": apiKey },
          body: JSON.stringify(act("k", 5, { ttl_ms: 10_000, grace_period_ms: 0 }))
        })
      )
      const reserved = () => server.store.budgets.get("TOKENS tenant:acme")?.reserved
      yield* TestClock.adjust("10 seconds")
      expect([reserved(), server.store.answers.size()]).toEqual([5n, 1])
      yield* TestClock.adjust("5 seconds")
      expect([reserved(), server.store.reservations.size()]).toEqual([0n, 1])
      yield* TestClock.adjust("1 day")
      expect([server.store.answers.size(), server.store.reservations.size()]).toEqual([0, 1])
    })
  )
})
