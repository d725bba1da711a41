/**
 * The SQLite file of a journal: its format, and a queue of work, so that all who wait share one transaction.
 *
 * Nothing here blocks: where another process has the lock, the work goes on waiting while the event loop goes on.
 */
import * as Predicate from "effect/Predicate"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { JournalError } from "../../SettlementJournal.ts"
import * as Folder from "./folder.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

export interface File {
  /**
   * Does work with what else waits, in one transaction; work that only reads waits for no lock. `done` hears when it is
   * durable, or why it is not.
   */
  readonly enqueue: (kind: "read" | "write", work: Work, done: (error: unknown) => void) => void
  /** Does work, for which nobody waits, with what somebody waits for, or a little later; false when the file is closed. */
  readonly enqueueIdle: (work: Work) => boolean
  /** Does what waits, and closes the file. */
  readonly close: (done: () => void) => void
}

/** What is done with the file; in a transaction that writes it is done again when the transaction failed. */
export type Work = (connection: Connection) => void

interface Waiting {
  readonly kind: "read" | "write"
  readonly work: Work
  readonly done: (error: unknown) => void
  readonly sinceMs: number
}

/** The file, which is opened for the first work. One that can't be opened is tried again with the next work. */
export const make = (filename: string): File => {
  let connection: Connection | undefined
  let waiting: Array<Waiting> = []
  let isScheduled = false
  let idle: NodeJS.Timeout | undefined
  let isClosed = false
  let onClosed: (() => void) | undefined

  /** Does work in one transaction, all or nothing; says why it could not. */
  const transact = (batch: ReadonlyArray<Waiting>): unknown => {
    try {
      connection ??= connect(filename)
      const isWriting = batch.some(({ kind }) => kind === "write")
      if (isWriting) connection.begin.run()
      for (const { work } of batch) work(connection)
      if (isWriting) connection.commit.run()
      return undefined
    } catch (error) {
      rollBack()
      return error ?? new Error("the transaction failed")
    }
  }

  const rollBack = (): void => {
    try {
      if (connection?.db.isTransaction === true) connection.db.exec("ROLLBACK")
    } catch {
      // The next transaction would be inside of this one: it gets a connection of its own.
      disconnect()
    }
  }

  const disconnect = (): void => {
    try {
      connection?.db.close()
    } catch {
      // What was committed is durable all the same.
    }
    connection = undefined
  }

  /** Does what waits now. Where another process has the lock, it goes on waiting, and the event loop goes on meanwhile. */
  const commit = (): void => {
    const batch = waiting
    waiting = []
    isScheduled = false
    clearTimeout(idle)
    idle = undefined
    const error = batch.length === 0 ? undefined : transact(batch)
    if (isBusy(error)) {
      const now = performance.now()
      const isPatient = ({ sinceMs }: Waiting) => now - sinceMs < patienceMs
      waiting = batch.filter(isPatient)
      if (waiting.length > 0) {
        isScheduled = true
        setTimeout(commit, betweenMs)
      }
      for (const one of batch) if (!isPatient(one)) one.done(error)
    } else {
      // One that can't be written must not be in the way of the others.
      const isAlone = error === undefined || batch.length === 1 || connection === undefined
      const errors = isAlone ? undefined : batch.map((one) => transact([one]))
      batch.forEach((one, i) => one.done(errors === undefined ? error : errors[i]))
    }
    if (onClosed === undefined || waiting.length > 0) return
    disconnect()
    onClosed()
    onClosed = undefined
  }

  const commitAfter = (turns: number): void => void setImmediate(() => (turns > 1 ? commitAfter(turns - 1) : commit()))

  return {
    enqueue: (kind, work, done) => {
      if (isClosed) return done(closed)
      waiting.push({ kind, work, done, sinceMs: performance.now() })
      if (isScheduled) return
      isScheduled = true
      commitAfter(turns)
    },
    enqueueIdle: (work) => {
      if (isClosed) return false
      waiting.push({ kind: "write", work, done: () => {}, sinceMs: performance.now() })
      if (!isScheduled) idle ??= setTimeout(commit, idleMs).unref()
      return true
    },
    close: (done) => {
      isClosed = true
      onClosed = done
      commit()
    }
  }
}

/**
 * How many turns of the event loop a transaction waits for more. Under load each brings answers whose charges share the write
 * to the disk, the dearest part of it; where nothing else goes on, turns take no time.
 */
const turns = 4

/** How long work for which nobody waits may wait for a transaction. */
const idleMs = 20

/** How long work waits for the lock of another process, and how long between two attempts. */
const patienceMs = 5_000
const betweenMs = 5

