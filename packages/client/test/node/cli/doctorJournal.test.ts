/** Every diagnosis of `effect-cycles doctor` about the journal. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { JournalSqlite } from "effect-cycles/node"
import { vi } from "vitest"
import { using } from "../../suites/durableSuite.ts"
import { writeSqliteV1 } from "../fixtures.ts"
import { owner, record } from "../records.ts"
import { temporaryFolder } from "../support.ts"
import { doctor, run } from "./support.ts"

// Real I/O is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

describe("effect-cycles doctor", () => {
  describe("journal", () => {
    const check = (...args: ReadonlyArray<string>) => Effect.map(doctor({}, ...args), (report) => report.of("journal"))

    it.live("doesn't create a missing journal", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "ok", summary: `${path} doesn't exist yet; the first client creates it` }
        ])
        expect(() => readFileSync(path)).toThrow("ENOENT")
      })
    )

    it.live("fails for a file that isn't a database, and doesn't change it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        writeFileSync(path, "no database at all, but long enough to be read as a header of one, I hope")
        const before = readFileSync(path)
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "failed", advice: expect.stringContaining("damaged") }
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("fails for a journal of a newer version, and doesn't change it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        yield* using(JournalSqlite.layer({ filename: path }), (journal) => journal.put(record("r1")))
        const db = new DatabaseSync(path)
        db.exec("PRAGMA user_version = 99")
        db.close()
        const before = readFileSync(path)
        expect(yield* check("--journal", path)).toMatchObject([
          {
            status: "failed",
            summary: expect.stringContaining("has format 99"),
            advice: "A newer version of effect-cycles wrote it: update effect-cycles. The file isn't changed."
          }
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("fails for the database of another program", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "other.sqlite")
        const db = new DatabaseSync(path)
        db.exec("CREATE TABLE mine (a)")
        db.close()
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "failed", summary: expect.stringContaining("is not a journal of this client") }
        ])
      })
    )

    it.live("fails if the folder can't be written", () =>
      Effect.gen(function* () {
        expect(yield* check("--journal", "/proc/effect-cycles/journal.sqlite")).toMatchObject([
          { status: "failed", summary: "/proc isn't writable: spend that isn't settled can't be journaled." }
        ])
      })
    )

    it.live("warns about dead letters and old pending records", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        yield* using(JournalSqlite.layer({ filename: path }), (journal) =>
          Effect.andThen(
            journal.put(record("old")),
            journal.bury({ record: record("dead"), reason: "BUDGET_FROZEN", diedAtMs: 1_700_000_000_000 })
          )
        )
        const findings = yield* check("--journal", path)
        expect(findings.map(({ status }) => status)).toEqual(["warning", "warning"])
        expect(findings[0]?.summary).toBe(`1 dead letter in ${path}: spend that no budget shows.`)
        expect(findings[1]?.summary).toMatch(/^1 record in .* pending for up to \d+ d\.$/)
        expect(findings[1]?.advice).toContain("effect-cycles journal retry")
      })
    )

    it.live("reads a journal of format 1 without upgrading it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        writeSqliteV1(path)
        const before = readFileSync(path)
        expect((yield* check("--journal", path)).map(({ summary }) => summary.slice(0, 8))).toEqual([
          "2 dead l",
          "6 record"
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("warns that the journal is disabled", () =>
      Effect.gen(function* () {
        const ran = yield* run("doctor --json", { CYCLES_JOURNAL_ENABLED: "false" })
        expect(ran.out).toContain("The journal is disabled")
      })
    )

    it.live("warns about damaged files of a files journal", () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        mkdirSync(join(folder, owner.fingerprint))
        writeFileSync(join(folder, owner.fingerprint, "v2-broken.json"), "{")
        expect(yield* check("--journal", folder)).toMatchObject([
          { status: "warning", summary: expect.stringContaining("1 damaged") }
        ])
      })
    )
  })
})
