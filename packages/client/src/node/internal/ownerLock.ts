/**
 * Proof of life of a journal handle: a file of its own, locked for as long as the handle is in use. The operating system
 * drops the lock when the process ends, however it ends.
 *
 * The lock is an open EXCLUSIVE transaction of SQLite on an empty file. SQLite locks across processes, threads and
 * connections of one process, which `fcntl` alone doesn't. A process must never open and close the file by other means than
 * SQLite while it holds the lock: closing any file descriptor drops it.
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

export interface OwnerLock {
  /** The id under which the lock is held. */
  readonly id: () => string | undefined
  /**
   * Takes the lock, or checks that it is still in place, and returns its id. The id differs from the last one if the file
   * has been deleted meanwhile. Throws if the lock can't be taken.
   */
  readonly acquire: (folder: string) => string
  /** Drops the lock and removes its file. */
  readonly release: () => void
}

interface Held {
  readonly id: string
  readonly path: string
  readonly identity: string
  readonly db: Sqlite.Database
}

/** A lock that is not taken yet. */
export const make = (): OwnerLock => {
  let held: Held | undefined
  return {
    id: () => held?.id,
    acquire: (folder) => {
      if (held !== undefined && Folder.identityOf(held.path) === held.identity) return held.id
      close(held?.db)
      held = undefined
      for (let attempt = 0; held === undefined && attempt < 3; attempt++) held = lockNew(folder)
      if (held === undefined) throw new Error(`no lock can be taken in ${folder}`)
      return held.id
    },
    release: () => {
      if (held === undefined) return
      // While the lock is held, so that nobody takes the file for that of a dead owner.
      unlink(held.path)
      close(held.db)
      unlink(held.path)
      held = undefined
    }
  }
}

/** Makes and locks a file; undefined if a sweep removed the file before it was locked. */
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

/** The lock of a dead owner, taken over, so that only one process adopts its records at a time. */
export interface Claim {
  /** Drops the lock; `isDone` removes the file too, since nothing of the owner is left. */
  readonly release: (isDone: boolean) => void
}

/**
 * Takes the lock of an owner that has open records; undefined if the owner lives, or another process adopts its records.
 *
 * An owner takes its lock before it writes its first record. So if the file is missing, the owner is dead.
 */
export const claim = (folder: string, id: string): Claim | undefined => {
  const path = pathOf(folder, id)
  if (!Fs.existsSync(path)) {
    Folder.make(folder)
    createFile(path)
  }
  const identity = Folder.identityOf(path)
  const db = identity === undefined ? undefined : tryLock(path)
  if (db === "damaged") {
    unlink(path)
    return Fs.existsSync(path) ? undefined : claim(folder, id)
  }
  if (db === undefined) return undefined
  // Another process has adopted everything meanwhile, and removed the file that is locked here.
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

/** A sweep blocks the event loop for about 50 µs for each file. */
const maxSwept = 100

/**
 * Takes a lock; undefined if that proves nothing, as when the file belongs to another user. A damaged file could be read, so
 * that no owner has it locked.
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

/** Whether a text may be the id of an owner. */
export const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)

const extension = ".lock"

const pathOf = (folder: string, id: string): string => Path.join(folder, `${id}${extension}`)

/** Opens and locks a file; undefined if another connection has it locked. */
const lock = (path: string): Sqlite.Database | undefined => {
  let db: Sqlite.Database | undefined
  try {
    db = Sqlite.open(path)
    // Nothing is ever committed: the file stays empty, so that a full disk is no obstacle.
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
    // Another process was faster. The file is not opened then: closing it would drop a lock of this process.
    if (!Predicate.hasProperty(error, "code") || error.code !== "EEXIST") throw error
  }
}

const unlink = (path: string): void => {
  try {
    Fs.unlinkSync(path)
  } catch {
    // It is gone, or a later sweep removes it.
  }
}

const list = (folder: string): ReadonlyArray<string> => {
  try {
    return Fs.readdirSync(folder)
  } catch {
    return []
  }
}
