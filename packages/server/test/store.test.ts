/**
 * The contract of a store, in memory and on SQLite.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import type { Reservation, StoredResponse } from "../src/internal/model.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import type { ReservationTable, Store } from "../src/internal/store.ts"
import { makeMemory } from "../src/internal/store.ts"
import type { Direction, CreationKey } from "../src/internal/creationIndex.ts"
import { estimateBody, makeTestServer } from "./support/testServer.ts"

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-store-"))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

const newFile = (): Store => SqliteStore.open(join(folder, `${++files}.sqlite`))

/** Closes and reopens the file, which empties all caches. */
const reopenFile = (store: Store): Store => {
  store.close()
  return SqliteStore.open(join(folder, `${files}.sqlite`))
}

/** Commits, and opens a copy of the file and of its log, as they are if the process is killed. */
const killProcess = (store: Store): Store => {
  store.commit()
  const [file, copy] = [join(folder, `${files}.sqlite`), join(folder, `${++files}.sqlite`)]
  cpSync(file, copy)
  cpSync(`${file}-wal`, `${copy}-wal`)
  store.close()
  return SqliteStore.open(copy)
}

/** Closes the store the first time, and kills the process the second time. */
const closeOrKill = (store: Store): Store => ((reopened += 1) % 2 === 1 ? reopenFile(store) : killProcess(store))

let reopened = 0

const stores: ReadonlyArray<readonly [string, () => Store, (store: Store) => Store, number]> = [
  ["memory", makeMemory, (store) => store, 300],
  ["SQLite", newFile, reopenFile, 40],
  ["SQLite after kills", newFile, closeOrKill, 40]
]

const reservation = (id: string, createdAtMs: number, expiresAtMs: number, tenantId = "acme"): Reservation => ({
  id,
  tenantId,
  status: "ACTIVE",
  idempotencyKey: `key of ${id}`,
  subject: { tenant: tenantId },
  action: { kind: "k", name: "n" },
  unit: "TOKENS",
  amount: 9_223_372_036_854_775_807n,
  committed: undefined,
  createdAtMs,
  expiresAtMs,
  graceMs: 0,
  finalizedAtMs: undefined,
  scopePath: `tenant:${tenantId}`,
  affectedScopes: [`tenant:${tenantId}`],
  heldScopes: [`tenant:${tenantId}`],
  overagePolicy: "REJECT",
  extensions: 0,
  maxExtensions: 1,
  metadata: { big: 9_223_372_036_854_775_807n, "\u0000int64": "5" },
  committedMetadata: undefined
})

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))

/** A step on the table of reservations. Few ids and instants make collisions likely. */
const Step = Schema.Struct({
  what: Schema.Literals(["put", "put", "put", "remove", "due", "commit", "reopen"]),
  name: small,
  instant: small,
  isOther: Schema.Boolean
})

const steps = Schema.Array(Step).check(Schema.isMaxLength(40))

/** A step on the table of responses. */
const ResponseStep = Schema.Struct({
  what: Schema.Literals(["put", "put", "put", "wait", "forget", "commit", "reopen"]),
  name: small
})

const responseSteps = Schema.Array(ResponseStep).check(Schema.isMaxLength(40))

const responseOf = (id: string, nowMs: number): StoredResponse => ({
  id,
  parentId: undefined,
  request: `request at ${nowMs}`,
  status: 200,
  body: "{}",
  reservationId: undefined,
  expiresAtMs: undefined,
  forgetAtMs: nowMs + 50
})

const compare = (a: CreationKey, b: CreationKey): number =>
  a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** Descending by instant; rows of the same instant ascend by id. */
const compareDown = (a: CreationKey, b: CreationKey): number => b.createdAtMs - a.createdAtMs || (a.id < b.id ? -1 : 1)

