/**
 * Data files: rejected files, locks, upgrades, failed writes, and the content of rows.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as CyclesServer from "../src/CyclesServer.ts"
import * as Handler from "../src/internal/handler.ts"
import type { Format, Migration } from "../src/internal/dataFile.ts"
import * as DataFile from "../src/internal/dataFile.ts"
import { format } from "../src/internal/migrations.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import * as NodeCyclesServer from "../src/NodeCyclesServer.ts"
import { createTenant } from "./support/sockets.ts"
import { estimateBody } from "./support/testServer.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-cycles-data-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** A closed data file with a tenant, a key and a budget. */
const existingFile = Effect.gen(function* () {
  const file = join(yield* folder, "ledger.sqlite")
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
      yield* Effect.promise(() => createTenant(adminUrl))
    })
  )
  return file
})

const openError = (file: string) =>
  Effect.map(
    Effect.flip(Effect.scoped(NodeCyclesServer.make({ port: 0, adminKey: "K", data: file }))),
    (error) => error.problem
  )

/** The names and bytes of all files in the folder of a file. */
const contents = (file: string): ReadonlyArray<readonly [string, string]> =>
  Fs.readdirSync(join(file, ".."))
    .toSorted()
    .map((name) => [name, Fs.readFileSync(join(file, "..", name)).toString("hex")])

