import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { SettlementJournal } from "effect-cycles"
import { JournalFiles } from "effect-cycles/node"
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { vi } from "vitest"
import { fingerprint } from "../../src/internal/config/fingerprint.ts"
import { durableSuite, pendingIds, using } from "../suites/durableSuite.ts"
import { journalSuite } from "../suites/journalSuite.ts"
import { runKilled } from "./killed.ts"
import { owner, record } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const files = (folder: string) => JournalFiles.layer({ folder })

durableSuite({
  name: "files",
  target: temporaryFolder,
  layer: files,
  owners: (folder) => join(folder, owner.fingerprint, "owners")
})

journalSuite("files", () => JournalFiles.layer({ folder: temporaryFolder() }))

const wipe = (...paths: ReadonlyArray<string>) => {
  for (const path of paths) rmSync(path, { recursive: true, force: true })
}

const allFiles = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)

const pending = (journal: SettlementJournal.Journal) => Stream.runCollect(journal.pending)

/** Collects the log messages. */
const loggedInto = (lines: Array<string>) =>
  Effect.provide(Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))]))

/** The file of a reservation, by the rule of the client recovery profile. */
const fileName = (id: string): string => `v2-${createHash("sha256").update(id, "utf8").digest("hex")}.json`

const written = { version: 1, reservation_id: "r1", base_url: owner.baseUrl, commit_body: { a: 1 } }