describe.each(stores)("Store in %s", (_name, open, reopen, runs) => {
  it.prop(
    `byCreation and due match a model after random steps (${runs} runs)`,
    { steps },
    ({ steps }) => {
      let store = open()
      const model = new Map<string, Reservation>()
      for (const { instant, isOther, name, what } of steps) {
        const known = model.get(`${name}`)
        if (what === "put") {
          // An update keeps the owner and the creation time.
          const value = reservation(
            `${name}`,
            known?.createdAtMs ?? instant,
            100 * instant,
            known?.tenantId ?? (isOther ? "other" : "acme")
          )
          model.set(value.id, value)
          store.reservations.put(value)
        } else if (what === "remove" && known !== undefined) {
          model.delete(known.id)
          store.reservations.remove(known.id)
        } else if (what === "due") {
          const due = store.reservations.due(100 * instant, 1_000)
          const expected = [...model.values()].filter((row) => row.expiresAtMs <= 100 * instant)
          expect(due.map((row) => row.expiresAtMs)).toEqual(
            expected.map((row) => row.expiresAtMs).toSorted((a, b) => a - b)
          )
          expect(new Set(due.map((row) => row.id))).toEqual(new Set(expected.map((row) => row.id)))
          for (const { id } of due) {
            model.delete(id)
            store.reservations.remove(id)
          }
        } else if (what === "commit") store.commit()
        else if (what === "reopen") store = reopen(store)
        expect(store.reservations.get(`${name}`)).toEqual(model.get(`${name}`))
      }
      const rows = [...model.values()].filter((row) => row.tenantId === "acme").toSorted(compare)
      const read = (direction: Direction, after?: CreationKey) =>
        Array.from(store.reservations.byCreation("acme", direction, after))
      expect(read("asc")).toEqual(rows)
      expect(read("desc")).toEqual(rows.toReversed())
      for (const createdAtMs of [0, 4, 9]) {
        const after = { createdAtMs, id: "5" }
        expect(read("asc", after)).toEqual(rows.filter((row) => compare(row, after) > 0))
        expect(read("desc", after)).toEqual(rows.filter((row) => compare(row, after) < 0).toReversed())
      }
      expect(store.reservations.size()).toBe(model.size)
      expect(new Set(Array.from(store.reservations.all(), (row) => row.id))).toEqual(new Set(model.keys()))
      store.close()
    },
    { arbitrary: { runs } }
  )

  it.prop(
    `responses match a model after random steps (${runs} runs)`,
    { steps: responseSteps },
    ({ steps }) => {
      let store = open()
      const model = new Map<string, StoredResponse>()
      let nowMs = 0
      for (const { name, what } of steps) {
        if (what === "put") {
          const response = responseOf(`reserve acme ${name}`, nowMs)
          // The ledger stores a response only if the earlier one of its key has been forgotten.
          if ((model.get(response.id)?.forgetAtMs ?? -1) < nowMs) {
            model.set(response.id, response)
            store.responses.put(response)
          }
        } else if (what === "wait") nowMs += 10 * name
        else if (what === "forget") {
          store.responses.forget(nowMs, 1_000)
          for (const { forgetAtMs, id } of model.values()) if (forgetAtMs <= nowMs) model.delete(id)
        } else if (what === "commit") store.commit()
        else store = reopen(store)
        for (let i = 0; i <= 9; i += 1) {
          const id = `reserve acme ${i}`
          expect(store.responses.get(id, undefined)).toEqual(model.get(id))
        }
      }
      store.close()
    },
    { arbitrary: { runs } }
  )

  it("byCreation lets a list read only the rows of its page", () => {
    const store = open()
    let count = 0
    const reservations: ReservationTable = {
      ...store.reservations,
      *byCreation(owner, direction, after) {
        for (const row of store.reservations.byCreation(owner, direction, after)) {
          count += 1
          yield row
        }
      }
    }
    const server = makeTestServer({ ...store, reservations })
    for (let i = 0; i < 50; i++) {
      server.request("reservations", estimateBody(`${i}`, 1))
      if (i % 3 === 0) server.nowMs += 1
    }
    for (const order of ["", "&sort_by=created_at_ms&sort_dir=asc"]) {
      const seen: Array<CreationKey> = []
      for (let cursor = ""; ;) {
        count = 0
        const { body } = server.request(`reservations?limit=10${order}&cursor=${cursor}`)
        // One row more than the page. In descending order also the other rows of the first and the last instant (3 rows each).
        expect(count).toBeLessThanOrEqual(order === "" ? 11 + 5 : 11)
        const page = Schema.decodeUnknownSync(Page)(body)
        seen.push(...page.reservations.map((row) => ({ createdAtMs: row.created_at_ms, id: row.reservation_id })))
        if (page.next_cursor === null) break
        cursor = page.next_cursor
      }
      expect(seen.length).toBe(50)
      expect(seen).toEqual(seen.toSorted(order === "" ? compareDown : compare))
    }
    store.close()
  })

  it("restores bigints even if BigInt.prototype.toJSON is defined", () => {
    Reflect.defineProperty(BigInt.prototype, "toJSON", { value: () => "text", configurable: true })
    try {
      const store = open()
      store.reservations.put(reservation("r", 1, 2))
      store.commit()
      const { amount, metadata } = reopen(store).reservations.get("r") ?? {}
      expect([amount, metadata]).toEqual([reservation("r", 1, 2).amount, reservation("r", 1, 2).metadata])
    } finally {
      Reflect.deleteProperty(BigInt.prototype, "toJSON")
    }
  })
})

describe("Store in SQLite", () => {
  it("finds a response after a kill if its row number was used before", () => {
    const first = newFile()
    first.responses.put(responseOf("reserve acme first", 0))
    const second = reopenFile(first)
    second.responses.forget(1_000, 10)
    const third = reopenFile(second)
    const response = responseOf("reserve acme second", 1_000)
    third.responses.put(response)
    const fourth = killProcess(third)
    expect(fourth.responses.get(response.id, undefined)).toEqual(response)
    fourth.close()
  })
})

const Page = Schema.Struct({
  reservations: Schema.Array(Schema.Struct({ reservation_id: Schema.String, created_at_ms: Schema.Finite })),
  next_cursor: Schema.NullOr(Schema.String)
})
