/**
 * Which open records a journal handle may have in the store, and its proof of life while it has some.
 *
 * The lock is taken for the first open record. It is dropped when the scope of the handle has closed and no open record is
 * left: bodies may outlive their layer.
 */
import * as OwnerLock from "./ownerLock.ts"

export interface OpenRecords {
  /** Whether the store may hold an open record of this handle for a reservation. */
  readonly has: (id: string) => boolean
  /** The id of the handle as an owner; undefined before its first open record. */
  readonly owner: () => string | undefined
  /** Takes the lock, or checks it; returns the id of the handle as an owner. */
  readonly acquire: (folder: string) => string
  /** An open record is about to be written; call the result when that has ended, whether or not it succeeded. */
  readonly putting: (id: string) => (isDone: boolean) => void
  /** An open record is about to be removed; as `putting`. */
  readonly removing: (id: string) => (isDone: boolean) => void
  /** The scope of the handle has closed. */
  readonly close: () => void
}

/** A handle without open records. `onRelease` is called with its id before it drops its lock. */
export const make = (onRelease?: (owner: string) => void): OpenRecords => {
  const lock = OwnerLock.make()
  const entries = new Map<string, { operations: number; isPresent: boolean }>()
  let isClosed = false

  const releaseIfUnused = (): void => {
    const owner = lock.id()
    if (!isClosed || entries.size > 0 || owner === undefined) return
    onRelease?.(owner)
    lock.release()
  }

  const changing = (id: string, isPut: boolean): ((isDone: boolean) => void) => {
    const entry = entries.get(id) ?? { operations: 0, isPresent: false }
    entries.set(id, entry)
    entry.operations += 1
    return (isDone) => {
      entry.operations -= 1
      // A write that failed may have reached the disk nevertheless.
      if (isPut) entry.isPresent = true
      else if (isDone) entry.isPresent = false
      if (entry.operations > 0 || entry.isPresent) return
      entries.delete(id)
      releaseIfUnused()
    }
  }

  return {
    // Most programs have no open records: then the id isn't hashed.
    has: (id) => entries.size > 0 && entries.has(id),
    owner: lock.id,
    acquire: lock.acquire,
    putting: (id) => changing(id, true),
    removing: (id) => changing(id, false),
    close: () => {
      isClosed = true
      releaseIfUnused()
    }
  }
}

/** Tries a removal again, without keeping the process alive. */
export const later = (f: () => unknown): void => void setTimeout(f, retryMs).unref()

const retryMs = 1_000
