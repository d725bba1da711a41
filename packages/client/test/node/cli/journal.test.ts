/** `effect-cycles journal`: the entries of both journals, and what changes them. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { SettlementJournal } from "effect-cycles"
import { Cycles } from "effect-cycles"
import { JournalFiles, JournalSqlite, NodeCycles } from "effect-cycles/node"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import * as BaseUrl from "../../../src/internal/config/baseUrl.ts"
import { fingerprint } from "../../../src/internal/config/fingerprint.ts"
import * as RecordFiles from "../../../src/node/internal/recordFiles.ts"
import { start, using } from "../../suites/durableSuite.ts"
import { action, tokens } from "../../support/live.ts"
import { owner, record } from "../records.ts"
import { temporaryFolder } from "../support.ts"
import type { Env, Server } from "./support.ts"
import { run, serve } from "./support.ts"

// A busy machine starts a process in seconds.
vi.setConfig({ testTimeout: 60_000 })

const stores = [
  {
    name: "SQLite",
    target: () => join(temporaryFolder(), "journal.sqlite"),
    layer: (filename: string) => JournalSqlite.layer({ filename }),
    ownersOf: (filename: string) => join(filename, "../owners")
  },
  {
    name: "files",
    target: () => {
      const folder = join(temporaryFolder(), "journal")
      mkdirSync(folder)
      return folder
    },
    layer: (folder: string) => JournalFiles.layer({ folder }),
    ownersOf: (folder: string) => join(folder, owner.fingerprint, "owners")
  }
]

interface Listed {
  readonly in_use: boolean
  readonly damaged: number
  readonly entries: ReadonlyArray<{
    readonly kind: string
    readonly id: string
    readonly reservation_id: string
    readonly reason?: string
    readonly process?: string
  }>
}

const list = (journal: string) =>
  Effect.map(run(["journal", "list", "--json", "--journal", journal], {}), ({ out }): Listed => JSON.parse(out))

const letter = (id: string, reason = "BUDGET_FROZEN: frozen"): SettlementJournal.DeadLetter => ({
  record: record(id),
  reason,
  diedAtMs: 1_700_000_100_000
})

/** All files of a journal with their contents. */
const filesOf = (path: string): ReadonlyArray<readonly [string, string]> =>
  readdirSync(join(path, ".."), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith("-shm"))
    .map((entry) => {
      const file = join(entry.parentPath, entry.name)
      return [file, readFileSync(file, "base64")] as const
    })

/** The owner of the records of a client with these variables. */
const ownerOf = (env: Env): Effect.Effect<SettlementJournal.JournalOwner> => {
  const baseUrl = Result.getOrThrow(BaseUrl.parse(env["CYCLES_BASE_URL"] ?? ""))
  const apiKey = Redacted.make(env["CYCLES_API_KEY"] ?? "")
  return Effect.map(fingerprint({ baseUrl, tenant: env["CYCLES_TENANT"], apiKey }), (fingerprint) => ({
    baseUrl,
    fingerprint
  }))
}

/** Reserves 100 tokens on the server, and returns the record that commits 42 of them. */
const reserved = ({ env, url }: Server) =>
  Effect.gen(function* () {
    const reservation = yield* Effect.promise(async () => {
      const response = await fetch(`${url}/v1/reservations`, {
        method: "POST",
        headers: { "x-cycles-api-key": env["CYCLES_API_KEY"] ?? "", "content-type": "application/json" },
        body: JSON.stringify({
          idempotency_key: globalThis.crypto.randomUUID(),
          subject: { tenant: "acme" },
          action,
          estimate: { unit: "TOKENS", amount: 100 },
          ttl_ms: 60_000
        })
      })
      const json: { readonly reservation_id: string } = JSON.parse(await response.text())
      return json.reservation_id
    })
    return record(reservation, {
      baseUrl: url,
      commitBody: `{"idempotency_key":"commit-${reservation}","actual":{"unit":"TOKENS","amount":42}}`,
      eventBody: undefined,
      recordedAtMs: Date.now()
    })
  })

const spentOf = ({ env }: Server) =>
  Effect.map(run("balances --json", env), ({ out }) => {
    const rows: ReadonlyArray<{ readonly scope_path: string; readonly spent: { readonly amount: number } }> =
      JSON.parse(out)
    return rows.find(({ scope_path }) => scope_path === "tenant:acme")?.spent.amount
  })

