import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as CyclesServer from "../src/CyclesServer.ts"
import * as Handler from "../src/internal/handler.ts"
import type { Migration } from "../src/internal/sqliteStore.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import * as NodeCyclesServer from "../src/NodeCyclesServer.ts"
import { setUp } from "./support/sockets.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-cycles-data-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** A data file with a tenant, a key and a budget. */
const written = Effect.gen(function* () {
  const file = join(yield* folder, "ledger.sqlite")
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
      yield* Effect.promise(() => setUp(adminUrl))
    })
  )
  return file
})

const problemOf = (file: string) =>
  Effect.map(
    Effect.flip(Effect.scoped(NodeCyclesServer.make({ port: 0, adminKey: "K", data: file }))),
    (error) => error.problem
  )

/** All files of a folder with what is in them. */
const contents = (file: string): ReadonlyArray<readonly [string, string]> =>
  Fs.readdirSync(join(file, ".."))
    .toSorted()
    .map((name) => [name, Fs.readFileSync(join(file, "..", name)).toString("hex")])

const change = (file: string, sql: string): void => {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

const budgets = (store: ReturnType<typeof SqliteStore.open>) => Array.from(store.budgets.all(), (row) => row.allocated)

describe("a data file", () => {
  const bad: ReadonlyArray<readonly [string, (file: string) => void, RegExp]> = [
    [
      "is garbage",
      (file) => Fs.writeFileSync(file, "no database at all\n".repeat(50)),
      /is no data file of this server$/
    ],
    ["is a few bytes long", (file) => Fs.writeFileSync(file, "x"), /is no data file of this server$/],
    [
      "is somebody else's database",
      (file) => (Fs.rmSync(file), change(file, "CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")),
      /is no data file of this server$/
    ],
    [
      "has a newer format",
      (file) => change(file, "PRAGMA user_version = 99"),
      /has format 99; this server reads format 1 and older$/
    ],
    [
      "has a format that never was",
      (file) => change(file, "PRAGMA user_version = 0"),
      /has format 0; this server reads format 1 and older$/
    ],
    ["was cut short", (file) => Fs.truncateSync(file, 4_096), /can't be read: /],
    [
      "is overwritten behind its head",
      (file) => {
        const bytes = Fs.readFileSync(file)
        Fs.writeFileSync(file, bytes.fill(0xa5, 100))
      },
      /can't be read: /
    ],
    [
      "has a row that is none",
      (file) => change(file, "UPDATE things SET body = '{' WHERE kind = 'budgets'"),
      /can't be read: /
    ]
  ]

  it.live.each(bad)("that %s gives one error and stays as it is, byte for byte", ([, spoil, problem]) =>
    Effect.gen(function* () {
      const file = yield* written
      spoil(file)
      const before = contents(file)
      const told = yield* problemOf(file)
      expect(told).toMatch(problem)
      expect(told.startsWith(file) && !told.includes("\n")).toBe(true)
      expect(contents(file)).toEqual(before)
    })
  )

  it.live("with a newer format keeps the log that a killed server left beside it", () =>
    Effect.gen(function* () {
      const file = yield* written
      const db = new DatabaseSync(file)
      db.exec("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE); CREATE TABLE later (a)")
      const copy = join(yield* folder, "ledger.sqlite")
      for (const end of ["", "-wal"]) Fs.copyFileSync(file + end, copy + end)
      db.close()
      const before = contents(copy)
      expect(before.length).toBe(2)
      expect(yield* problemOf(copy)).toMatch(/has format 99/)
      expect(contents(copy)).toEqual(before)
    })
  )

  it.live("that is a folder, or is in no folder, gives one error and makes nothing", () =>
    Effect.gen(function* () {
      const path = yield* folder
      expect(yield* problemOf(path)).toBe(`${path} is no file`)
      expect(yield* problemOf(join(path, "none", "ledger.sqlite"))).toMatch(/ledger\.sqlite can't be made: ENOENT/)
      expect(Fs.readdirSync(path)).toEqual([])
    })
  )

  it.live("that another server runs on is refused, and the other goes on", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
      const before = contents(file)
      expect(yield* problemOf(file)).toBe(`${file} is in use: another server runs on it`)
      expect(contents(file)).toEqual(before)
      expect(yield* Effect.promise(() => setUp(adminUrl))).toMatch(/^cyc_live_/)
    })
  )

  it.live("of an older format is upgraded step by step, after a copy of it was made", () =>
    Effect.gen(function* () {
      const file = yield* written
      const ran: Array<number> = []
      const upgrades: ReadonlyArray<Migration> = [
        (db) => (ran.push(2), db.exec("CREATE TABLE second (a)")),
        (db) => (ran.push(3), db.exec("CREATE TABLE third (a)"))
      ]
      const store = SqliteStore.open(file, upgrades)
      expect([ran, budgets(store)]).toEqual([[2, 3], [1_000_000n]])
      store.close()
      SqliteStore.open(file, upgrades).close()
      expect(ran).toEqual([2, 3])
      // The copy is a data file of the older format, with everything in it; the upgraded one is too new for an older server.
      const copy = SqliteStore.open(`${file}.format-1`)
      expect(budgets(copy)).toEqual([1_000_000n])
      copy.close()
      expect(yield* problemOf(file)).toMatch(/has format 3; this server reads format 1 and older$/)
    })
  )

  it.live("whose upgrade fails keeps its format and its books", () =>
    Effect.gen(function* () {
      const file = yield* written
      const upgrades: ReadonlyArray<Migration> = [(db) => db.exec("DELETE FROM things; SELECT * FROM nowhere")]
      expect(() => SqliteStore.open(file, upgrades)).toThrow(
        `${file} can't be brought to format 2; a copy is in ${file}.format-1: no such table: nowhere`
      )
      const store = SqliteStore.open(file)
      expect(budgets(store)).toEqual([1_000_000n])
      store.close()
    })
  )

  it.live("that can't be written any more keeps what it has, and nothing half done", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const apiKey = yield* Effect.scoped(
        Effect.gen(function* () {
          const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
          return yield* Effect.promise(() => setUp(adminUrl))
        })
      )
      const full: ReadonlyArray<Migration> = [
        (db) =>
          db.exec(`
            CREATE TRIGGER full BEFORE INSERT ON things WHEN new.kind = 'reservations'
            BEGIN SELECT RAISE(ABORT, 'full'); END
          `)
      ]
      const store = SqliteStore.open(file, full)
      const answer = Handler.handle(
        CyclesServer.makeServer({ store }),
        "runtime",
        {
          method: "POST",
          url: "/v1/reservations",
          headers: { "x-cycles-api-key": apiKey, "content-type": "application/json" },
          body: JSON.stringify({
            idempotency_key: "k",
            subject: { tenant: "acme" },
            action: { kind: "k", name: "n" },
            estimate: { unit: "TOKENS", amount: 5 }
          })
        },
        Date.now()
      )
      expect([answer.status, JSON.parse(answer.body).message]).toEqual([500, "Internal error"])
      expect(store.isDirty()).toBe(true)
      expect(() => store.commit()).toThrow("the data file can't be written: full")
      store.close()
      const again = SqliteStore.open(file, full)
      expect(Array.from(again.budgets.all(), (budget) => budget.reserved)).toEqual([0n])
      again.close()
    })
  )

  it.live("has the hash of a key, and the key itself nowhere", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const secret = yield* Effect.scoped(
        Effect.gen(function* () {
          const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
          return yield* Effect.promise(() => setUp(adminUrl))
        })
      )
      // 192 random bits; that the answer has this form, and no room for more, is recorded of the reference server.
      expect(secret).toMatch(/^cyc_live_[A-Za-z0-9_-]{32}$/)
      const bytes = Fs.readFileSync(file, "latin1")
      expect(bytes).toContain(createHash("sha256").update(secret).digest("base64url"))
      expect(bytes).not.toContain(secret.slice(14))
    })
  )

  it("keeps any JSON of a user's as it is, also what looks like its own marks", () => {
    const path = Fs.mkdtempSync(join(tmpdir(), "effect-cycles-data-"))
    const store = SqliteStore.open(join(path, "ledger.sqlite"))
    const metadata = {
      "\u0000int64": "5",
      list: [{ "\u0000int64": "no number" }, { "\u0000object": ["a", [1, 2]] }],
      ...JSON.parse('{"__proto__":{"\\u0000int64":{"a":null}}}'),
      big: 9_223_372_036_854_775_807n
    }
    const tenant = {
      id: "acme",
      name: "acme",
      parentId: undefined,
      status: "ACTIVE",
      createdAtMs: 0,
      updatedAtMs: undefined,
      overagePolicy: "REJECT",
      defaultTtlMs: 1_000,
      maxTtlMs: 1_000,
      maxExtensions: 1,
      expiryPolicy: undefined,
      metadata,
      suspendedAtMs: undefined,
      closedAtMs: undefined
    } as const
    store.tenants.put(tenant)
    store.close()
    const again = SqliteStore.open(join(path, "ledger.sqlite"))
    const read = again.tenants.get("acme")?.metadata
    again.close()
    Fs.rmSync(path, { recursive: true, force: true })
    expect(read).toEqual(metadata)
    expect(Object.keys(Object(read))).toEqual(Object.keys(metadata))
  })
})
