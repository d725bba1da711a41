/**
 * Tracks the open records that a journal handle may have in the store, and holds the lock that proves that the handle
 * is alive.
 *
 * The lock is acquired for the first open record. It is released when the scope of the handle has closed and no open
 * record is left, because bodies may outlive their layer.
 */
import * as OwnerLock from "./ownerLock.ts"

/** The open records and the lock of one handle. */
export interface OpenRecords {
  /** Whether the store may hold an open record of this handle for a reservation. */
  readonly has: (id: string) => boolean
  /** The owner id of the handle; undefined before its first open record. */
  readonly owner: () => string | undefined
  /** Acquires the lock, or checks that it is in place. Returns the owner id of the handle. */
  readonly acquire: (folder: string) => string
  /** Marks an open record as being written. Call the result with the outcome when the write has ended. */
  readonly putting: (id: string) => (isDone: boolean) => void
  /** Marks an open record as being removed. Call the result with the outcome when the removal has ended. */
  readonly removing: (id: string) => (isDone: boolean) => void
  /** Marks the scope of the handle as closed. */
  readonly close: () => void
}

/**
 * Makes the state of a new handle, which has no open records. `onRelease` is called with the owner id before the lock
 * is released.
 */
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
      // A failed write may have reached the disk.
      if (isPut) entry.isPresent = true
      else if (isDone) entry.isPresent = false
      if (entry.operations > 0 || entry.isPresent) return
      entries.delete(id)
      releaseIfUnused()
    }
  }

  return {
    // The size check saves hashing the id: most programs have no open records.
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

/** Calls `f` after one second, to retry a removal. The timer doesn't keep the process alive. */
export const later = (f: () => unknown): void => void setTimeout(f, retryMs).unref()

const retryMs = 1_000