const execute = (file: string, sql: string): void => {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

/** The current format followed by further upgrades. */
const withUpgrades = (...upgrades: ReadonlyArray<Migration>): Format => ({
  ...format,
  upgrades: [...format.upgrades, ...upgrades]
})

const budgets = (store: ReturnType<typeof SqliteStore.open>) => Array.from(store.budgets.all(), (row) => row.allocated)

/** A data file of format 1: its rows, and requests with the responses that a server of that format returned. */
const Format1 = Schema.Struct({
  nowMs: Schema.Finite,
  apiKey: Schema.String,
  things: Schema.Array(Schema.Tuple([Schema.String, Schema.String, Schema.String, Schema.Finite, Schema.String])),
  exchanges: Schema.Array(
    Schema.Struct({
      method: Schema.String,
      url: Schema.String,
      body: Schema.String,
      isAdmin: Schema.Boolean,
      status: Schema.Finite,
      response: Schema.String
    })
  )
})

const format1 = Schema.decodeUnknownSync(Format1)(
  JSON.parse(Fs.readFileSync(new URL("./fixtures/format-1.json", import.meta.url), "utf8"))
)

const makeFormat1 = (file: string): void => {
  const db = new DatabaseSync(file)
  db.exec(`
    PRAGMA application_id = ${0x4379636c};
    PRAGMA user_version = 1;
    CREATE TABLE things (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      owner TEXT NOT NULL,
      due INTEGER NOT NULL,
      body TEXT NOT NULL,
      PRIMARY KEY (kind, id)
    ) STRICT;
    CREATE INDEX things_by_owner ON things (kind, owner) WHERE owner <> '';
    CREATE INDEX things_by_due ON things (kind, due) WHERE due < ${Number.MAX_SAFE_INTEGER};
  `)
  const insert = db.prepare("INSERT INTO things (kind, id, owner, due, body) VALUES (?, ?, ?, ?, ?)")
  for (const thing of format1.things) insert.run(...thing)
  db.close()
}

/** A response without the field that depends on the current time. */
const withoutTtl = (text: string): string => text.replace(/"remaining_ttl_ms":\d+/, "")

describe("dataFile", () => {
  const unusable: ReadonlyArray<readonly [string, (file: string) => void, RegExp]> = [
    [
      "contains garbage",
      (file) => Fs.writeFileSync(file, "no database at all\n".repeat(50)),
      /isn't a data file of this server$/
    ],
    ["is a few bytes long", (file) => Fs.writeFileSync(file, "x"), /isn't a data file of this server$/],
    [
      "is the database of another program",
      (file) => (Fs.rmSync(file), execute(file, "CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")),
      /isn't a data file of this server$/
    ],
    [
      "has a newer format",
      (file) => execute(file, "PRAGMA user_version = 99"),
      /has format 99; this server reads format 3 and older$/
    ],
    [
      "has a format that never existed",
      (file) => execute(file, "PRAGMA user_version = 0"),
      /has format 0; this server reads format 3 and older$/
    ],
    ["was truncated", (file) => Fs.truncateSync(file, 4_096), /can't be read: /],
    [
      "was overwritten after its header",
      (file) => {
        const bytes = Fs.readFileSync(file)
        Fs.writeFileSync(file, bytes.fill(0xa5, 100))
      },
      /can't be read: /
    ],
    [
      "has a malformed row",
      (file) => execute(file, "UPDATE records SET body = '{' WHERE kind = 'budgets'"),
      /can't be read: /
    ]
  ]

  it.live.each(unusable)("open fails with one line and leaves the file unchanged when it %s", ([, spoil, problem]) =>
    Effect.gen(function* () {
      const file = yield* existingFile
      spoil(file)
      const before = contents(file)
      const message = yield* openError(file)
      expect(message).toMatch(problem)
      expect(message.startsWith(file) && !message.includes("\n")).toBe(true)
      expect(contents(file)).toEqual(before)
    })
  )

  it.live("open leaves the write-ahead log of a newer format untouched", () =>
    Effect.gen(function* () {
      const file = yield* existingFile
      const db = new DatabaseSync(file)
      db.exec("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE); CREATE TABLE later (a)")
      const copy = join(yield* folder, "ledger.sqlite")
      for (const end of ["", "-wal"]) Fs.copyFileSync(file + end, copy + end)
      db.close()
      const before = contents(copy)
      expect(before.length).toBe(2)
      expect(yield* openError(copy)).toMatch(/has format 99/)
      expect(contents(copy)).toEqual(before)
    })
  )

  it.live("open fails for a folder or a missing folder, and creates nothing", () =>
    Effect.gen(function* () {
      const path = yield* folder
      expect(yield* openError(path)).toBe(`${path} isn't a file`)
      expect(yield* openError(join(path, "none", "ledger.sqlite"))).toMatch(/ledger\.sqlite can't be created: ENOENT/)
      expect(Fs.readdirSync(path)).toEqual([])
    })
  )

  it.live("open fails while another server uses the file, and that server continues", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
      const before = contents(file)
      expect(yield* openError(file)).toBe(`${file} is in use: another server runs on it`)
      expect(contents(file)).toEqual(before)
      expect(yield* Effect.promise(() => createTenant(adminUrl))).toMatch(/^cyc_live_/)
    })
  )

  it.live("open copies a file of an older format, then upgrades it step by step", () =>
    Effect.gen(function* () {
      const file = yield* existingFile
      const ran: Array<number> = []
      const upgrades = withUpgrades(
        (db) => (ran.push(4), db.exec("CREATE TABLE fourth (a)")),
        (db) => (ran.push(5), db.exec("CREATE TABLE fifth (a)"))
      )
      const store = SqliteStore.open(file, upgrades)
      expect([ran, budgets(store)]).toEqual([[4, 5], [1_000_000n]])
      store.close()
      SqliteStore.open(file, upgrades).close()
      expect(ran).toEqual([4, 5])
      // A server of the older format opens the copy, but not the upgraded file.
      const copy = SqliteStore.open(`${file}.format-3`)
      expect(budgets(copy)).toEqual([1_000_000n])
      copy.close()
      expect(yield* openError(file)).toMatch(/has format 5; this server reads format 3 and older$/)
    })
  )

  it.live("a failed upgrade leaves the format and the budgets unchanged", () =>
    Effect.gen(function* () {
      const file = yield* existingFile
      const upgrades = withUpgrades((db) => db.exec("DELETE FROM records; SELECT * FROM nowhere"))
      expect(() => SqliteStore.open(file, upgrades)).toThrow(
        `${file} can't be upgraded to format 4; a copy is in ${file}.format-3: no such table: nowhere`
      )
      const store = SqliteStore.open(file)
      expect(budgets(store)).toEqual([1_000_000n])
      store.close()
    })
  )

  it.live.each([1, 2])("a server on an upgraded file of format %i returns the same responses as before", (version) =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      makeFormat1(file)
      if (version === 2) {
        DataFile.open(file, { ...format, upgrades: format.upgrades.slice(0, 1) }, (db) => db).close()
        Fs.rmSync(`${file}.format-1`)
      }
      const store = SqliteStore.open(file)
      const server = CyclesServer.makeServer({
        store,
        adminKey: "K",
        secrets: { make: () => "none", hash: (secret) => `hash of ${secret}` }
      })
      for (const { body, isAdmin, method, response, status, url } of format1.exchanges) {
        const headers = isAdmin ? { "x-admin-api-key": "K" } : { "x-cycles-api-key": format1.apiKey }
        const again = Handler.handle(
          server,
          "both",
          { method, url, headers: { ...headers, "content-type": "application/json" }, body },
          format1.nowMs
        )
        expect([method, url, again.status, withoutTtl(again.body)]).toEqual([method, url, status, withoutTtl(response)])
      }
      store.close()
      const copy = new DatabaseSync(`${file}.format-${version}`)
      const table = version === 1 ? "things" : "reservations"
      const rows = format1.things.filter(([kind]) => version === 1 || kind === table)
      expect(copy.prepare(`SELECT count(*) AS n FROM ${table}`).get()).toEqual({ n: rows.length })
      copy.close()
    })
  )

  it.live("commit fails when a write fails, and the file keeps no part of the transaction", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const apiKey = yield* Effect.scoped(
        Effect.gen(function* () {
          const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
          return yield* Effect.promise(() => createTenant(adminUrl))
        })
      )
      const full = withUpgrades((db) =>
        db.exec(`
          CREATE TRIGGER full BEFORE INSERT ON reservations
          BEGIN SELECT RAISE(ABORT, 'full'); END
        `)
      )
      const store = SqliteStore.open(file, full)
      const response = Handler.handle(
        CyclesServer.makeServer({ store }),
        "runtime",
        {
          method: "POST",
          url: "/v1/reservations",
          headers: { "x-cycles-api-key": apiKey, "content-type": "application/json" },
          body: JSON.stringify(estimateBody("k", 5))
        },
        Date.now()
      )
      // The handler returns a response, but the commit that must precede sending it fails.
      expect(response.status).toBe(200)
      expect(store.isDirty()).toBe(true)
      expect(() => store.commit()).toThrow("the data file can't be written: full")
      store.close()
      const again = SqliteStore.open(file, full)
      expect(Array.from(again.budgets.all(), (budget) => budget.reserved)).toEqual([0n])
      again.close()
    })
  )

  it.live("the file contains the hash of an API key, but not the key", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "ledger.sqlite")
      const secret = yield* Effect.scoped(
        Effect.gen(function* () {
          const { adminUrl } = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", data: file })
          return yield* Effect.promise(() => createTenant(adminUrl))
        })
      )
      // The prefix and the length of a key are those of the reference server.
      expect(secret).toMatch(/^cyc_live_[A-Za-z0-9_-]{32}$/)
      const bytes = Fs.readFileSync(file, "latin1")
      expect(bytes).toContain(createHash("sha256").update(secret).digest("base64url"))
      expect(bytes).not.toContain(secret.slice(14))
    })
  )

  it("metadata survives a reopen unchanged, even if it contains the keys that the encoding reserves", () => {
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
