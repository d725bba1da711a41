import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { SettlementJournal } from "effect-cycles"
import { JournalSqlite } from "effect-cycles/node"
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { journalSuite, owner, record } from "../suites/journalSuite.ts"
import { temporaryFolder } from "./support.ts"

journalSuite("SQLite", () => JournalSqlite.layer({ filename: join(temporaryFolder(), "journal.sqlite") }))

const using = <A, E>(filename: string, body: (journal: SettlementJournal.Journal) => Effect.Effect<A, E>) =>
  Effect.flatMap(SettlementJournal.SettlementJournal, (store) => Effect.flatMap(store.open(owner), body)).pipe(
    Effect.scoped,
    Effect.provide(JournalSqlite.layer({ filename }))
  )

const pending = (journal: SettlementJournal.Journal) =>
  Effect.map(Stream.runCollect(journal.pending), (records) => records.map((one) => String(one.reservationId)))

describe("JournalSqlite", () => {
  it.live("keeps records over a restart, and has a removal done when it closes", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(filename, (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          yield* journal.put(record("r2"))
          yield* journal.remove(record("r1").reservationId)
        })
      )
      expect(yield* using(filename, pending)).toEqual(["r2"])
    })
  )

  it.live("a record is there after kill -9, as soon as put has returned", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      const child = spawnSync(process.execPath, [join(import.meta.dirname, "putAndDie.ts"), filename])
      expect(child.signal).toBe("SIGKILL")
      expect(yield* using(filename, pending)).toEqual(["from-the-child"])
    })
  )

  it.live("folder and file are its owner's alone, and the folder above is left as it is", () =>
    Effect.gen(function* () {
      const above = temporaryFolder()
      chmodSync(above, 0o755)
      const filename = join(above, "journal", "journal.sqlite")
      yield* using(filename, (journal) => journal.put(record("r1")))
      expect(statSync(above).mode & 0o777).toBe(0o755)
      expect(statSync(join(above, "journal")).mode & 0o777).toBe(0o700)
      expect(statSync(filename).mode & 0o777).toBe(0o600)
    })
  )

  it.live("sets a damaged record aside, and the others are not in its way", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(filename, (journal) => Effect.andThen(journal.put(record("r1")), journal.put(record("r2"))))
      const db = new DatabaseSync(filename)
      db.exec("UPDATE records SET commit_body = '{' WHERE reservation_id = 'r1'")
      db.close()
      expect(yield* using(filename, pending)).toEqual(["r2"])
      const after = new DatabaseSync(filename)
      expect(after.prepare("SELECT count(*) AS n FROM quarantine").get()).toEqual({ n: 1 })
      expect(after.prepare("SELECT count(*) AS n FROM records").get()).toEqual({ n: 1 })
      after.close()
    })
  )

  it.live("refuses a newer format and another program's file, and leaves them alone", () =>
    Effect.gen(function* () {
      const newer = join(temporaryFolder(), "journal.sqlite")
      yield* using(newer, (journal) => journal.put(record("r1")))
      const db = new DatabaseSync(newer)
      db.exec("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)")
      db.close()
      const text = join(temporaryFolder(), "notes.txt")
      writeFileSync(text, "these are my notes, not a database, and long enough to have a header of another kind")
      for (const [filename, problem] of [
        [newer, "format 99"],
        [text, "not a database"]
      ] as const) {
        const before = readFileSync(filename)
        const error = yield* Effect.flip(using(filename, pending))
        expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
        expect(error.message).toContain(problem)
        expect(readFileSync(filename).equals(before)).toBe(true)
      }
      expect(existsSync(`${text}-wal`)).toBe(false)
    })
  )

  it.live("two processes use one file at the same time", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      const seen = yield* using(filename, (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          spawnSync(process.execPath, [join(import.meta.dirname, "putAndDie.ts"), filename])
          yield* journal.put(record("r2"))
          return yield* pending(journal)
        })
      )
      expect(seen.toSorted()).toEqual(["from-the-child", "r1", "r2"])
    })
  )
})
