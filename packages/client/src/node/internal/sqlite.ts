/** Loads `node:sqlite` on first use: some runtimes don't have it, and Node 22 prints a warning when it is loaded. */
import * as Predicate from "effect/Predicate"
import * as Fs from "node:fs"
import type * as NodeSqlite from "node:sqlite"

/** An open database. */
export type Database = NodeSqlite.DatabaseSync

/**
 * Opens a database. It doesn't wait for locks, and refuses a pipe, which SQLite would open and wait for, because both
 * would block the event loop.
 */
export const open = (filename: string, options = { readOnly: false }): Database => {
  for (const path of [filename, `${filename}-wal`, `${filename}-shm`, `${filename}-journal`]) {
    if (Fs.statSync(path, { throwIfNoEntry: false })?.isFIFO() === true) throw new Error(`${path} is a pipe`)
  }
  return new (load().DatabaseSync)(filename, options)
}

/** Whether this runtime has `node:sqlite`. */
export const isAvailable = (): boolean => find() !== undefined

const load = (): typeof NodeSqlite => {
  const sqlite = find()
  if (sqlite === undefined) throw new Error("this runtime has no node:sqlite; it comes with Node 22.13 and later")
  return sqlite
}

const find = (): typeof NodeSqlite | undefined => {
  try {
    return process.getBuiltinModule("node:sqlite")
  } catch {
    // The runtime is too old for `getBuiltinModule`, or was built without the module.
    return undefined
  }
}

/** SQLITE_BUSY in all variants: another connection has a lock, or is opening or closing the file. */
export const isBusy = (error: unknown): boolean => codeOf(error) === 5

/** SQLITE_CORRUPT and SQLITE_NOTADB: the file isn't a valid database. */
export const isUnreadable = (error: unknown): boolean => codeOf(error) === 11 || codeOf(error) === 26

/**
 * Whether an error may be caused by the connection, so that the next transaction needs a new one: SQLITE_READONLY,
 * SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_CANTOPEN, SQLITE_PROTOCOL, SQLITE_NOTADB.
 */
export const isOfConnection = (error: unknown): boolean => [8, 10, 11, 14, 15, 26].includes(codeOf(error) ?? 0)

const codeOf = (error: unknown): number | undefined =>
  Predicate.hasProperty(error, "errcode") && typeof error.errcode === "number" ? error.errcode & 0xff : undefined