describe.each(stores)("effect-cycles journal in $name", ({ layer, ownersOf, target }) => {
  it.live("lists all entries of all owners, and changes nothing", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) => Effect.andThen(journal.put(record("r1")), journal.bury(letter("r2"))))
      const other = { baseUrl: "http://other", fingerprint: "8baba538fb970da4" }
      yield* using(layer(journal), (journal) => journal.put(record("r3", { baseUrl: other.baseUrl })), other)
      const before = filesOf(journal)
      const { entries } = yield* list(journal)
      expect(entries.map(({ kind, reservation_id }) => `${kind} ${reservation_id}`).toSorted()).toEqual([
        "dead-letter r2",
        "pending r1",
        "pending r3"
      ])
      expect(entries.every(({ id }) => /^[0-9a-f]{12}$/.test(id))).toBe(true)
      const text = yield* run(["journal", "list", "--journal", journal, "--kind", "dead-letter"], {})
      expect(text.out).toMatch(/dead-letter +[0-9a-f]{12} +r2 +9223372036854775807 TOKENS .*BUDGET_FROZEN: frozen/)
      expect(text.out).not.toContain("r1")
      expect(text.out).toContain("2 pending, 1 dead letter, 0 open")
      expect(filesOf(journal)).toEqual(before)
    })
  )

  it.live("lists a journal with a damaged lock file, and doesn't change the lock file", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) => journal.put(record("r1")))
      mkdirSync(ownersOf(journal), { recursive: true })
      writeFileSync(join(ownersOf(journal), `${"0".repeat(32)}.lock`), "damaged ".repeat(100))
      const before = filesOf(journal)
      expect(yield* list(journal)).toMatchObject({ in_use: false, entries: [{ reservation_id: "r1" }] })
      expect(filesOf(journal)).toEqual(before)
    })
  )

  it.live("exports JSON lines with all digits of an amount", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) => Effect.andThen(journal.put(record("r1")), journal.bury(letter("r2"))))
      const { code, out } = yield* run(["journal", "export", "--journal", journal], {})
      const lines = out.trim().split("\n")
      expect(code).toBe(0)
      expect(lines).toHaveLength(2)
      for (const line of lines) {
        expect(line).toContain('"amount":9223372036854775807')
        expect(JSON.parse(line)).toMatchObject({ mode: "commit", base_url: owner.baseUrl, owner: owner.fingerprint })
      }
    })
  )

  it.live("forgets one dead letter or pending record, and only with --yes", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) =>
        Effect.all([journal.put(record("r1")), journal.put(record("r3")), journal.bury(letter("r2"))])
      )
      const forget = (...args: ReadonlyArray<string>) => run(["journal", "forget", "--journal", journal, ...args], {})
      const refused = yield* forget("r2")
      expect(refused.code).toBe(1)
      expect(refused.error).toMatch(/^Not forgotten: dead-letter [0-9a-f]{12}: .*\n.*repeat the command with --yes/)
      expect((yield* list(journal)).entries).toHaveLength(3)
      expect((yield* forget("r2", "--yes")).code).toBe(0)
      const { entries } = yield* list(journal)
      expect((yield* forget(entries[0]?.id ?? "", "--yes")).code).toBe(0)
      expect((yield* list(journal)).entries.map(({ reservation_id }) => reservation_id)).toEqual([
        entries[1]?.reservation_id
      ])
      const missing = yield* forget("r2", "--yes")
      expect(missing.code).toBe(1)
      expect(missing.error).toContain("has no entry r2")
    })
  )

  it.live("forgets one of a pending record and a dead letter of the same spend, by --kind", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) => Effect.andThen(journal.bury(letter("r1")), journal.put(record("r1"))))
      const forget = (...args: ReadonlyArray<string>) =>
        run(["journal", "forget", "r1", "--yes", "--journal", journal, ...args], {})
      expect((yield* forget()).error).toContain("and --kind if a pending record and a dead letter have the same id")
      expect((yield* forget("--kind", "dead-letter")).code).toBe(0)
      expect((yield* list(journal)).entries).toMatchObject([{ kind: "pending", reservation_id: "r1" }])
    })
  )

  it.live("requires the id of the entry if a reservation has several", () =>
    Effect.gen(function* () {
      const journal = target()
      const second = record("r1", { commitBody: '{"actual":{"unit":"TOKENS","amount":1}}' })
      yield* using(layer(journal), (journal) => Effect.andThen(journal.put(record("r1")), journal.put(second)))
      const ran = yield* run(["journal", "forget", "r1", "--yes", "--journal", journal], {})
      expect(ran.code).toBe(1)
      expect(ran.error).toMatch(/^2 entries belong to r1: pending [0-9a-f]{12}, pending [0-9a-f]{12}\./)
      expect((yield* list(journal)).entries).toHaveLength(2)
    })
  )

  it.live("lists a journal of a running process, and refuses to change it", () =>
    Effect.gen(function* () {
      const journal = target()
      yield* using(layer(journal), (journal) => journal.bury(letter("dead")))
      const child = yield* start(journal, "hold", "open-", "1")
      const listed = yield* list(journal)
      expect(listed.in_use).toBe(true)
      expect(listed.entries.find(({ kind }) => kind === "open")).toMatchObject({ process: "running" })
      const text = yield* run(["journal", "list", "--journal", journal], {})
      expect(text.out).toContain("In use, so it is read-only: ")
      const env = { CYCLES_BASE_URL: owner.baseUrl, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }
      for (const args of [
        ["forget", "dead", "--yes"],
        ["retry", "dead"]
      ]) {
        const ran = yield* run(["journal", ...args, "--journal", journal], env)
        expect(ran.code).toBe(1)
        expect(ran.error).toContain("is in use, so it is read-only: ")
      }
      expect((yield* list(journal)).entries).toHaveLength(2)
      // After the process has ended, its open record is shown as such, and the journal can be changed.
      yield* Effect.promise(
        () =>
          new Promise((resolve) => {
            child.once("exit", resolve)
            child.kill("SIGKILL")
          })
      )
      const after = yield* list(journal)
      expect(after.in_use).toBe(false)
      expect(after.entries.find(({ kind }) => kind === "open")).toMatchObject({ process: "ended" })
      const open = yield* run(["journal", "forget", "open-0", "--yes", "--journal", journal], {})
      expect(open.error).toContain("It isn't decided yet")
      expect((yield* run(["journal", "forget", "dead", "--yes", "--journal", journal], {})).code).toBe(0)
    }).pipe(Effect.scoped)
  )

  it.live("retry settles the pending records of the configured tenant once", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const journal = target()
      const pending = yield* reserved(server)
      yield* using(layer(journal), (journal) => journal.put(pending), yield* ownerOf(server.env))
      yield* using(layer(journal), (journal) => journal.put(record("r9")))
      const ran = yield* run(["journal", "retry", "--journal", journal], server.env)
      expect({ code: ran.code, error: ran.error }).toEqual({ code: 0, error: "" })
      expect(ran.out).toMatch(/^settled +[0-9a-f]{12} +\S+ +42 TOKENS$/m)
      expect(ran.out).toContain("Not sent: 1 record of other servers, tenants or keys.")
      expect(yield* spentOf(server)).toBe(42)
      expect((yield* list(journal)).entries.map(({ reservation_id }) => reservation_id)).toEqual(["r9"])
      const again = yield* run(["journal", "retry", "--journal", journal], server.env)
      expect(again.out).toContain("There is nothing to send for this server and tenant.")
      expect(yield* spentOf(server)).toBe(42)
    })
  )

  it.live("retry sends a dead letter only on request", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const journal = target()
      const dead = yield* reserved(server)
      const whose = yield* ownerOf(server.env)
      yield* using(layer(journal), (journal) => journal.bury({ ...letter("dead"), record: dead }), whose)
      const retry = (...args: ReadonlyArray<string>) =>
        run(["journal", "retry", "--json", "--journal", journal, ...args], server.env)
      expect(JSON.parse((yield* retry()).out).results).toEqual([])
      expect(yield* spentOf(server)).toBe(0)
      const ran = yield* retry(dead.reservationId)
      expect(JSON.parse(ran.out).results).toMatchObject([{ reservation_id: dead.reservationId, result: "settled" }])
      expect(yield* spentOf(server)).toBe(42)
      expect((yield* list(journal)).entries).toEqual([])
    })
  )

  it.live("retry keeps a record that the server refuses as a dead letter with its reason, and fails", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const journal = target()
      const unknown = record("no-such-reservation", {
        baseUrl: server.url,
        eventBody: undefined,
        recordedAtMs: Date.now()
      })
      yield* using(layer(journal), (journal) => journal.put(unknown), yield* ownerOf(server.env))
      const ran = yield* run(["journal", "retry", "--journal", journal], server.env)
      expect(ran.code).toBe(1)
      expect(ran.out).toMatch(/^dead-letter +[0-9a-f]{12} +no-such-reservation .*NOT_FOUND/m)
      expect(ran.error).toContain("1 of 1 record could not be settled. They stay in the journal.")
      expect((yield* list(journal)).entries).toMatchObject([{ kind: "dead-letter" }])
    })
  )

  it.live("retry refuses an entry of another server, and an unknown id", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const journal = target()
      yield* using(layer(journal), (journal) => journal.bury(letter("dead")))
      const other = yield* run(["journal", "retry", "dead", "--journal", journal], server.env)
      expect(other.error).toContain(`belongs to another server, tenant or key: ${owner.baseUrl}`)
      const unknown = yield* run(["journal", "retry", "nope", "--journal", journal], server.env)
      expect(unknown.error).toContain("has no entry nope")
      expect((yield* list(journal)).entries).toHaveLength(1)
    })
  )
})

