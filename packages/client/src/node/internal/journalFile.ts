/**
 * The SQLite file of a journal and its group commit: a queue in which all waiting work shares one transaction.
 *
 * Waiting for a lock doesn't block the event loop: while another process has the lock, the work stays in the queue.
 */
import type { Connection } from "./connection.ts"
import { connect } from "./connection.ts"
import { problem } from "./problem.ts"
import * as Sqlite from "./sqlite.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The file of a journal and its queue of work. */
export interface File {
  /**
   * Runs work in one transaction with all other waiting work. Work that only reads doesn't wait for a lock. `done` is
   * called when the work is durable in the file at the path, or with an error.
   */
  readonly enqueue: (kind: "read" | "write", work: Work, done: (error: unknown) => void) => void
  /** Runs work that no caller waits for: in the next transaction, or after a short delay if there is none. */
  readonly enqueueIdle: (work: Work, done?: (error: unknown) => void) => void
  /**
   * Runs the waiting work and closes the file. Later work opens the file again, and closes it when the queue is empty,
   * because bodies may outlive their layer.
   */
  readonly close: (done: () => void) => void
}

/** One piece of work. It runs again if the transaction fails or if the file is no longer at its path. */
export type Work = (connection: Connection) => void

/** Work in the queue. */
interface Waiting {
  readonly kind: "read" | "write"
  readonly work: Work
  readonly done: (error: unknown) => void
  readonly sinceMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

/** The path of the file if none is configured. */
export const defaultPath = "~/.effect-cycles/journal.sqlite"

/** Makes the queue. The first work opens the file. If it can't be opened, the next work tries again. */
export const make = (path: string): File => {
  let connection: Connection | undefined
  let waiting: Array<Waiting> = []
  let isScheduled = false
  let idle: NodeJS.Timeout | undefined
  let isClosed = false
  let onClosed: (() => void) | undefined

  /** Runs work in one transaction, in the file at the path. Returns the error, if any. */
  const transact = (batch: ReadonlyArray<Waiting>): unknown => {
    const isWriting = batch.some(({ kind }) => kind === "write")
    for (let attempt = 1; ; attempt++) {
      const error = transactOnce(batch, isWriting)
      if (connection === undefined || (error === undefined && !isWriting) || connection.isInPlace()) return error
      // The file was deleted or replaced: the committed data isn't at the path, and the error may result from that.
      abandon()
      if (attempt === maxAttempts) return error ?? new Error(`${path} is deleted or replaced while it is written`)
    }
  }

  const transactOnce = (batch: ReadonlyArray<Waiting>, isWriting: boolean): unknown => {
    try {
      // A read doesn't notice that the file is no longer at the path, and a write doesn't notice a truncated log.
      if (isWriting ? connection?.log.isIntact() === false : connection?.isInPlace() === false) abandon()
      connection ??= connectOrFail(path)
      if (isWriting) connection.begin.run()
      for (const { work } of batch) work(connection)
      if (isWriting) {
        connection.commit.run()
        connection.log.committed()
      }
      return undefined
    } catch (error) {
      rollBack()
      if (Sqlite.isOfConnection(error)) disconnect()
      return error ?? new Error("the transaction failed")
    }
  }

  const rollBack = (): void => {
    try {
      if (connection?.db.isTransaction === true) connection.db.exec("ROLLBACK")
    } catch {
      // A transaction is still open, so the next one needs a new connection.
      disconnect()
    }
  }

  /** Closes a file that is no longer at the path. */
  const abandon = (): void => {
    try {
      // SQLite would apply a write-ahead log left at the path to the next file there.
      connection?.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    } catch {
      // Opening the next file checks its log.
    }
    disconnect()
  }

  const disconnect = (): void => {
    try {
      connection?.db.close()
    } catch {
      // Committed data is durable even if closing fails.
    }
    connection = undefined
  }

  /** Runs the waiting work now. While another process has the lock, the work stays in the queue. */
  const commit = (): void => {
    const batch = waiting
    waiting = []
    isScheduled = false
    clearTimeout(idle)
    idle = undefined
    const error = batch.length === 0 ? undefined : transact(batch)
    if (Sqlite.isBusy(error)) {
      const now = performance.now()
      const hasTime = ({ sinceMs }: Waiting) => now - sinceMs < lockTimeoutMs
      waiting = batch.filter(hasTime)
      if (waiting.length > 0) {
        isScheduled = true
        setTimeout(commit, lockRetryMs)
      }
      for (const one of batch) if (!hasTime(one)) one.done(error)
    } else {
      // One failing piece of work must not fail the others, so each runs in a separate transaction.
      const isAlone = error === undefined || batch.length === 1 || connection === undefined
      const errors = isAlone ? undefined : batch.map((one) => transact([one]))
      batch.forEach((one, i) => one.done(errors === undefined ? error : errors[i]))
    }
    if (!isClosed || waiting.length > 0) return
    disconnect()
    onClosed?.()
    onClosed = undefined
  }

  const commitAfter = (turns: number): void => void setImmediate(() => (turns > 1 ? commitAfter(turns - 1) : commit()))

  const schedule = (): void => {
    if (isScheduled) return
    isScheduled = true
    commitAfter(groupCommitTurns)
  }

  return {
    enqueue: (kind, work, done) => {
      waiting.push({ kind, work, done, sinceMs: performance.now() })
      schedule()
    },
    enqueueIdle: (work, done = ignore) => {
      waiting.push({ kind: "write", work, done, sinceMs: performance.now() })
      if (isClosed) schedule()
      else if (!isScheduled) idle ??= setTimeout(commit, idleMs).unref()
    },
    close: (done) => {
      isClosed = true
      onClosed = done
      if (!isScheduled) commit()
    }
  }
}

/**
 * The number of turns of the event loop that a transaction waits for more work. Under load, each turn receives
 * responses whose settlements then share one disk write, which is the most expensive part. When idle, turns take almost
 * no time.
 */
const groupCommitTurns = 4

/** How long work that no caller waits for may wait for a transaction. */
const idleMs = 20

/** How long work waits for the lock of another process, and the interval between two attempts. */
const lockTimeoutMs = 2_000
const lockRetryMs = 5

/** How often the file is created again if it keeps disappearing. */
const maxAttempts = 3

const ignore = (): void => {}

const connectOrFail = (path: string): Connection => {
  try {
    return connect(path)
  } catch (error) {
    throw Sqlite.isBusy(error) ? error : problem("open", error)
  }
}