/** Whether another process has a lock, or is about to open or close the file: SQLITE_BUSY, in all its kinds. */
const isBusy = (error: unknown): boolean =>
  Predicate.hasProperty(error, "errcode") && typeof error.errcode === "number" && (error.errcode & 0xff) === 5

// ---------------------------------------------------------------------------------------------------------------------
// the connection
// ---------------------------------------------------------------------------------------------------------------------

export interface Connection extends ReturnType<typeof connect> {}

/** Opens the file, and makes it where it is missing. It waits for no lock: the event loop would stand still. */
const connect = (filename: string) => {
  let db: DatabaseSync | undefined
  try {
    Folder.make(Path.dirname(filename))
    makePrivate(filename)
    db = new DatabaseSync(filename)
    migrate(db, filename)
    return { db, begin: db.prepare("BEGIN IMMEDIATE"), commit: db.prepare("COMMIT"), ...statements(db) }
  } catch (error) {
    db?.close()
    throw isBusy(error) ? error : problem("open", error)
  }
}

/** Makes the file with its rights before anything is written into it. */
const makePrivate = (filename: string): void => {
  try {
    // Never opens a file that is there: closing it again would drop the locks that this process has on it.
    Fs.closeSync(Fs.openSync(filename, "wx", 0o600))
  } catch (error) {
    if (!Fs.existsSync(filename)) throw error
  }
  Fs.chmodSync(filename, 0o600)
}

const statements = (db: DatabaseSync) => {
  const exact = (sql: string) => {
    const statement = db.prepare(sql)
    // A number above 2^53 would be thrown at whoever reads any row.
    statement.setReadBigInts(true)
    return statement
  }
  const whose = "WHERE fingerprint = ? AND base_url = ?"
  return {
    put: db.prepare(
      "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET mode = excluded.mode, " +
        "commit_body = excluded.commit_body, event_body = excluded.event_body, " +
        "recorded_at_ms = excluded.recorded_at_ms, not_before_ms = excluded.not_before_ms"
    ),
    bury: db.prepare("INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    quarantine: db.prepare("INSERT INTO quarantine VALUES (?, ?)"),
    records: {
      select: exact(`SELECT * FROM records ${whose} ORDER BY recorded_at_ms, reservation_id`),
      remove: db.prepare(`DELETE FROM records ${whose} AND reservation_id = ?`)
    },
    letters: {
      select: exact(`SELECT * FROM dead_letters ${whose} ORDER BY died_at_ms, reservation_id`),
      remove: db.prepare(`DELETE FROM dead_letters ${whose} AND reservation_id = ?`)
    }
  }
}

const formatVersion = 1

/** Marks the file as ours: "CyJo" in ASCII. */
const applicationId = 0x43794a6f

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

/** Brings the file into our format. Nothing is written where it is in it, and nothing into another program's file. */
const migrate = (db: DatabaseSync, filename: string): void => {
  const isMigrated = isOurs(db, filename)
  // Says nothing to the file where it is so already.
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  if (isMigrated) return
  db.exec("BEGIN IMMEDIATE")
  // Another process may have been faster.
  if (!isOurs(db, filename)) db.exec(schema)
  db.exec("COMMIT")
}

/** Whether the file has our tables; false for one that is empty. Fails for a file that must be left alone. */
const isOurs = (db: DatabaseSync, filename: string): boolean => {
  const { application, ours, tables, version } = { ...db.prepare(formatOf).get() }
  const isEmpty = tables === 0 && version === 0 && (application === 0 || application === applicationId)
  if (!isEmpty && application !== applicationId) throw new Error(`${filename} is no journal of this client`)
  if (!isEmpty && version !== formatVersion) {
    throw new Error(`${filename} has format ${String(version)}; this client reads format ${formatVersion}`)
  }
  return ours === 3
}

const formatOf = `
  SELECT
    (SELECT application_id FROM pragma_application_id) AS application,
    (SELECT user_version FROM pragma_user_version) AS version,
    (SELECT count(*) FROM sqlite_schema WHERE type = 'table') AS tables,
    (SELECT count(*) FROM sqlite_schema WHERE name IN ('records', 'dead_letters', 'quarantine')) AS ours`

const schema = `
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
  CREATE TABLE IF NOT EXISTS quarantine (content TEXT NOT NULL, found_at_ms INTEGER NOT NULL) STRICT;`

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

export const problem = (operation: JournalError["operation"], error: unknown): JournalError =>
  error instanceof JournalError
    ? error
    : new JournalError({ operation, problem: error instanceof Error ? error.message : String(error) })

export const closed = new Error("it is closed")
