/**
 * Journals of older and newer clients.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SettlementJournal } from "effect-cycles"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { adoptInChild, start, using } from "../suites/durableSuite.ts"
import { writeFilesV1, writeSqliteV1 } from "./fixtures.ts"
import { owner, record } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const sqlite = (filename: string) => JournalSqlite.layer({ filename })

const sqliteV1 = (): string => {
  const filename = join(temporaryFolder(), "journal.sqlite")
  writeSqliteV1(filename)
  return filename
}

/** The records of an owner in the journals of format 1. */
const recordsOf = ({ baseUrl }: SettlementJournal.JournalOwner) => [
  record("r2", { baseUrl, mode: "event", notBeforeMs: 1_700_000_060_000, recordedAtMs: 1_699_999_999_000 }),
  record("a/b\\c ..: é", { baseUrl, eventBody: undefined }),
  record("r1", { baseUrl })
]

const letterOf = ({ baseUrl }: SettlementJournal.JournalOwner) => ({
  record: record("dead", { baseUrl, mode: "event", notBeforeMs: 9 }),
  reason: "BUDGET_FROZEN: frozen",
  diedAtMs: 1_700_000_100_000
})

const other = { baseUrl: "http://other", fingerprint: "8baba538fb970da4" }

const versionOf = (filename: string) => {
  const db = new DatabaseSync(filename, { readOnly: true })
  try {
    return { ...db.prepare("PRAGMA user_version").get() }["user_version"]
  } finally {
    db.close()
  }
}

const idsIn = (filename: string) => {
  const db = new DatabaseSync(filename)
  try {
    return db
      .prepare("SELECT reservation_id AS id FROM records WHERE fingerprint = ? ORDER BY id")
      .all(owner.fingerprint)
      .map(({ id }) => id)
  } finally {
    db.close()
  }
}

describe("journal of format 1", () => {
  for (const [name, make] of [
    ["SQLite", () => sqlite(sqliteV1())],
    [
      "files",
      () => {
        const folder = temporaryFolder()
        writeFilesV1(folder)
        return JournalFiles.layer({ folder })
      }
    ]
  ] as const) {
    it.live(`is read with all its fields, and settled (${name})`, () => {
      const layer = make()
      return Effect.gen(function* () {
        for (const journalOwner of [owner, other]) {
          yield* using(
            layer,
            (journal) =>
              Effect.gen(function* () {
                expect(yield* Stream.runCollect(journal.pending)).toEqual(recordsOf(journalOwner))
                expect(yield* Stream.runCollect(journal.deadLetters)).toEqual([letterOf(journalOwner)])
                for (const one of recordsOf(journalOwner)) {
                  expect(yield* journal.isDecided(one.reservationId)).toBe(true)
                  yield* journal.put({ ...one, mode: "event", notBeforeMs: 1 })
                  yield* journal.remove(one)
                }
                yield* journal.forget(letterOf(journalOwner))
                expect(yield* Stream.runCollect(journal.deadLetters)).toEqual([])
              }),
            journalOwner
          )
          yield* using(
            layer,
            (journal) =>
              Effect.gen(function* () {
                expect(yield* Stream.runCollect(journal.pending)).toEqual([])
              }),
            journalOwner
          )
        }
      })
    })
  }

  it.live("is copied before it is upgraded, including its write-ahead log, readable only by its owner", () =>
    Effect.gen(function* () {
      const filename = sqliteV1()
      // Another process of the old client has it open, so that its last record is only in the log.
      const old = new DatabaseSync(filename)
      const insert = old.prepare("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      insert.run(owner.fingerprint, owner.baseUrl, "in-the-log", "commit", "{}", null, 1, 0)
      yield* using(sqlite(filename), (journal) => journal.put(record("new")))
      expect(versionOf(filename)).toBe(2)
      expect(versionOf(`${filename}.v1.bak`)).toBe(1)
      expect(statSync(`${filename}.v1.bak`).mode & 0o777).toBe(0o600)
      expect(idsIn(`${filename}.v1.bak`)).toEqual(["a/b\\c ..: é", "in-the-log", "r1", "r2"])
      expect(idsIn(filename)).toEqual(["a/b\\c ..: é", "in-the-log", "new", "r1", "r2"])
      // The old client continues.
      insert.run(owner.fingerprint, owner.baseUrl, "later", "commit", "{}", null, 2, 0)
      old.close()
      expect(idsIn(filename)).toContain("later")
    })
  )

  it.live(
    "is upgraded and copied once when several processes open it at the same time",
    () =>
      Effect.gen(function* () {
        const filename = sqliteV1()
        const children = yield* Effect.forEach([1, 2, 3, 4], () => start(filename, "adopt"), {
          concurrency: "unbounded"
        })
        yield* Effect.forEach(children, adoptInChild, { concurrency: "unbounded" })
        expect(yield* using(sqlite(filename), (journal) => Stream.runCollect(journal.pending))).toEqual(
          recordsOf(owner)
        )
        expect(readdirSync(dirname(filename)).filter((name) => name.includes("bak"))).toEqual(["journal.sqlite.v1.bak"])
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("stays unchanged while it can't be copied, and keeps an earlier copy", () =>
    Effect.gen(function* () {
      const filename = sqliteV1()
      mkdirSync(`${filename}.v1.bak.tmp`)
      const before = readFileSync(filename)
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(journal.put(record("new")))
          expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
          expect(readFileSync(filename).equals(before)).toBe(true)
          rmdirSync(`${filename}.v1.bak.tmp`)
          mkdirSync(`${filename}.v1.bak`)
          yield* journal.put(record("new"))
        })
      )
      expect(versionOf(`${filename}.v1.bak.2`)).toBe(1)
      expect(idsIn(filename)).toContain("new")
    })
  )
})

describe("journal of a newer format", () => {
  it.live("is refused and left unchanged, including its write-ahead log", () =>
    Effect.gen(function* () {
      const filename = sqliteV1()
      const newer = new DatabaseSync(filename)
      newer.exec("PRAGMA user_version = 3; CREATE TABLE more (a TEXT)")
      const copy = join(temporaryFolder(), "journal.sqlite")
      // As after a crash: no process has it open, and the last changes are only in the log.
      for (const end of ["", "-wal"]) cpSync(`${filename}${end}`, `${copy}${end}`)
      newer.close()
      const read = () => ["", "-wal"].map((end) => readFileSync(`${copy}${end}`).toString("base64"))
      const before = read()
      expect(statSync(`${copy}-wal`).size).toBeGreaterThan(0)
      for (const operation of [
        (journal: SettlementJournal.Journal) => journal.put(record("r1")),
        (journal: SettlementJournal.Journal) => Stream.runDrain(journal.pending)
      ]) {
        const error = yield* Effect.flip(using(sqlite(copy), operation))
        expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
        expect(error.message).toContain("format 3")
      }
      expect(read()).toEqual(before)
      expect(existsSync(`${copy}.v1.bak`)).toBe(false)
    })
  )
})
