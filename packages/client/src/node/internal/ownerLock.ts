/**
 * The lock of a journal handle, which proves that the handle is alive: a lock file that stays locked while the handle
 * is in use. The operating system releases the lock when the process ends for any reason.
 *
 * The lock is an open EXCLUSIVE transaction of SQLite on an empty file. SQLite locks across processes, threads, and
 * connections of one process; `fcntl` alone doesn't. While a process holds the lock, it must open the file by SQLite
 * only, because closing any other file descriptor of the file releases the lock.
 */
import * as Predicate from "effect/Predicate"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Folder from "./folder.ts"
import * as Sqlite from "./sqlite.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the lock of this handle
// ---------------------------------------------------------------------------------------------------------------------

/** The lock of one handle. */
export interface OwnerLock {
  /** The owner id of the lock; undefined if it isn't held. */
  readonly id: () => string | undefined
  /**
   * Acquires the lock, or checks that it is in place, and returns its owner id. The id changes if the file was deleted
   * in the meantime. Throws if the lock can't be acquired.
   */
  readonly acquire: (folder: string) => string
  /** Releases the lock and removes its file. */
  readonly release: () => void
}

/** An acquired lock. */
interface Held {
  readonly id: string
  readonly path: string
  readonly identity: string
  readonly db: Sqlite.Database
}

/** Makes a lock that isn't acquired yet. */
export const make = (): OwnerLock => {
  let held: Held | undefined
  return {
    id: () => held?.id,
    acquire: (folder) => {
      if (held !== undefined && Folder.identityOf(held.path) === held.identity) return held.id
      close(held?.db)
      held = undefined
      for (let attempt = 0; held === undefined && attempt < 3; attempt++) held = lockNew(folder)
      if (held === undefined) throw new Error(`can't create and lock a file in ${folder}`)
      return held.id
    },
    release: () => {
      if (held === undefined) return
      // Unlink while the lock is held, so that no process takes the file for that of a dead owner.
      unlink(held.path)
      close(held.db)
      unlink(held.path)
      held = undefined
    }
  }
}

/** Creates and locks a file; undefined if a sweep removed the file before it was locked. */
const lockNew = (folder: string): Held | undefined => {
  Folder.make(folder)
  const id = randomBytes(16).toString("hex")
  const path = pathOf(folder, id)
  createFile(path)
  const identity = Folder.identityOf(path)
  const db = lock(path)
  if (db !== undefined && identity !== undefined && Folder.identityOf(path) === identity) {
    return { id, path, identity, db }
  }
  close(db)
  return undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// the locks of others
// ---------------------------------------------------------------------------------------------------------------------

/** The lock of a dead owner, held by the process that adopts its records, so that only one process does. */
export interface AdoptionLock {
  /** Releases the lock. `isDone` also removes the file, because all records of the owner were adopted. */
  readonly release: (isDone: boolean) => void
}

/**
 * Locks the file of an owner that has open records; undefined if the owner is alive, or if another process adopts its
 * records.
 *
 * An owner acquires its lock before it writes its first record. If the file is missing, the owner is therefore dead.
 */
export const lockDead = (folder: string, id: string): AdoptionLock | undefined => {
  const path = pathOf(folder, id)
  if (!Fs.existsSync(path)) {
    Folder.make(folder)
    createFile(path)
  }
  const identity = Folder.identityOf(path)
  const db = identity === undefined ? undefined : tryLock(path)
  if (db === "damaged") {
    unlink(path)
    return Fs.existsSync(path) ? undefined : lockDead(folder, id)
  }
  if (db === undefined) return undefined
  // Another process has adopted the records in the meantime and removed the file.
  if (Folder.identityOf(path) !== identity) {
    close(db)
    return undefined
  }
  return {
    release: (isDone) => {
      if (isDone) unlink(path)
      close(db)
      if (isDone) unlink(path)
    }
  }
}

/**
 * The ids of the owners whose locks are held. A lock that can't be checked counts as held. Throws if the folder can't
 * be listed. Changes no file.
 */
export const living = (folder: string): ReadonlySet<string> => {
  const names = Fs.existsSync(folder) ? Fs.readdirSync(folder) : []
  const ids = names.filter((name) => name.endsWith(extension)).map((name) => Path.basename(name, extension))
  return new Set(ids.filter((id) => isId(id) && isHeld(pathOf(folder, id))))
}

const isHeld = (path: string): boolean => {
  if (!Fs.existsSync(path)) return false
  const db = tryLock(path)
  if (db === undefined) return true
  if (db !== "damaged") close(db)
  return false
}

/** Removes the files of owners that died without open records. */
export const sweep = (folder: string): void => {
  for (const name of list(folder).slice(0, maxSwept)) {
    if (!name.endsWith(extension)) continue
    const path = Path.join(folder, name)
    const db = tryLock(path)
    if (db === undefined) continue
    unlink(path)
    if (db !== "damaged") close(db)
  }
}

/** The maximum number of files per sweep. Each blocks the event loop for about 50 µs. */
const maxSwept = 100

/**
 * Locks a file; undefined if it can't be locked: an owner has locked it, or it belongs to another user. A damaged file
 * could be read, so no owner has locked it.
 */
const tryLock = (path: string): Sqlite.Database | "damaged" | undefined => {
  try {
    return lock(path)
  } catch (error) {
    return Sqlite.isUnreadable(error) ? "damaged" : undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// files
// ---------------------------------------------------------------------------------------------------------------------

/** The folder of the lock files in a folder of records, or next to a SQLite file. */
export const folderIn = (folder: string): string => Path.join(folder, "owners")

/** Whether a text can be an owner id. */
export const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)

const extension = ".lock"

const pathOf = (folder: string, id: string): string => Path.join(folder, `${id}${extension}`)

/** Opens and locks a file; undefined if another connection has locked it. */
const lock = (path: string): Sqlite.Database | undefined => {
  let db: Sqlite.Database | undefined
  try {
    db = Sqlite.open(path)
    // The transaction is never committed. The file stays empty, so that the lock works on a full disk.
    db.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return db
  } catch (error) {
    close(db)
    if (Sqlite.isBusy(error)) return undefined
    throw error
  }
}

const close = (db: Sqlite.Database | undefined): void => {
  try {
    db?.close()
  } catch {
    // The lock ends with the connection.
  }
}

const createFile = (path: string): void => {
  try {
    Fs.closeSync(Fs.openSync(path, "wx", 0o600))
  } catch (error) {
    // The file exists. Don't open it: closing it would release a lock of this process.
    if (!Predicate.hasProperty(error, "code") || error.code !== "EEXIST") throw error
  }
}

const unlink = (path: string): void => {
  try {
    Fs.unlinkSync(path)
  } catch {
    // The file is already removed, or a later sweep removes it.
  }
}

const list = (folder: string): ReadonlyArray<string> => {
  try {
    return Fs.readdirSync(folder)
  } catch {
    return []
  }
}
