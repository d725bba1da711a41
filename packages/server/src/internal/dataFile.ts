/**
 * Data files: whether a file is one of ours and may be used, its format, and bringing an older format to the newest.
 */
import * as Fs from "node:fs"
import type * as NodeSqlite from "node:sqlite"
import type { DatabaseSync } from "node:sqlite"

/** Changes a file within a transaction that is open. */
export type Migration = (db: DatabaseSync) => void

/** What is in a file. */
export interface Format {
  /** Makes the tables of the newest format in an empty file. */
  readonly make: Migration
  /** Each brings a file from the format before to the next: the first from 1 to 2. */
  readonly upgrades: ReadonlyArray<Migration>
}

/** Memory for pages of the file: 64 MiB. */
const cacheKilobytes = 65_536

/** Pages that were changed before the log is put into the file: 32 MiB of a new one. */
const checkpointPages = 4_096

/** Of a new file. Half as many pages are written as of the usual 4 KiB. */
const pageBytes = 8_192

/** Marks the file as ours: "Cycl" in ASCII. */
const applicationId = 0x4379636c

/**
 * Opens a data file, or makes one, and reads what `use` needs. One of an older format is copied beside itself, as
 * `FILE.format-1`, and then upgraded. A file that is none, or is of a newer format, or is in use, is left alone, and an error
 * says so.
 */
export const open = <A>(filename: string, format: Format, use: (db: DatabaseSync) => A): A => {
  const newest = format.upgrades.length + 1
  const isNew = isEmpty(filename)
  if (!isNew) checkHeader(filename, newest)
  const db = openDatabase(filename)
  try {
    prepareDatabase(db, filename, isNew, format)
    return use(db)
  } catch (error) {
    db.close()
    throw error instanceof DataFileError
      ? error
      : new DataFileError(`${filename} can't be read: ${messageOf(error)}`, { cause: error })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

/** A file that can't be used, or not any more. */
export class DataFileError extends Error {}

const isEmpty = (filename: string): boolean => {
  const stats = Fs.statSync(filename, { throwIfNoEntry: false })
  if (stats !== undefined && !stats.isFile()) throw new DataFileError(`${filename} is no file`)
  if (stats !== undefined && stats.size > 0) return false
  try {
    Fs.closeSync(Fs.openSync(filename, "a", 0o600))
  } catch (error) {
    throw new DataFileError(`${filename} can't be made: ${messageOf(error)}`, { cause: error })
  }
  return true
}

/**
 * Looks at the head of a file before SQLite does: opening and closing would already move what a killed server left in the
 * log beside it. A head that is being rolled back is not looked at; SQLite puts it right first.
 */
const checkHeader = (filename: string, newest: number): void => {
  if (Fs.existsSync(`${filename}-journal`)) return
  const head = Buffer.alloc(72)
  try {
    const file = Fs.openSync(filename, "r")
    try {
      Fs.readSync(file, head, 0, head.length, 0)
    } finally {
      Fs.closeSync(file)
    }
  } catch (error) {
    throw new DataFileError(`${filename} can't be read: ${messageOf(error)}`, { cause: error })
  }
  if (head.toString("latin1", 0, 16) !== "SQLite format 3\u0000") throw notADataFile(filename)
  checkVersion(filename, head.readUInt32BE(68), head.readUInt32BE(60), newest)
}

const checkVersion = (filename: string, application: unknown, version: unknown, newest: number): number => {
  if (application !== applicationId) throw notADataFile(filename)
  if (typeof version === "number" && version >= 1 && version <= newest) return version
  throw new DataFileError(`${filename} has format ${String(version)}; this server reads format ${newest} and older`)
}

const notADataFile = (filename: string): DataFileError =>
  new DataFileError(`${filename} is no data file of this server`)

const openDatabase = (filename: string): DatabaseSync => {
  try {
    // Loaded when it is needed: some runtimes don't have it, and Node 22 prints a warning when it is loaded.
    const sqlite: typeof NodeSqlite | undefined = process.getBuiltinModule("node:sqlite")
    if (sqlite === undefined) throw new Error("this runtime has no node:sqlite")
    return new sqlite.DatabaseSync(filename, { timeout: 1_000 })
  } catch (error) {
    throw new DataFileError(`${filename} can't be opened: ${messageOf(error)}`, { cause: error })
  }
}

const prepareDatabase = (db: DatabaseSync, filename: string, isNew: boolean, { make, upgrades }: Format): void => {
  try {
    // The lock is held for as long as the file is open: two servers on one file would keep two sets of books.
    db.exec("PRAGMA locking_mode = EXCLUSIVE")
    // Before the log is in use, so that the head of the file itself says what it is.
    if (isNew) {
      const version = upgrades.length + 1
      db.exec(`PRAGMA page_size = ${pageBytes}`)
      db.exec(`BEGIN EXCLUSIVE; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${version}`)
      make(db)
      db.exec("COMMIT")
    }
    const version = checkVersion(
      filename,
      db.prepare("PRAGMA application_id").get()?.["application_id"],
      db.prepare("PRAGMA user_version").get()?.["user_version"],
      upgrades.length + 1
    )
    db.exec("PRAGMA journal_mode = WAL")
    db.exec("PRAGMA synchronous = FULL")
    // New rows fall all over the indexes: the pages that they touch stay at hand, and go into the file many changes at a time.
    db.exec(`PRAGMA cache_size = -${cacheKilobytes}`)
    db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`)
    db.exec("BEGIN IMMEDIATE; COMMIT")
    if (version <= upgrades.length) upgrade(db, filename, version, upgrades)
  } catch (error) {
    if (!(error instanceof DataFileError) && /locked|busy/.test(messageOf(error))) {
      throw new DataFileError(`${filename} is in use: another server runs on it`, { cause: error })
    }
    throw error
  }
}

const upgrade = (db: DatabaseSync, filename: string, version: number, upgrades: ReadonlyArray<Migration>): void => {
  const copy = `${filename}.format-${version}`
  // A copy that is there already is that of an upgrade which did not come to its end: it is made anew.
  Fs.rmSync(copy, { force: true })
  db.prepare("VACUUM INTO ?").run(copy)
  upgrades.slice(version - 1).forEach((migration, i) => {
    db.exec("BEGIN IMMEDIATE")
    try {
      migration(db)
      db.exec(`PRAGMA user_version = ${version + i + 1}`)
      db.exec("COMMIT")
    } catch (error) {
      db.exec("ROLLBACK")
      throw new DataFileError(
        `${filename} can't be brought to format ${version + i + 1}; a copy is in ${copy}: ${messageOf(error)}`,
        { cause: error }
      )
    }
  })
  // So that the head of the file itself has the new version.
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

/** What went wrong, in words. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
