import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { SettlementJournal } from "effect-cycles"
import { JournalFiles } from "effect-cycles/node"
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fingerprint } from "../../src/internal/fingerprint.ts"
import { journalSuite, owner, record } from "../suites/journalSuite.ts"
import { temporaryFolder } from "./support.ts"

journalSuite("files", () => JournalFiles.layer({ folder: temporaryFolder() }))

const using = <A, E>(folder: string, body: (journal: SettlementJournal.Journal) => Effect.Effect<A, E>) =>
  Effect.flatMap(SettlementJournal.SettlementJournal, (store) => Effect.flatMap(store.open(owner), body)).pipe(
    Effect.scoped,
    Effect.provide(JournalFiles.layer({ folder }))
  )

const pending = (journal: SettlementJournal.Journal) => Stream.runCollect(journal.pending)

const written = { version: 1, reservation_id: "r1", base_url: owner.baseUrl, commit_body: { a: 1 } }

describe("JournalFiles", () => {
  it.live("has the fingerprints of the other clients", () =>
    Effect.gen(function* () {
      const apiKey = Redacted.make("test-key")
      expect(yield* fingerprint({ baseUrl: "http://localhost", apiKey })).toBe("68c905017df7dbfc")
      expect(yield* fingerprint({ baseUrl: "http://localhost", apiKey, tenant: "acme" })).toBe("8baba538fb970da4")
    })
  )

  it.live("CR-DURABLE-007: names files by the digest of the exact id, in the format of the other clients", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(folder, (journal) => journal.put(record("abc")))
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

  it.live("CR-DURABLE-007: reads a record under an old name, moves it to its own, and keeps its unknown fields", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const own = join(folder, owner.fingerprint)
      mkdirSync(own, { recursive: true })
      writeFileSync(join(own, "r_1.json"), JSON.stringify({ ...written, reservation_id: "r/1" }))
      const records = yield* using(folder, pending)
      expect(records).toMatchObject([{ reservationId: "r/1", mode: "commit", commitBody: '{"a":1}' }])
      expect(readdirSync(own)).toEqual([JournalFiles.fileName("r/1")])
    })
  )

  it.live("CR-DURABLE-005: sets aside what it can't read, also an unknown version, and reads the others", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(folder, (journal) => journal.put(record("good")))
      const own = join(folder, owner.fingerprint)
      writeFileSync(join(own, "v2-a.json"), "{")
      writeFileSync(join(own, "v2-b.json"), JSON.stringify({ ...written, version: 2 }))
      writeFileSync(join(own, "v2-c.json"), JSON.stringify({ ...written, mode: null }))
      const records = yield* using(folder, pending)
      expect(records.map((one) => String(one.reservationId))).toEqual(["good"])
      expect(readdirSync(own).filter((name) => name.endsWith(".corrupt"))).toHaveLength(3)
    })
  )

  it.live("removes temporary files that are older than an hour, and no younger ones", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const own = join(folder, owner.fingerprint)
      mkdirSync(own, { recursive: true })
      const hourAgo = Date.now() / 1_000 - 3_601
      for (const name of ["old.json.1.aa.tmp", "young.json.1.bb.tmp"]) writeFileSync(join(own, name), "")
      utimesSync(join(own, "old.json.1.aa.tmp"), hourAgo, hourAgo)
      yield* using(folder, pending)
      expect(readdirSync(own)).toEqual(["young.json.1.bb.tmp"])
    })
  )

  it.live("a record is there after kill -9, as soon as put has returned", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const child = spawnSync(process.execPath, [join(import.meta.dirname, "putAndDie.ts"), folder])
      expect(child.signal).toBe("SIGKILL")
      const records = yield* using(folder, pending)
      expect(records.map((one) => String(one.reservationId))).toEqual(["from-the-child"])
    })
  )
})
