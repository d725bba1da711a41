/**
 * Journals on a real disk: deleted while they are open, broken at start, closed while a body still runs, killed
 * processes.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Cycles, CyclesConfig, SettlementJournal } from "effect-cycles"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import { runKilled } from "../node/killed.ts"
import { owner, record } from "../node/records.ts"
import { temporaryFolder } from "../node/support.ts"
import { serveBridged } from "../support/bridge.ts"
import { provideUnclosed } from "../support/collaborators.ts"
import { action, live, tokens } from "../support/live.ts"
import { settlementOf } from "../support/settled.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const options = { action, estimate: tokens(100), actual: tokens(42) }

const lost = Fault.requestLost

/** A journal in a new folder: how it is opened, how it is deleted, and the number of records on disk. */
interface OnDisk {
  readonly layer: Layer.Layer<SettlementJournal.SettlementJournal>
  readonly remove: Effect.Effect<void>
  readonly count: Effect.Effect<number>
}

const filesUnder = (folder: string): ReadonlyArray<string> =>
  existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : []

const inFiles = (folder = join(temporaryFolder(), "journal")): OnDisk => ({
  layer: JournalFiles.layer({ folder }),
  remove: Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
  count: Effect.sync(() => filesUnder(folder).filter((name) => name.endsWith(".json")).length)
})

const inSqlite = (folder = temporaryFolder()): OnDisk => {
  const filename = join(folder, "journal.sqlite")
  return {
    layer: JournalSqlite.layer({ filename }),
    remove: Effect.sync(() => {
      for (const name of readdirSync(folder)) rmSync(join(folder, name))
    }),
    count: Effect.promise(async () => {
      if (!existsSync(filename)) return 0
      const { DatabaseSync } = await import("node:sqlite")
      const db = new DatabaseSync(filename)
      try {
        const isJournal = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'records'").get() !== undefined
        return isJournal ? Number(db.prepare("SELECT count(*) AS n FROM records").get()?.["n"]) : 0
      } finally {
        db.close()
      }
    })
  }
}

const kinds = [
  ["files", inFiles],
  ["SQLite", inSqlite]
] as const

/**
 * Lets five minutes of virtual time pass, waits until the journal has a record, and counts its records. The client
 * writes to the disk in the background without an event to wait for, so this polls.
 */
const recorded = (journal: OnDisk) =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 20 || (turn < 200 && (yield* journal.count) === 0); turn++) {
      if (turn < 20) yield* TestClock.adjust("15 seconds")
      yield* TestClock.withLive(Effect.sleep(5))
    }
    return yield* journal.count
  })

describe("journal that disappears while it is open", () => {
  for (const [name, make] of kinds) {
    it.effect(`in ${name} is created again: a settlement that is reported as journaled is on disk`, () => {
      const journal = make()
      return Effect.gen(function* () {
        yield* CyclesTest.always("commit", lost)
        yield* settlementOf(Effect.void, options)
        expect(yield* journal.count).toBe(1)
        yield* journal.remove
        expect(yield* settlementOf(Effect.void, options)).toMatchObject({ _tag: "Pending", isJournaled: true })
        expect(yield* journal.count).toBeGreaterThan(0)
      }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
    })
  }

  it.effect("in SQLite is opened again after another file has taken its place", () => {
    const folder = temporaryFolder()
    const journal = inSqlite(folder)
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* settlementOf(Effect.void, options)
      yield* journal.remove
      yield* Effect.sync(() => writeFileSync(join(folder, "journal.sqlite"), ""))
      expect(yield* settlementOf(Effect.void, options)).toMatchObject({ _tag: "Pending", isJournaled: true })
      expect(yield* journal.count).toBeGreaterThan(0)
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  })
})

describe("journal folder that can't be created at start", () => {
  it.effect("is created as soon as possible, and receives the spend", () => {
    const folder = join(temporaryFolder(), "journal")
    writeFileSync(folder, "in the way")
    const journal = inFiles(folder)
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* settlementOf(Effect.void, options)
      yield* Effect.sync(() => rmSync(folder))
      expect(yield* recorded(journal)).toBe(1)
    }).pipe(provideUnclosed(live({ retry, ttl: "24 hours" }, { journal: journal.layer })))
  })
})

describe("spend in a scope that outlives the client", () => {
  it.effect("is in the journal when the server can't be reached", () => {
    const journal = inSqlite()
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const client = yield* Scope.make()
      const context = yield* Layer.buildWithScope(live({ retry, flushTimeout: 0 }, { journal: journal.layer }), client)
      yield* Effect.gen(function* () {
        const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
        yield* reservation.record({ actual: tokens(42) })
        yield* CyclesTest.always("commit", lost)
      }).pipe(Scope.provide(scope), Effect.provideContext(context))
      yield* Scope.close(client, Exit.void)
      yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      expect(yield* recorded(journal)).toBe(1)
    })
  })

  it.effect("is in the journal when a detached body ends later", () => {
    const journal = inSqlite()
    return Effect.gen(function* () {
      const client = yield* Scope.make()
      const context = yield* Layer.buildWithScope(live({ retry, flushTimeout: 0 }, { journal: journal.layer }), client)
      yield* Effect.gen(function* () {
        yield* CyclesTest.always("commit", lost)
        yield* Effect.forkDetach(Cycles.withCycles(Effect.sleep("10 seconds"), options), { startImmediately: true })
      }).pipe(Effect.provideContext(context))
      yield* Scope.close(client, Exit.void)
      expect(yield* recorded(journal)).toBe(1)
    })
  })
})

describe("write that fails", () => {
  it.live("leaves no temporary file behind", () => {
    const folder = temporaryFolder()
    return Effect.gen(function* () {
      const journal = yield* (yield* SettlementJournal.SettlementJournal).open(owner)
      // A folder has the name of the record's file, so that the last step of writing fails.
      const digest = createHash("sha256").update("r1", "utf8").digest("hex")
      mkdirSync(join(folder, owner.fingerprint, `v2-${digest}.json`, "in the way"), { recursive: true })
      yield* Effect.exit(journal.put(record("r1")))
      expect(filesUnder(folder).filter((name) => name.endsWith(".tmp"))).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(JournalFiles.layer({ folder })))
  })
})

describe("process killed right after background settlements", () => {
  for (const [name, file, make] of [
    ["files", "journal", inFiles],
    ["SQLite", "journal.sqlite", inSqlite]
  ] as const) {
    it.live(
      `has its spend in the journal in ${name}`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { apiKey, test, url } = yield* serveBridged
            yield* test.always("commit", Fault.noResponse)
            const folder = temporaryFolder()
            yield* runKilled("settleAndDie.ts", url, apiKey, join(folder, file))
            expect(yield* make(name === "files" ? join(folder, file) : folder).count).toBe(50)
          })
        ),
      20_000
    )
  }
})
