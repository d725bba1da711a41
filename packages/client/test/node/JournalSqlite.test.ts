import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { JournalSqlite } from "effect-cycles/node"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { vi } from "vitest"
import { durableSuite, pendingIds, using } from "../suites/durableSuite.ts"
import { journalSuite } from "../suites/journalSuite.ts"
import { runKilled } from "./killed.ts"
import { record } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const sqlite = (filename: string) => JournalSqlite.layer({ filename })

durableSuite({
  name: "SQLite",
  target: () => join(temporaryFolder(), "journal.sqlite"),
  layer: sqlite,
  owners: (filename) => join(dirname(filename), "owners")
})

journalSuite("SQLite", () => JournalSqlite.layer({ filename: join(temporaryFolder(), "journal.sqlite") }))

/** The records that a new process reads at the path. */
const found = (filename: string) => using(sqlite(filename), pendingIds)

const wipe = (...paths: ReadonlyArray<string>) => {
  for (const path of paths) rmSync(path, { recursive: true, force: true })
}

/** One turn of the event loop. */
const turn = Effect.promise(() => new Promise((resolve) => void setImmediate(resolve)))

describe("JournalSqlite", () => {
  it.live("keeps records across a restart, and completes a removal when it closes", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          yield* journal.put(record("r2"))
          yield* journal.remove(record("r1"))
        })
      )
      expect(yield* found(filename)).toEqual(["r2"])
    })
  )

  it.live("keeps a record after kill -9, as soon as put has returned", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* runKilled("putAndDie.ts", filename)
      expect(yield* found(filename)).toEqual(["from-the-child"])
    })
  )

  it.live("restricts folder and file to their owner, and leaves the parent folder unchanged", () =>
    Effect.gen(function* () {
      const above = temporaryFolder()
      chmodSync(above, 0o755)
      const filename = join(above, "journal", "journal.sqlite")
      yield* using(sqlite(filename), (journal) => journal.put(record("r1")))
      expect(statSync(above).mode & 0o777).toBe(0o755)
      expect(statSync(join(above, "journal")).mode & 0o777).toBe(0o700)
      expect(statSync(filename).mode & 0o777).toBe(0o600)
    })
  )

  it.live("sets aside a damaged record, and reads the others", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) => Effect.andThen(journal.put(record("r1")), journal.put(record("r2"))))
      const db = new DatabaseSync(filename)
      db.exec("UPDATE records SET commit_body = '{' WHERE reservation_id = 'r1'")
      db.close()
      expect(yield* found(filename)).toEqual(["r2"])
      const after = new DatabaseSync(filename)
      expect(after.prepare("SELECT count(*) AS n FROM quarantine").get()).toEqual({ n: 1 })
      expect(after.prepare("SELECT count(*) AS n FROM records").get()).toEqual({ n: 1 })
      after.close()
    })
  )

  it.live("sets aside a record or dead letter with a number out of range, and reads the others", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) =>
        Effect.forEach(["r1", "r2", "r3"], (id) =>
          Effect.andThen(
            journal.bury({ record: record(id), reason: "BUDGET_FROZEN: frozen", diedAtMs: 7 }),
            journal.put(record(id))
          )
        )
      )
      const db = new DatabaseSync(filename)
      for (const table of ["records", "dead_letters"]) {
        db.exec(`UPDATE ${table} SET recorded_at_ms = 9007199254740993 WHERE reservation_id = 'r1'`)
        db.exec(`UPDATE ${table} SET not_before_ms = 9223372036854775807 WHERE reservation_id = 'r2'`)
      }
      db.close()
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          expect(yield* pendingIds(journal)).toEqual(["r3"])
          const letters = yield* Stream.runCollect(journal.deadLetters)
          expect(letters.map((one) => String(one.record.reservationId))).toEqual(["r3"])
        })
      )
      const after = new DatabaseSync(filename)
      const contents = after.prepare("SELECT content FROM quarantine").all()
      expect(contents).toHaveLength(4)
      expect(JSON.stringify(contents)).toContain("9223372036854775807")
      expect(after.prepare("SELECT count(*) AS n FROM records").get()).toEqual({ n: 1 })
      expect(after.prepare("SELECT count(*) AS n FROM dead_letters").get()).toEqual({ n: 1 })
      after.close()
    })
  )

  for (const [what, sql] of [
    ["before its version was written", `PRAGMA application_id = ${0x43794a6f}`],
    ["before its tables were made", `PRAGMA application_id = ${0x43794a6f}; PRAGMA user_version = 1`]
  ] as const) {
    it.live(`completes a file whose creation was interrupted ${what}`, () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        const db = new DatabaseSync(filename)
        db.exec(`PRAGMA journal_mode = WAL; ${sql}`)
        db.close()
        yield* using(sqlite(filename), (journal) => journal.put(record("r1")))
        expect(yield* found(filename)).toEqual(["r1"])
      })
    )
  }

  it.live("reads while another process has the lock, and writes as soon as it is free", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) => journal.put(record("r1")))
      const other = new DatabaseSync(filename)
      other.exec("BEGIN IMMEDIATE")
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          expect(yield* pendingIds(journal)).toEqual(["r1"])
          const put = yield* Effect.forkChild(journal.put(record("r2")), { startImmediately: true })
          // The event loop isn't blocked while the record waits.
          for (let i = 0; i < 10; i++) yield* turn
          expect(put.pollUnsafe()).toBeUndefined()
          other.exec("ROLLBACK")
          yield* Fiber.join(put)
          expect(yield* pendingIds(journal)).toEqual(["r1", "r2"])
        })
      )
      other.close()
    })
  )

  it.live("reports a record as not durable if the lock isn't free within 2 s, and accepts the next one", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) => journal.put(record("r1")))
      const other = new DatabaseSync(filename)
      other.exec("BEGIN IMMEDIATE")
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
          const put = yield* Effect.forkChild(Effect.flip(journal.put(record("r2"))), { startImmediately: true })
          yield* turn
          vi.advanceTimersByTime(1_990)
          expect(put.pollUnsafe()).toBeUndefined()
          vi.advanceTimersByTime(10)
          vi.useRealTimers()
          expect(yield* Fiber.join(put)).toMatchObject({ operation: "put", problem: "database is locked" })
          other.exec("ROLLBACK")
          yield* journal.put(record("r3"))
          expect(yield* pendingIds(journal)).toEqual(["r1", "r3"])
        })
      ).pipe(Effect.ensuring(Effect.sync(() => vi.useRealTimers())))
      other.close()
    })
  )

  it.live("closes after the writes that wait for a lock", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) => journal.put(record("r1")))
      const other = new DatabaseSync(filename)
      const waiting = yield* Deferred.make<void>()
      const closing = yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          yield* pendingIds(journal)
          other.exec("BEGIN IMMEDIATE")
          yield* Effect.forkDetach(journal.put(record("r2")), { startImmediately: true })
          yield* journal.remove(record("r1"))
          yield* Deferred.succeed(waiting, undefined)
        })
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* Deferred.await(waiting)
      for (let i = 0; i < 10; i++) yield* turn
      expect(closing.pollUnsafe()).toBeUndefined()
      other.exec("ROLLBACK")
      yield* Fiber.join(closing)
      other.close()
      expect(yield* found(filename)).toEqual(["r2"])
    })
  )

  it.live("retries to open the file with the next record", () =>
    Effect.gen(function* () {
      const folder = join(temporaryFolder(), "journal")
      writeFileSync(folder, "not a folder")
      yield* using(sqlite(join(folder, "journal.sqlite")), (journal) =>
        Effect.gen(function* () {
          expect(yield* Effect.flip(journal.put(record("r1")))).toMatchObject({
            _tag: "JournalError",
            operation: "open"
          })
          expect(yield* Effect.flip(pendingIds(journal))).toMatchObject({ _tag: "JournalError", operation: "open" })
          rmSync(folder)
          yield* journal.put(record("r2"))
          expect(yield* pendingIds(journal)).toEqual(["r2"])
        })
      )
    })
  )

  it.live("fails with a JournalError if the folder can't be created", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(using(sqlite("/proc/nope/x/journal.sqlite"), pendingIds))
      expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
    })
  )

  it.live.skipIf(process.platform === "win32")(
    "fails with a JournalError, and doesn't wait, if a pipe is at its path",
    () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        for (const path of [filename, `${filename}-journal`]) {
          execFileSync("mkfifo", [path])
          yield* using(sqlite(filename), (journal) =>
            Effect.gen(function* () {
              expect(yield* Effect.flip(journal.put(record("r1")))).toMatchObject({
                _tag: "JournalError",
                operation: "open"
              })
              rmSync(path)
              yield* journal.put(record("r1"))
            })
          )
        }
      })
  )

  it.live("allows every operation after the layer has closed, and leaves no file open", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      const journal = yield* using(sqlite(filename), (journal) => Effect.as(journal.put(record("r1")), journal))
      const letter = { record: record("r3"), reason: "BUDGET_FROZEN: frozen", diedAtMs: 7 }
      yield* journal.put(record("r2"))
      yield* journal.bury(letter)
      expect(yield* pendingIds(journal)).toEqual(["r1", "r2"])
      expect(yield* Stream.runCollect(journal.deadLetters)).toEqual([letter])
      yield* journal.forget(letter)
      yield* journal.remove(record("r1"))
      yield* Effect.promise(() => vi.waitFor(() => expect(existsSync(`${filename}-wal`)).toBe(false)))
      expect(yield* found(filename)).toEqual(["r2"])
    })
  )

  it.live("refuses a newer format and another program's file, and leaves them unchanged", () =>
    Effect.gen(function* () {
      const newer = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(newer), (journal) => journal.put(record("r1")))
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
        const error = yield* Effect.flip(found(filename))
        expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
        expect(error.message).toContain(problem)
        expect(readFileSync(filename).equals(before)).toBe(true)
      }
      expect(existsSync(`${text}-wal`)).toBe(false)
    })
  )

  it.live("supports two processes on one file", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      const seen = yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          yield* runKilled("putAndDie.ts", filename)
          yield* journal.put(record("r2"))
          return yield* pendingIds(journal)
        })
      )
      expect(seen.toSorted()).toEqual(["from-the-child", "r1", "r2"])
    })
  )

  describe("open file", () => {
    for (const [what, lose] of [
      ["its file was deleted", (filename: string) => wipe(filename)],
      ["its file and its log were deleted", (filename: string) => wipe(filename, `${filename}-wal`, `${filename}-shm`)],
      ["its folder was deleted", (filename: string) => wipe(join(filename, ".."))],
      ["its file was moved", (filename: string) => renameSync(filename, join(temporaryFolder(), "moved"))],
      ["its folder was moved", (filename: string) => renameSync(join(filename, ".."), temporaryFolder())]
    ] as const) {
      it.live(`writes to the path again after ${what}`, () =>
        Effect.gen(function* () {
          const filename = join(temporaryFolder(), "journal", "journal.sqlite")
          yield* using(sqlite(filename), (journal) =>
            Effect.gen(function* () {
              yield* journal.put(record("before"))
              for (const round of [1, 2]) {
                lose(filename)
                yield* Effect.forEach([1, 2, 3], (n) => journal.put(record(`r${round}${n}`)), {
                  concurrency: "unbounded"
                })
                expect(yield* found(filename)).toEqual([1, 2, 3].map((n) => `r${round}${n}`))
              }
              lose(filename)
              expect(yield* pendingIds(journal)).toEqual([])
              lose(filename)
              yield* journal.putOpen(record("open"))
              yield* journal.bury({ record: record("dead"), reason: "TOO_OLD: old", diedAtMs: 7 })
              expect(yield* using(sqlite(filename), (other) => other.adoptOpen)).toBe(0)
            })
          )
        })
      )
    }

    it.live("leaves a complete file behind when it was moved", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        const moved = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(filename), (journal) =>
          Effect.gen(function* () {
            yield* journal.put(record("before"))
            renameSync(filename, moved)
            yield* journal.put(record("after"))
          })
        )
        expect(yield* found(filename)).toEqual(["after"])
        expect(yield* found(moved)).toContain("before")
      })
    )

    it.live("loses nothing when only its log was deleted", () =>
      Effect.gen(function* () {
        for (const ends of [["-wal"], ["-shm"], ["-wal", "-shm"]]) {
          const filename = join(temporaryFolder(), "journal.sqlite")
          yield* using(sqlite(filename), (journal) =>
            Effect.gen(function* () {
              yield* journal.put(record("r1"))
              wipe(...ends.map((end) => `${filename}${end}`))
              yield* journal.put(record("r2"))
              if (ends.includes("-wal")) expect(yield* found(filename)).toEqual(["r1", "r2"])
            })
          )
          expect(yield* found(filename)).toEqual(["r1", "r2"])
        }
      })
    )

    it.live("writes to another journal that was moved to its path", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        const other = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(other), (journal) => journal.put(record("other")))
        yield* using(sqlite(filename), (journal) =>
          Effect.gen(function* () {
            yield* journal.put(record("before"))
            renameSync(other, filename)
            yield* journal.put(record("after"))
            expect(yield* pendingIds(journal)).toEqual(["after", "other"])
          })
        )
        expect(yield* found(filename)).toEqual(["after", "other"])
      })
    )

    it.live("writes durably after its log was truncated", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(filename), (journal) =>
          Effect.gen(function* () {
            yield* journal.put(record("before"))
            for (const size of [0, 40]) {
              truncateSync(`${filename}-wal`, size)
              yield* journal.put(record(`after ${size}`))
              // As another process reads it.
              expect(yield* found(filename)).toContain(`after ${size}`)
            }
          })
        )
        expect(yield* found(filename)).toContain("after 40")
      })
    )

    it.live("writes durably after the file was truncated", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(filename), (journal) =>
          Effect.gen(function* () {
            yield* journal.put(record("before"))
            wipe(`${filename}-wal`)
            truncateSync(filename)
            yield* journal.put(record("after"))
            expect(yield* found(filename)).toContain("after")
          })
        )
      })
    )

    it.live("reports no write as durable while something else is at its path", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(filename), (journal) =>
          Effect.gen(function* () {
            yield* journal.put(record("before"))
            wipe(filename)
            writeFileSync(filename, "these are my notes, which are not a database, and long enough")
            for (const operation of [journal.put(record("r1")), journal.putOpen(record("r1"))]) {
              expect(yield* Effect.flip(operation)).toMatchObject({ _tag: "JournalError", operation: "open" })
            }
            wipe(filename)
            mkdirSync(filename)
            expect(yield* Effect.flip(journal.put(record("r1")))).toMatchObject({ operation: "open" })
            wipe(filename)
            yield* journal.put(record("r2"))
            expect(yield* found(filename)).toEqual(["r2"])
          })
        )
      })
    )
  })

  it.live("fails without node:sqlite on first use, not before", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) =>
        Effect.gen(function* () {
          vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
          const error = yield* Effect.flip(journal.put(record("r1")))
          expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
          expect(error.message).toContain("node:sqlite")
          vi.restoreAllMocks()
          yield* journal.put(record("r1"))
          expect(yield* pendingIds(journal)).toEqual(["r1"])
        })
      )
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks())))
  )

  describe("unreadable row", () => {
    it.live("is set aside once, also if its text isn't UTF-8", () =>
      Effect.gen(function* () {
        const filename = join(temporaryFolder(), "journal.sqlite")
        yield* using(sqlite(filename), (journal) =>
          Effect.andThen(journal.put(record("r1")), journal.put(record("r2")))
        )
        const db = new DatabaseSync(filename)
        db.exec("UPDATE records SET commit_body = CAST(x'7bff' AS TEXT) WHERE reservation_id = 'r1'")
        db.close()
        for (const _ of [1, 2]) expect(yield* found(filename)).toEqual(["r2"])
        const after = new DatabaseSync(filename)
        const { n } = { ...after.prepare("SELECT count(*) AS n FROM quarantine").get() }
        expect(n).toBeLessThan(2)
        after.close()
      })
    )
  })
})
