/**
 * Opening data files: validation, locking, and upgrades of older formats.
 */
import * as Fs from "node:fs"
import type * as NodeSqlite from "node:sqlite"
import type { DatabaseSync } from "node:sqlite"

/** Changes a file within an open transaction. */
export type Migration = (db: DatabaseSync) => void

/** The current format and the upgrades from older formats. */
export interface Format {
  /** Creates the tables of the current format in an empty file. */
  readonly make: Migration
  /** Each migration upgrades a file by one format. The first upgrades format 1 to format 2. */
  readonly upgrades: ReadonlyArray<Migration>
}

/** The size of the page cache, in KiB: 16 MiB. SQLite scans a part of it at every commit that adds pages. */
const cacheKilobytes = 16_384

/** The number of changed pages before a checkpoint: 32 MiB in new files. */
const checkpointPages = 4_096

/** The page size of a new file. Half as many pages are written as with the default of 4 KiB. */
const pageBytes = 8_192

/** The application id in the header of the file: "Cycl" in ASCII. */
const applicationId = 0x4379636c

/**
 * Opens or creates a data file and passes it to `use`. A file of an older format is first copied, for example to
 * `FILE.format-1`, and upgraded. Throws a `DataFileError`, without changing the file, if it is in use, has a newer format, or
 * isn't a data file.
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

/** A data file can't be opened, read or written. */
export class DataFileError extends Error {}

const isEmpty = (filename: string): boolean => {
  const stats = Fs.statSync(filename, { throwIfNoEntry: false })
  if (stats !== undefined && !stats.isFile()) throw new DataFileError(`${filename} isn't a file`)
  if (stats !== undefined && stats.size > 0) return false
  try {
    Fs.closeSync(Fs.openSync(filename, "a", 0o600))
  } catch (error) {
    throw new DataFileError(`${filename} can't be created: ${messageOf(error)}`, { cause: error })
  }
  return true
}

/**
 * Validates the header before SQLite opens the file: opening and closing a file that a killed server left checkpoints its log,
 * which changes the file. If there is a rollback journal, the header may be incomplete, so `checkVersion` runs only after
 * SQLite has recovered the file.
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
  new DataFileError(`${filename} isn't a data file of this server`)

const openDatabase = (filename: string): DatabaseSync => {
  try {
    // Loaded on demand: some runtimes lack it, and Node 22 prints a warning.
    const sqlite: typeof NodeSqlite | undefined = process.getBuiltinModule("node:sqlite")
    if (sqlite === undefined) throw new Error("this runtime has no node:sqlite")
    return new sqlite.DatabaseSync(filename, { timeout: 1_000 })
  } catch (error) {
    throw new DataFileError(`${filename} can't be opened: ${messageOf(error)}`, { cause: error })
  }
}

const prepareDatabase = (db: DatabaseSync, filename: string, isNew: boolean, { make, upgrades }: Format): void => {
  try {
    // Holds the lock while the file is open. Two servers on one file would overwrite each other's budgets.
    db.exec("PRAGMA locking_mode = EXCLUSIVE")
    // Created before WAL mode, so that the header of the file itself contains the application id and the format.
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
    // Rare checkpoints write each page of the file less often.
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
  // An existing copy belongs to an upgrade that did not complete.
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
        `${filename} can't be upgraded to format ${version + i + 1}; a copy is in ${copy}: ${messageOf(error)}`,
        { cause: error }
      )
    }
  })
  // Writes the new version into the header of the file itself.
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

/** The message of any thrown value. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