describe("effect-cycles journal", () => {
  it.live("reports a SQLite journal as in use while a client has it open without open records", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const journal = join(temporaryFolder(), "journal.sqlite")
      const client = NodeCycles.layer(
        {
          baseUrl: server.url,
          apiKey: Redacted.make(server.env["CYCLES_API_KEY"] ?? ""),
          subject: { tenant: "acme" }
        },
        { journal: JournalSqlite.layer({ filename: journal }) }
      )
      yield* Effect.gen(function* () {
        yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(10) })
        const listed = yield* list(journal)
        expect(listed.in_use).toBe(true)
        yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(10) })
        yield* Cycles.flush("5 seconds")
      }).pipe(Effect.provide(client))
      expect(yield* list(journal)).toMatchObject({ in_use: false, entries: [] })
      expect(yield* spentOf(server)).toBe(20)
    })
  )

  it.live("fails if the path in --journal doesn't exist, but not for the default", () =>
    Effect.gen(function* () {
      const path = join(temporaryFolder(), "jounral.sqlite")
      for (const command of ["list", "export"]) {
        const ran = yield* run(["journal", command, "--journal", path], {})
        expect({ command, code: ran.code, error: ran.error }).toEqual({
          command,
          code: 1,
          error: `The journal ${path} doesn't exist.\nCheck the path in --journal.\n`
        })
      }
      const missing = yield* run("journal list", { CYCLES_JOURNAL_DIR: path })
      expect(missing.out).toBe(`${path} doesn't exist: there is no unsettled spend.\n`)
    })
  )

  it.live("uses the folder in CYCLES_JOURNAL_DIR", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* using(JournalFiles.layer({ folder }), (journal) => journal.put(record("r1")))
      const { out } = yield* run("journal list", { CYCLES_JOURNAL_DIR: folder })
      expect(out).toContain(`${folder}: 1 pending, 0 dead letters, 0 open`)
    })
  )

  it.live("lists a record that two processes have written once, as the client reads it", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const event = record("r1", { mode: "event" })
      yield* using(JournalFiles.layer({ folder }), (journal) => journal.put(record("r1")))
      const further = join(folder, owner.fingerprint, "further")
      mkdirSync(further)
      writeFileSync(join(further, RecordFiles.furtherNameOf(event)), RecordFiles.recordText(event))
      const { out } = yield* run(["journal", "list", "--journal", folder], {})
      expect(out).toContain("1 pending, 0 dead letters, 0 open")
      expect(out).toContain("charged as an event")
      expect((yield* run(["journal", "forget", "r1", "--yes", "--journal", folder], {})).code).toBe(0)
      expect((yield* list(folder)).entries).toEqual([])
    })
  )

  it.live("counts the files that a client has set aside, in all folders of a files journal", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      for (const name of ["a.json.corrupt", "further/b.json.corrupt", "dead-letters/c.json.corrupt"]) {
        const path = join(folder, owner.fingerprint, name)
        mkdirSync(join(path, ".."), { recursive: true })
        writeFileSync(path, "{")
      }
      expect((yield* list(folder)).damaged).toBe(3)
    })
  )

  it.live("fails if the journal is disabled, unreadable or of a newer format", () =>
    Effect.gen(function* () {
      expect((yield* run("journal list", { CYCLES_JOURNAL_ENABLED: "false" })).error).toContain(
        "The journal is disabled"
      )
      const ran = yield* run(["journal", "list", "--journal", import.meta.filename], {})
      expect(ran.code).toBe(1)
      expect(ran.error).toContain("can't be read: file is not a database")
    })
  )
})
