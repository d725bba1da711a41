/**
 * The SQLite file of a journal and its group commit: a queue of work, in which everything that waits shares one transaction.
 *
 * Nothing here blocks: if another process has the lock, the work goes on waiting and the event loop goes on meanwhile.
 */
import { JournalError } from "../../SettlementJournal.ts"
import type { Connection } from "./connection.ts"
import { connect } from "./connection.ts"
import * as Sqlite from "./sqlite.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

export interface File {
  /**
   * Does work in one transaction with everything else that waits; work that only reads waits for no lock. Calls `done` when
   * the work is durable in the file at the path, or with the reason why it is not.
   */
  readonly enqueue: (kind: "read" | "write", work: Work, done: (error: unknown) => void) => void
  /** Does work for which nobody waits, with the next transaction or a little later. */
  readonly enqueueIdle: (work: Work, done?: (error: unknown) => void) => void
  /**
   * Does the waiting work and closes the file. Later work opens the file again and closes it when nothing waits any more:
   * bodies may outlive their layer.
   */
  readonly close: (done: () => void) => void
}

/** What is done with the file; it is done again if the transaction fails or the file is no longer at its path. */
export type Work = (connection: Connection) => void

interface Waiting {
  readonly kind: "read" | "write"
  readonly work: Work
  readonly done: (error: unknown) => void
  readonly sinceMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

/** The file, which is opened for the first work. If it can't be opened, the next work tries again. */
export const make = (path: string): File => {
  let connection: Connection | undefined
  let waiting: Array<Waiting> = []
  let isScheduled = false
  let idle: NodeJS.Timeout | undefined
  let isClosed = false
  let onClosed: (() => void) | undefined

  /** Does work in one transaction, all or nothing, in the file that is at the path; returns the error, if any. */
  const transact = (batch: ReadonlyArray<Waiting>): unknown => {
    const isWriting = batch.some(({ kind }) => kind === "write")
    for (let attempt = 1; ; attempt++) {
      const error = transactOnce(batch, isWriting)
      if (connection === undefined || (error === undefined && !isWriting) || connection.isInPlace()) return error
      // Deleted or replaced: what was committed is not at the path, and an error may have come from that.
      abandon()
      if (attempt === maxAttempts) return error ?? new Error(`${path} is deleted or replaced while it is written`)
    }
  }

  const transactOnce = (batch: ReadonlyArray<Waiting>, isWriting: boolean): unknown => {
    try {
      // Reading from a file that is no longer at the path would go unnoticed.
      if (!isWriting && connection?.isInPlace() === false) abandon()
      connection ??= connectOrFail(path)
      if (isWriting) connection.begin.run()
      for (const { work } of batch) work(connection)
      if (isWriting) connection.commit.run()
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
      // The next transaction would be inside this one: it gets a new connection.
      disconnect()
    }
  }

  /** Leaves a file that is no longer at the path. */
  const abandon = (): void => {
    try {
      // A log that was left at the path would be taken for that of the next file there.
      connection?.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    } catch {
      // The next file is checked when it is opened.
    }
    disconnect()
  }

  const disconnect = (): void => {
    try {
      connection?.db.close()
    } catch {
      // What was committed is durable nevertheless.
    }
    connection = undefined
  }

  /** Does the waiting work now. If another process has the lock, it goes on waiting, and the event loop goes on meanwhile. */
  const commit = (): void => {
    const batch = waiting
    waiting = []
    isScheduled = false
    clearTimeout(idle)
    idle = undefined
    const error = batch.length === 0 ? undefined : transact(batch)
    if (Sqlite.isBusy(error)) {
      const now = performance.now()
      const isPatient = ({ sinceMs }: Waiting) => now - sinceMs < patienceMs
      waiting = batch.filter(isPatient)
      if (waiting.length > 0) {
        isScheduled = true
        setTimeout(commit, betweenMs)
      }
      for (const one of batch) if (!isPatient(one)) one.done(error)
    } else {
      // Work that fails must not fail the others.
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
    commitAfter(turns)
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
 * How many turns of the event loop a transaction waits for more work. Under load each turn brings responses whose settlements
 * share the write to the disk, which is the most expensive part; if nothing else goes on, turns take no time.
 */
const turns = 4

/** How long work for which nobody waits may wait for a transaction. */
const idleMs = 20

/** How long work waits for the lock of another process, and how long between two attempts. */
const patienceMs = 2_000
const betweenMs = 5

/** How often a file that disappears again and again is made. */
const maxAttempts = 3

const ignore = (): void => {}

const connectOrFail = (path: string): Connection => {
  try {
    return connect(path)
  } catch (error) {
    throw Sqlite.isBusy(error) ? error : problem("open", error)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

export const problem = (operation: JournalError["operation"], error: unknown): JournalError =>
  error instanceof JournalError
    ? error
    : new JournalError({ operation, problem: error instanceof Error ? error.message : String(error) })
