/**
 * The journal in a SQLite file, the default on Node: durable (WAL, `synchronous=FULL`), one transaction for all records that
 * wait together, several processes on one file.
 *
 * A record that can't be read is moved to the table `quarantine` and is in nobody's way.
 *
 * Source: client recovery profile (CR-DURABLE-001 to 006); the format is ours.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { DeadLetter, Journal, JournalOwner, JournalRecord } from "../SettlementJournal.ts"
import { JournalError, SettlementJournal } from "../SettlementJournal.ts"
import * as Folder from "./internal/folder.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Where the journal is. */
export interface Options {
  /** The file; `~` is the home folder. Default `~/.effect-cycles/journal.sqlite`. Its folder is made where it is missing. */
  readonly filename?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** The journal in a SQLite file. It is opened when the first client opens its records, and closed with the layer. */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.effect(
    SettlementJournal,
    Effect.gen(function* () {
      const filename = Folder.expand(options?.filename ?? "~/.effect-cycles/journal.sqlite")
      let file: File | undefined
      yield* Effect.addFinalizer(() => Effect.sync(() => file?.close()))
      return {
        isDurable: true,
        open: (owner) =>
          Effect.map(
            attempt("open", () => (file ??= openFile(filename))),
            (file) => journalOf(file, owner)
          )
      }
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

const formatVersion = 1

/** Marks the file as ours: "CyJo" in ASCII. */
const applicationId = 0x43794a6f

interface File {
  readonly db: DatabaseSync
  /** Runs work in the next transaction; the callback hears when it is durable, or why it is not. */
  readonly enqueue: (work: () => void, done: (error: unknown) => void) => void
  /** Runs work, for which nobody waits, with the next transaction that somebody waits for, or a little later. */
  readonly enqueueIdle: (work: () => void) => void
  /** Does now what waits for the next transaction. */
  readonly commit: () => void
  readonly close: () => void
}

const openFile = (filename: string): File => {
  Folder.make(Path.dirname(filename))
  // Made with its rights before anything is written into it.
  Fs.closeSync(Fs.openSync(filename, "a", 0o600))
  Fs.chmodSync(filename, 0o600)
  const db = new DatabaseSync(filename, { timeout: 5_000 })
  try {
    migrate(db, filename)
  } catch (error) {
    db.close()
    throw error
  }

  const begin = db.prepare("BEGIN IMMEDIATE")
  const end = db.prepare("COMMIT")
  let waiting: Array<{ readonly work: () => void; readonly done: (error: unknown) => void }> = []
  let isScheduled = false
  let idle: NodeJS.Timeout | undefined

  const commit = (): void => {
    const batch = waiting
    waiting = []
    isScheduled = false
    clearTimeout(idle)
    idle = undefined
    if (batch.length === 0) return
    let problem: unknown
    try {
      begin.run()
      for (const { work } of batch) work()
      end.run()
    } catch (error) {
      problem = error ?? new Error("the transaction failed")
      if (db.isTransaction) db.exec("ROLLBACK")
    }
    for (const { done } of batch) done(problem)
  }

  return {
    db,
    commit,
    enqueue: (work, done) => {
      waiting.push({ work, done })
      if (isScheduled) return
      isScheduled = true
      setImmediate(commit)
    },
    enqueueIdle: (work) => {
      waiting.push({ work, done: () => {} })
      if (!isScheduled) idle ??= setTimeout(commit, idleMs).unref()
    },
    close: () => {
      commit()
      db.close()
    }
  }
}

/** How long work for which nobody waits may wait for a transaction. */
const idleMs = 20

/** The columns of a record, in both tables. */
const recordColumns = `
  fingerprint TEXT NOT NULL,
  base_url TEXT NOT NULL,
  reservation_id TEXT NOT NULL,
  mode TEXT NOT NULL,
  commit_body TEXT NOT NULL,
  event_body TEXT,
  recorded_at_ms INTEGER NOT NULL,
  not_before_ms INTEGER NOT NULL`

const migrate = (db: DatabaseSync, filename: string): void => {
  const application = db.prepare("PRAGMA application_id").get()?.["application_id"]
  const version = db.prepare("PRAGMA user_version").get()?.["user_version"]
  const isEmpty =
    application === 0 && version === 0 && db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"] === 0
  if (!isEmpty && application !== applicationId) throw new Error(`${filename} is no journal of this client`)
  if (!isEmpty && version !== formatVersion) {
    throw new Error(`${filename} has format ${String(version)}; this client reads format ${formatVersion}`)
  }
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${formatVersion};
    CREATE TABLE IF NOT EXISTS records (
      ${recordColumns},
      PRIMARY KEY (fingerprint, base_url, reservation_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dead_letters (
      ${recordColumns},
      reason TEXT NOT NULL,
      died_at_ms INTEGER NOT NULL,
      PRIMARY KEY (fingerprint, base_url, reservation_id)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS quarantine (content TEXT NOT NULL, found_at_ms INTEGER NOT NULL) STRICT;
  `)
}

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const journalOf = (file: File, { baseUrl, fingerprint }: JournalOwner): Journal => {
  const { db } = file
  const put = db.prepare(
    "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET mode = excluded.mode, " +
      "commit_body = excluded.commit_body, event_body = excluded.event_body, " +
      "recorded_at_ms = excluded.recorded_at_ms, not_before_ms = excluded.not_before_ms"
  )
  const remove = db.prepare("DELETE FROM records WHERE fingerprint = ? AND base_url = ? AND reservation_id = ?")
  const bury = db.prepare("INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
  const forget = db.prepare("DELETE FROM dead_letters WHERE fingerprint = ? AND base_url = ? AND reservation_id = ?")
  const pending = db.prepare(
    "SELECT * FROM records WHERE fingerprint = ? AND base_url = ? ORDER BY recorded_at_ms, reservation_id"
  )
  const letters = db.prepare(
    "SELECT * FROM dead_letters WHERE fingerprint = ? AND base_url = ? ORDER BY died_at_ms, reservation_id"
  )
  const quarantine = db.prepare("INSERT INTO quarantine VALUES (?, ?)")

  const values = (record: JournalRecord) =>
    [
      fingerprint,
      baseUrl,
      record.reservationId,
      record.mode,
      record.commitBody,
      record.eventBody ?? null,
      record.recordedAtMs,
      record.notBeforeMs
    ] as const

  const durably = (operation: JournalError["operation"], work: () => void): Effect.Effect<void, JournalError> =>
    Effect.callback((resume) =>
      file.enqueue(work, (error) => resume(error === undefined ? Effect.void : Effect.fail(problem(operation, error))))
    )

  const setAside = (row: Row): void =>
    file.enqueueIdle(() => {
      quarantine.run(JSON.stringify(row), Date.now())
      remove.run(fingerprint, baseUrl, String(row["reservation_id"]))
    })

  return {
    put: (record) => durably("put", () => void put.run(...values(record))),
    // Nobody waits: replaying a settled record charges nothing.
    remove: (id) => Effect.sync(() => file.enqueueIdle(() => void remove.run(fingerprint, baseUrl, id))),
    bury: (letter) =>
      durably("bury", () => {
        bury.run(...values(letter.record), letter.reason, letter.diedAtMs)
        remove.run(fingerprint, baseUrl, letter.record.reservationId)
      }),
    pending: Stream.unwrap(
      Effect.flatMap(
        attempt("read", () => {
          // What was removed is not read again.
          file.commit()
          return pending.all(fingerprint, baseUrl)
        }),
        (rows) => {
          const records = rows.map(recordOf)
          const corrupt = rows.filter((_, i) => records[i] === undefined)
          corrupt.forEach(setAside)
          const told =
            corrupt.length === 0
              ? Effect.void
              : Effect.logError(`${corrupt.length} records of the settlement journal can't be read and were set aside`)
          return Effect.as(told, Stream.fromIterable(records.filter((record) => record !== undefined)))
        }
      )
    ),
    deadLetters: Stream.unwrap(
      Effect.map(
        attempt("read", () => letters.all(fingerprint, baseUrl)),
        (rows) => Stream.fromIterable(rows.flatMap(letterOf))
      )
    ),
    forget: (id) => durably("forget", () => void forget.run(fingerprint, baseUrl, id))
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

type Row = Readonly<Record<string, unknown>>

const recordOf = (row: Row): JournalRecord | undefined => {
  const { base_url, commit_body, event_body, mode, not_before_ms, recorded_at_ms, reservation_id } = row
  if (typeof base_url !== "string" || typeof commit_body !== "string" || typeof reservation_id !== "string")
    return undefined
  if (mode !== "commit" && mode !== "event") return undefined
  if (typeof recorded_at_ms !== "number" || typeof not_before_ms !== "number") return undefined
  if (!isJson(commit_body) || (typeof event_body === "string" && !isJson(event_body))) return undefined
  return {
    reservationId: ReservationId.make(reservation_id, { disableChecks: true }),
    baseUrl: base_url,
    mode,
    commitBody: commit_body,
    eventBody: typeof event_body === "string" ? event_body : undefined,
    recordedAtMs: recorded_at_ms,
    notBeforeMs: not_before_ms
  }
}

const letterOf = (row: Row): ReadonlyArray<DeadLetter> => {
  const record = recordOf(row)
  const { died_at_ms, reason } = row
  return record === undefined || typeof reason !== "string" || typeof died_at_ms !== "number"
    ? []
    : [{ record, reason, diedAtMs: died_at_ms }]
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const problem = (operation: JournalError["operation"], error: unknown): JournalError =>
  new JournalError({ operation, problem: error instanceof Error ? error.message : String(error) })

const attempt = <A>(operation: JournalError["operation"], f: () => A): Effect.Effect<A, JournalError> =>
  Effect.try({ try: f, catch: (error) => problem(operation, error) })