describe("JournalFiles", () => {
  it.live("uses the same fingerprints as the other clients", () =>
    Effect.gen(function* () {
      const apiKey = Redacted.make("test-key")
      expect(yield* fingerprint({ baseUrl: "http://localhost", apiKey })).toBe("68c905017df7dbfc")
      expect(yield* fingerprint({ baseUrl: "http://localhost", apiKey, tenant: "acme" })).toBe("8baba538fb970da4")
    })
  )

  it.live("CR-DURABLE-007: names files by the digest of the exact id, in the format of the other clients", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) => journal.put(record("abc")))
      const path = join(
        folder,
        owner.fingerprint,
        "v2-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.json"
      )
      expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
        version: 1,
        reservation_id: "abc",
        base_url: "http://localhost",
        mode: "commit",
        event_fallback_body: { subject: { tenant: "acme" } },
        not_before_ms: 0
      })
      expect(readFileSync(path, "utf8")).toContain("9223372036854775807")
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(statSync(join(folder, owner.fingerprint)).mode & 0o777).toBe(0o700)
    })
  )

  it.live("CR-DURABLE-007: reads a record under an old name, renames it, and keeps its unknown fields", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const ownerFolder = join(folder, owner.fingerprint)
      mkdirSync(ownerFolder, { recursive: true })
      writeFileSync(join(ownerFolder, "r_1.json"), JSON.stringify({ ...written, reservation_id: "r/1" }))
      writeFileSync(join(ownerFolder, "v2-r_1.json"), JSON.stringify({ ...written, reservation_id: "v2-r/1" }))
      const records = yield* using(files(folder), pending)
      expect(records).toMatchObject([
        { reservationId: "r/1", mode: "commit", commitBody: '{"a":1}' },
        { reservationId: "v2-r/1", mode: "commit", commitBody: '{"a":1}' }
      ])
      expect(readdirSync(ownerFolder).toSorted()).toEqual(["r/1", "v2-r/1"].map(fileName).toSorted())
    })
  )

  it.live("CR-DURABLE-005: sets aside unreadable records and unknown versions, and reads the others", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) => journal.put(record("good")))
      const ownerFolder = join(folder, owner.fingerprint)
      writeFileSync(join(ownerFolder, "v2-a.json"), "{")
      writeFileSync(join(ownerFolder, "v2-b.json"), JSON.stringify({ ...written, version: 2 }))
      writeFileSync(join(ownerFolder, "v2-c.json"), JSON.stringify({ ...written, mode: null }))
      const records = yield* using(files(folder), pending)
      expect(records.map((one) => String(one.reservationId))).toEqual(["good"])
      expect(readdirSync(ownerFolder).filter((name) => name.endsWith(".corrupt"))).toHaveLength(3)
    })
  )

  it.live("CR-DURABLE-007: never replaces a record by an earlier state under an old name", () =>
    Effect.gen(function* () {
      for (const old of ["commit", "event"] as const) {
        for (const current of ["commit", "event"] as const) {
          // Old names are both before and after the new ones in the order of names.
          for (const id of ["r/1", "w/1"]) {
            const folder = temporaryFolder()
            yield* using(files(folder), (journal) => journal.put(record(id, { mode: current })))
            const path = join(folder, owner.fingerprint, fileName(id))
            const text = readFileSync(path, "utf8").replace(`"mode":"${current}"`, `"mode":"${old}"`)
            writeFileSync(join(folder, owner.fingerprint, `${id.replace("/", "_")}.json`), text)
            const mode = old === "event" ? old : current
            for (const _ of [1, 2]) {
              expect(yield* using(files(folder), pending)).toEqual([record(id, { mode })])
              expect(readdirSync(join(folder, owner.fingerprint))).toEqual([fileName(id)])
            }
          }
        }
      }
    })
  )

  it.live("CR-DURABLE-007: sets aside a record under an old name that differs from the current one", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) => journal.put(record("r1")))
      const ownerFolder = join(folder, owner.fingerprint)
      writeFileSync(join(ownerFolder, "r1.json"), JSON.stringify({ ...written, mode: "event" }))
      expect(yield* using(files(folder), pending)).toEqual([record("r1")])
      expect(readdirSync(ownerFolder)).toEqual(["r1.json.corrupt", fileName("r1")])
    })
  )

  it.live("CR-DURABLE-007: keeps the record under the old name if the file under the new one is damaged", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const ownerFolder = join(folder, owner.fingerprint)
      mkdirSync(ownerFolder, { recursive: true })
      writeFileSync(join(ownerFolder, "r1.json"), JSON.stringify(written))
      writeFileSync(join(ownerFolder, fileName("r1")), "{")
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          yield* pending(journal)
          expect(yield* pending(journal)).toMatchObject([{ reservationId: "r1", commitBody: '{"a":1}' }])
        })
      )
      expect(readdirSync(ownerFolder)).toEqual([fileName("r1"), `${fileName("r1")}.corrupt`])
    })
  )

  it.live("CR-DURABLE-005: sets aside and reports a record under the digest of another id", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) => journal.put(record("good")))
      const ownerFolder = join(folder, owner.fingerprint)
      writeFileSync(join(ownerFolder, fileName("other")), JSON.stringify(written))
      writeFileSync(join(ownerFolder, "v2-other.json"), JSON.stringify(written))
      const logs: Array<string> = []
      const records = yield* using(files(folder), pending).pipe(loggedInto(logs))
      expect(records.map((one) => String(one.reservationId))).toEqual(["good"])
      expect(logs).toHaveLength(1)
      for (const name of [fileName("other"), "v2-other.json"]) {
        expect(readdirSync(ownerFolder)).toContain(`${name}.corrupt`)
        expect(logs[0]).toContain(name)
      }
    })
  )

  it.live("reports a file that can't be read once, leaves it unchanged, and reads the others", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) =>
        Effect.andThen(
          journal.put(record("good")),
          journal.bury({ record: record("dead"), reason: "BUDGET_FROZEN: frozen", diedAtMs: 7 })
        )
      )
      const ownerFolder = join(folder, owner.fingerprint)
      for (const where of [ownerFolder, join(ownerFolder, "dead-letters")]) {
        mkdirSync(join(where, "a folder.json"))
        // A file that not even root can open.
        symlinkSync("a loop.json", join(where, "a loop.json"))
      }
      const logs: Array<string> = []
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          for (const _ of [1, 2]) {
            expect((yield* pending(journal)).map((one) => String(one.reservationId))).toEqual(["good"])
            const letters = yield* Stream.runCollect(journal.deadLetters)
            expect(letters.map((one) => String(one.record.reservationId))).toEqual(["dead"])
          }
        })
      ).pipe(loggedInto(logs))
      expect(logs).toHaveLength(2)
      for (const line of logs)
        expect(line).toMatch(/a folder\.json can't be read: EISDIR.*a loop\.json can't be read: ELOOP/)
      expect(readdirSync(ownerFolder)).toEqual(expect.arrayContaining(["a folder.json", "a loop.json"]))
    })
  )

  it.live.skipIf(process.platform === "win32")(
    "reports a device, a pipe and a huge file once, without reading them, and reads the others",
    () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        yield* using(files(folder), (journal) => journal.put(record("good")))
        const ownerFolder = join(folder, owner.fingerprint)
        symlinkSync("/dev/zero", join(ownerFolder, "device.json"))
        execFileSync("mkfifo", [join(ownerFolder, "pipe.json")])
        writeFileSync(join(ownerFolder, "huge.json"), "")
        truncateSync(join(ownerFolder, "huge.json"), 100_000_000)
        const logs: Array<string> = []
        yield* using(files(folder), (journal) =>
          Effect.gen(function* () {
            for (const _ of [1, 2]) {
              expect((yield* pending(journal)).map((one) => String(one.reservationId))).toEqual(["good"])
            }
          })
        ).pipe(loggedInto(logs))
        expect(logs).toHaveLength(1)
        expect(logs[0]).toMatch(/device\.json can't be read: it isn't a regular file/)
        expect(logs[0]).toMatch(/huge\.json can't be read: it has more than 16777216 bytes/)
        expect(logs[0]).toMatch(/pipe\.json can't be read: it isn't a regular file/)
      })
  )

  it.live("CR-DURABLE-005: sets aside an unreadable dead letter, and reads the others", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const letter = { record: record("dead"), reason: "BUDGET_FROZEN: frozen", diedAtMs: 7 }
      yield* using(files(folder), (journal) => journal.bury(letter))
      const letters = join(folder, owner.fingerprint, "dead-letters")
      writeFileSync(join(letters, fileName("other")), JSON.stringify(written))
      expect(yield* using(files(folder), (journal) => Stream.runCollect(journal.deadLetters))).toEqual([letter])
      expect(readdirSync(letters)).toContain(`${fileName("other")}.corrupt`)
    })
  )

  it.live("emits the first records of a large journal before it reads the last files", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(files(folder), (journal) => journal.put(record("first")))
      const records = join(folder, owner.fingerprint)
      for (let i = 0; i < 2_500; i += 1) {
        const id = `record ${i}`
        writeFileSync(join(records, fileName(id)), JSON.stringify({ ...written, reservation_id: id }))
      }
      // The scan reads the files in the order of their names, and sets this one aside when it reads it.
      const last = `v2-${"f".repeat(64)}.json`
      writeFileSync(join(records, last), "damaged")
      yield* using(files(folder), (journal) =>
        Effect.gen(function* () {
          expect(yield* Stream.runCount(Stream.take(journal.pending, 10))).toBe(10)
          expect(readdirSync(records)).toContain(last)
          expect(new Set(yield* pendingIds(journal)).size).toBe(2_501)
          expect(readdirSync(records)).not.toContain(last)
        })
      )
    })
  )

  it.live("fails with a JournalError if the folder can't be created", () =>
    Effect.gen(function* () {
      const file = join(temporaryFolder(), "file")
      writeFileSync(file, "")
      for (const folder of [join(file, "a", "b"), "/proc/nope/x"]) {
        expect(yield* Effect.flip(using(files(folder), pending))).toMatchObject({
          _tag: "JournalError",
          operation: "open"
        })
      }
    })
  )

  it.live("removes temporary files only after an hour", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const ownerFolder = join(folder, owner.fingerprint)
      mkdirSync(ownerFolder, { recursive: true })
      const hourAgo = Date.now() / 1_000 - 3_601
      // An entry that can't be removed doesn't stop the scan.
      mkdirSync(join(ownerFolder, "folder.tmp"))
      utimesSync(join(ownerFolder, "folder.tmp"), hourAgo, hourAgo)
      for (const name of ["old.json.1.aa.tmp", "young.json.1.bb.tmp"]) writeFileSync(join(ownerFolder, name), "")
      utimesSync(join(ownerFolder, "old.json.1.aa.tmp"), hourAgo, hourAgo)
      yield* using(files(folder), pending)
      expect(readdirSync(ownerFolder)).toEqual(["folder.tmp", "young.json.1.bb.tmp"])
    })
  )

  it.live("keeps a record after kill -9, as soon as put has returned", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* runKilled("putAndDie.ts", folder)
      expect(yield* using(files(folder), pendingIds)).toEqual(["from-the-child"])
    })
  )

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
          // These files prevent the moves.
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
          const ownerFolder = join(folder, owner.fingerprint)
          const shown = () => readdirSync(ownerFolder).filter((name) => name.endsWith(".json"))
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
