/**
 * Journals on a disk that loses files, is full, or can't be written.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { vi } from "vitest"
import { pendingIds, using } from "../suites/durableSuite.ts"
import { owner, record } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const sqlite = (filename: string) => JournalSqlite.layer({ filename })

const files = (folder: string) => JournalFiles.layer({ folder })

/** The records that a new process reads at the path. */
const found = (filename: string) => using(sqlite(filename), pendingIds)

const wipe = (...paths: ReadonlyArray<string>) => {
  for (const path of paths) rmSync(path, { recursive: true, force: true })
}

const allFiles = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)

describe("JournalSqlite", () => {
  describe("while it is open", () => {
    for (const [what, lose] of [
      ["its file is deleted", (filename: string) => wipe(filename)],
      ["its file and its log are deleted", (filename: string) => wipe(filename, `${filename}-wal`, `${filename}-shm`)],
      ["its folder is deleted", (filename: string) => wipe(join(filename, ".."))],
      ["its file is moved", (filename: string) => renameSync(filename, join(temporaryFolder(), "moved"))],
      ["its folder is moved", (filename: string) => renameSync(join(filename, ".."), temporaryFolder())]
    ] as const) {
      it.live(`and ${what}, what is written afterwards is in the file at the path`, () =>
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

    it.live("and its file is moved, the moved file is complete", () =>
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

    it.live("and its log alone is deleted, nothing is lost", () =>
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

    it.live("and another journal takes its place, what is written afterwards is in that one", () =>
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

    it.live("and its file is truncated, what is written afterwards is durable", () =>
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

    it.live("and something else takes its place, reports no write as durable until that is removed", () =>
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

  it.live("finds the home folder without HOME, and fails with a JournalError while there is none", () =>
    Effect.gen(function* () {
      const home = temporaryFolder()
      vi.stubEnv("HOME", home)
      yield* using(JournalSqlite.layer(), (journal) => journal.put(record("r1")))
      expect(statSync(join(home, ".effect-cycles", "journal.sqlite")).isFile()).toBe(true)
      yield* using(JournalFiles.layer(), (journal) => journal.put(record("r1")))
      expect(allFiles(join(home, ".runcycles", "commit-journal", owner.fingerprint))).toHaveLength(1)
      vi.stubEnv("HOME", undefined)
      const { expand } = yield* Effect.promise(() => import("../../src/node/internal/folder.ts"))
      expect(expand("~/x")).toMatch(/^\/.+\/x$/)
      vi.stubEnv("HOME", "")
      expect(expand("~/x")).toMatch(/^\/.+\/x$/)
    }).pipe(Effect.ensuring(Effect.sync(() => vi.unstubAllEnvs())))
  )
})

describe("JournalFiles", () => {
  it.live("recreates a deleted folder, and keeps later writes", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("before"))
          for (const gone of [folder, join(folder, owner.fingerprint)]) {
            wipe(gone)
            yield* journal.put(record("r1"))
            yield* journal.put(record("r1", { commitBody: '{"a":1}' }))
            yield* journal.putOpen(record("open"))
            yield* journal.bury({ record: record("dead"), reason: "TOO_OLD: old", diedAtMs: 7 })
            yield* using(files(folder), (other) =>
              Effect.gen(function* () {
                expect(yield* pendingIds(other)).toEqual(["r1", "r1"])
                expect(yield* other.isDecided(record("dead").reservationId)).toBe(true)
                expect(yield* other.adoptOpen).toBe(0)
              })
            )
          }
          wipe(folder)
          expect(yield* pendingIds(journal)).toEqual([])
          yield* journal.remove(record("r1"))
          yield* journal.removeOpen(record("open").reservationId)
        })
      )
    })
  )

  it.live("leaves no temporary file when a write fails", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const handle = yield* Effect.promise(() => Fs.open(join(folder, "any"), "w"))
      const FileHandle: Record<"writeFile" | "sync", () => Promise<void>> = Object.getPrototypeOf(handle)
      yield* Effect.promise(() => handle.close())
      wipe(join(folder, "any"))
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          const full = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" }))
          for (const method of ["writeFile", "sync"] as const) {
            const spy = vi.spyOn(FileHandle, method).mockImplementation(full)
            for (const [operation, effect] of [
              ["put", journal.put(record("r1"))],
              ["putOpen", journal.putOpen(record("r1"))],
              ["bury", journal.bury({ record: record("r1"), reason: "TOO_OLD: old", diedAtMs: 7 })]
            ] as const) {
              const error = yield* Effect.flip(effect)
              expect(error).toMatchObject({ _tag: "JournalError", operation })
              expect(error.message).toContain("no space left")
            }
            spy.mockRestore()
          }
          expect(allFiles(join(folder, owner.fingerprint)).filter((name) => !name.endsWith(".lock"))).toEqual([])
          // These prevent the moves.
          for (const name of ["further", "dead-letters", "open"]) {
            wipe(join(folder, owner.fingerprint, name))
            writeFileSync(join(folder, owner.fingerprint, name), "")
          }
          yield* journal.put(record("r1"))
          for (const effect of [
            journal.put(record("r1", { commitBody: '{"a":1}' })),
            journal.putOpen(record("r1")),
            journal.bury({ record: record("r1"), reason: "TOO_OLD: old", diedAtMs: 7 })
          ]) {
            expect((yield* Effect.flip(effect))._tag).toBe("JournalError")
          }
          expect(allFiles(folder).filter((name) => name.endsWith(".tmp"))).toEqual([])
          for (const name of ["further", "dead-letters", "open"]) wipe(join(folder, owner.fingerprint, name))
          yield* journal.put(record("r1", { commitBody: '{"a":1}' }))
          yield* journal.putOpen(record("r1"))
          expect(yield* pendingIds(journal)).toEqual(["r1", "r1"])
        })
      )
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks())))
  )

  it.live("fails with a JournalError while its path is too long or not a folder, and recovers afterwards", () =>
    Effect.gen(function* () {
      const long = join(temporaryFolder(), "x".repeat(300))
      const error = yield* Effect.flip(using(files(long), (journal) => journal.put(record("r1"))))
      expect(error).toMatchObject({ _tag: "JournalError", operation: "open" })
      const folder = join(temporaryFolder(), "journal")
      writeFileSync(folder, "")
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          for (const effect of [
            journal.put(record("r1")),
            journal.remove(record("r1")),
            journal.putOpen(record("r1")),
            journal.adoptOpen,
            Stream.runDrain(journal.pending),
            Stream.runDrain(journal.deadLetters)
          ]) {
            expect(yield* Effect.flip(Effect.asVoid(effect))).toMatchObject({ _tag: "JournalError", operation: "open" })
          }
          rmSync(folder)
          yield* journal.put(record("r1"))
          expect(yield* pendingIds(journal)).toEqual(["r1"])
        })
      )
    })
  )

  it.live("works without node:sqlite, except for open records", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          yield* journal.put(record("r2"))
          yield* journal.remove(record("r1"))
          yield* journal.bury({ record: record("r3"), reason: "TOO_OLD: old", diedAtMs: 7 })
          expect((yield* Effect.flip(journal.putOpen(record("r4")))).message).toContain("node:sqlite")
          yield* journal.put(record("r4"))
          yield* journal.removeOpen(record("r4").reservationId)
          // No process can be proven dead.
          mkdirSync(join(folder, owner.fingerprint, "open", "0".repeat(32)), { recursive: true })
          expect(yield* journal.adoptOpen).toBe(0)
          expect(yield* pendingIds(journal)).toEqual(["r2", "r4"])
          expect(yield* journal.isDecided(record("r3").reservationId)).toBe(true)
        })
      )
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks())))
  )

  it.live("stores only the first record of a reservation under the name that other clients read", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          yield* journal.put(record("r1"))
          const own = join(folder, owner.fingerprint)
          const shown = () => readdirSync(own).filter((name) => name.endsWith(".json"))
          const first = shown()
          expect(first).toHaveLength(1)
          yield* journal.put(record("r1", { commitBody: '{"a":1}' }))
          yield* journal.putOpen(record("r2"))
          yield* journal.bury({ record: record("r3"), reason: "TOO_OLD: old", diedAtMs: 7 })
          expect(shown()).toEqual(first)
        })
      )
    })
  )
})

describe("unreadable row", () => {
  it.live("is set aside once, also if its text isn't UTF-8", () =>
    Effect.gen(function* () {
      const filename = join(temporaryFolder(), "journal.sqlite")
      yield* using(sqlite(filename), (journal) => Effect.andThen(journal.put(record("r1")), journal.put(record("r2"))))
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
