/** A connection to the SQLite file of a journal, with its prepared statements. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Folder from "./folder.ts"
import * as Format from "./journalFormat.ts"
import * as OwnerLock from "./ownerLock.ts"
import * as Sqlite from "./sqlite.ts"

/** An open file of a journal. */
export interface Connection extends ReturnType<typeof connect> {}

/**
 * Opens the file, and creates it if it is missing. It doesn't wait for locks, because that would block the event loop.
 */
export const connect = (path: string) => {
  let db: Sqlite.Database | undefined
  try {
    const filename = prepare(path)
    const identity = Folder.identityOf(filename)
    Format.checkUntouched(filename)
    db = Sqlite.open(filename)
    Format.migrate(filename, db)
    return {
      db,
      /** The folder of the lock files of owners, next to the file. */
      owners: OwnerLock.folderIn(Path.dirname(filename)),
      isInPlace: makeIsInPlace(filename, identity),
      log: makeLog(`${filename}-wal`),
      begin: db.prepare("BEGIN IMMEDIATE"),
      commit: db.prepare("COMMIT"),
      ...statements(db)
    }
  } catch (error) {
    db?.close()
    throw error
  }
}

/**
 * Creates the folder and the file, with its permissions set before anything is written to it. Returns the real path of
 * the file.
 */
const prepare = (path: string): string => {
  const expanded = Folder.expand(path)
  Folder.make(Path.dirname(expanded))
  try {
    // Don't open an existing file: closing it would release the locks of this process on it.
    Fs.closeSync(Fs.openSync(expanded, "wx", 0o600))
  } catch (error) {
    if (!Fs.existsSync(expanded)) throw error
  }
  // Processes that use different links to the file must use the same folder of owners.
  const filename = Fs.realpathSync(expanded)
  Fs.chmodSync(filename, 0o600)
  return filename
}

/**
 * Makes the check that committed data is in the files at the path: neither the file nor its write-ahead log was deleted
 * or replaced, and the file wasn't truncated.
 *
 * It runs for every transaction, so most checks only read the modification time of the folder, which changes if a file
 * in it is deleted or replaced.
 */
const makeIsInPlace = (filename: string, identity: string | undefined) => {
  const folder = Path.dirname(filename)
  const log = `${filename}-wal`
  let logIdentity: string | undefined
  let size = 0
  let known: Fs.Stats | undefined
  let checkedAt = 0

  const areFilesInPlace = (): boolean => {
    const stats = Folder.statOf(filename)
    if (stats === undefined || `${stats.dev}:${stats.ino}` !== identity || stats.size < size) return false
    size = stats.size
    const present = Folder.identityOf(log)
    logIdentity ??= present
    return present === logIdentity
  }

  return (): boolean => {
    const now = performance.now()
    const present = Folder.statOf(folder)
    const isUnchanged =
      known !== undefined &&
      present?.mtimeMs === known.mtimeMs &&
      present.ino === known.ino &&
      present.dev === known.dev
    if (isUnchanged && now - checkedAt < maxCheckAgeMs) return true
    if (!areFilesInPlace()) return false
    checkedAt = now
    // A second change within one tick of the file system's clock has the same modification time.
    known = present !== undefined && Date.now() - present.mtimeMs > clockTickMs ? present : undefined
    return true
  }
}

/**
 * Makes the check that the write-ahead log wasn't truncated. SQLite would write the next frames after the missing ones,
 * and a reader of the file would never reach them. Another process may truncate the log after it has copied it to the
 * file. Then nothing is lost, and a new connection is opened.
 */
const makeLog = (path: string) => {
  let size = 0
  const present = (): number => Folder.statOf(path)?.size ?? 0
  return {
    /** Called before a transaction. */
    isIntact: (): boolean => present() >= size,
    /** Called after a commit. */
    committed: (): void => void (size = present())
  }
}

/** The maximum age of a check of the files themselves: truncating a file doesn't change its folder. */
const maxCheckAgeMs = 50

const clockTickMs = 20

const statements = (db: Sqlite.Database) => {
  const exact = (sql: string) => {
    const statement = db.prepare(sql)
    // Otherwise a number above 2^53 makes reading any row throw.
    statement.setReadBigInts(true)
    return statement
  }
  const columns = "fingerprint, base_url, reservation_id, mode, commit_body, event_body, recorded_at_ms, not_before_ms"
  const insert = (table: string, more: ReadonlyArray<string>) =>
    `INSERT INTO ${table} (${[columns, ...more].join(", ")}) VALUES (?, ?, ?, ?, ?, ?, ?, ?${", ?".repeat(more.length)})`
  const ofOwner = "WHERE fingerprint = ? AND base_url = ?"
  const ofRecord = `${ofOwner} AND reservation_id = ? AND commit_body = ?`
  const ofHandle = `${ofOwner} AND owner = ? AND reservation_id = ?`
  return {
    quarantine: db.prepare("INSERT INTO quarantine VALUES (?, ?)"),
    records: {
      put: db.prepare(
        `${insert("records", [])} ON CONFLICT DO UPDATE SET mode = excluded.mode, event_body = excluded.event_body, ` +
          "recorded_at_ms = excluded.recorded_at_ms, not_before_ms = excluded.not_before_ms"
      ),
      select: exact(`SELECT * FROM records ${ofOwner} ORDER BY recorded_at_ms, reservation_id`),
      has: db.prepare(`SELECT 1 FROM records ${ofOwner} AND reservation_id = ? LIMIT 1`),
      remove: db.prepare(`DELETE FROM records ${ofRecord}`)
    },
    letters: {
      put: db.prepare(
        `${insert("dead_letters", ["reason", "died_at_ms"])} ON CONFLICT DO UPDATE SET mode = excluded.mode, ` +
          "event_body = excluded.event_body, recorded_at_ms = excluded.recorded_at_ms, " +
          "not_before_ms = excluded.not_before_ms, reason = excluded.reason, died_at_ms = excluded.died_at_ms"
      ),
      select: exact(`SELECT * FROM dead_letters ${ofOwner} ORDER BY died_at_ms, reservation_id`),
      has: db.prepare(`SELECT 1 FROM dead_letters ${ofOwner} AND reservation_id = ? LIMIT 1`),
      remove: db.prepare(`DELETE FROM dead_letters ${ofRecord}`)
    },
    open: {
      put: db.prepare(
        `${insert("open_records", ["owner"])} ON CONFLICT DO UPDATE SET mode = excluded.mode, ` +
          "commit_body = excluded.commit_body, event_body = excluded.event_body, " +
          "recorded_at_ms = excluded.recorded_at_ms, not_before_ms = excluded.not_before_ms"
      ),
      remove: db.prepare(`DELETE FROM open_records ${ofHandle}`),
      owners: db.prepare(`SELECT DISTINCT owner FROM open_records ${ofOwner}`),
      reown: db.prepare(`UPDATE open_records SET owner = ? ${ofOwner} AND owner = ?`),
      adopt: db.prepare(
        `INSERT INTO records SELECT ${columns} FROM open_records ${ofOwner} AND owner = ? ON CONFLICT DO NOTHING`
      ),
      removeAll: db.prepare(`DELETE FROM open_records ${ofOwner} AND owner = ?`)
    }
  }
}
