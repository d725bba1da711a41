/**
 * The journal in a SQLite file, the default on Node.
 *
 * **Details**
 *
 * - Durable: write-ahead log with `synchronous=FULL`.
 * - Group commit: all waiting writes share one transaction.
 * - Several processes can share one file.
 * - An unreadable row is moved to the table `quarantine`.
 * - A file of an older format is copied to `<file>.v1.bak` and upgraded. A file of a newer format isn't changed, and
 *   every operation fails.
 * - If the file is deleted or replaced while it is open, it is created again. A write succeeds only if it is in the
 *   file at the configured path.
 *
 * **Gotchas**
 *
 * Needs `node:sqlite`, which Node has from 22.13 on.
 *
 * @see client recovery profile, CR-DURABLE-001 to 006; the format is an extension
 * @since 0.1.0
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Journal, JournalError, JournalOwner, JournalRecord } from "../SettlementJournal.ts"
import { SettlementJournal, TypeId } from "../SettlementJournal.ts"
import type { Connection } from "./internal/connection.ts"
import * as JournalFile from "./internal/journalFile.ts"
import * as OpenRecords from "./internal/openRecords.ts"
import * as OwnerLock from "./internal/ownerLock.ts"
import { problem } from "./internal/problem.ts"
import type { Row } from "./internal/rows.ts"
import { letterOf, recordOf, toText } from "./internal/rows.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of the journal.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The path of the file; `~` is the home folder. Missing folders are created. Default
   * `~/.effect-cycles/journal.sqlite`.
   */
  readonly filename?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides the journal in a SQLite file. The file is opened by the first operation and closed with the layer. An
 * operation fails with `JournalError` if the file can't be opened, and the next operation tries again.
 *
 * **Example** (Choosing the path of the file)
 *
 * ```ts
 * import { Redacted } from "effect"
 * import { JournalSqlite, NodeCycles } from "effect-cycles/node"
 *
 * export const CyclesLive = NodeCycles.layer(
 *   { baseUrl: "https://cycles.example.com", apiKey: Redacted.make("cyc_live_example") },
 *   { journal: JournalSqlite.layer({ filename: "/var/lib/agent/journal.sqlite" }) }
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.effect(
    SettlementJournal,
    Effect.gen(function* () {
      const file = JournalFile.make(options?.filename ?? JournalFile.defaultPath)
      yield* Effect.addFinalizer(() => Effect.callback<void>((resume) => file.close(() => resume(Effect.void))))
      return SettlementJournal.of({
        [TypeId]: TypeId,
        isDurable: true,
        // Waiting for the lock of another process is limited to 2 s.
        isBounded: true,
        open: (owner) =>
          Effect.gen(function* () {
            const open = OpenRecords.make()
            yield* Effect.addFinalizer(() => Effect.sync(open.close))
            return journalOf(file, owner, open)
          })
      })
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const journalOf = (
  file: JournalFile.File,
  { baseUrl, fingerprint }: JournalOwner,
  open: OpenRecords.OpenRecords
): Journal => {
  const values = (record: JournalRecord) =>
    [
      fingerprint,
      baseUrl,
      toText(record.reservationId),
      record.mode,
      record.commitBody,
      record.eventBody ?? null,
      record.recordedAtMs,
      record.notBeforeMs
    ] as const

  /**
   * Writes durably. With `decides`, it removes the open record of this handle for that reservation in the same
   * transaction.
   */
  const write = (
    operation: JournalError["operation"],
    work: JournalFile.Work,
    decides?: ReservationId
  ): Effect.Effect<void, JournalError> =>
    Effect.callback((resume) => {
      const isOpen = decides !== undefined && open.has(decides)
      const end = isOpen ? open.removing(decides) : undefined
      const all: JournalFile.Work = isOpen
        ? (connection) => {
            work(connection)
            removeOwn(connection, decides)
          }
        : work
      file.enqueue("write", all, (error) => {
        end?.(error === undefined)
        resume(error === undefined ? Effect.void : Effect.fail(problem(operation, error)))
      })
    })

  const query = <A>(operation: JournalError["operation"], f: (connection: Connection) => A) =>
    Effect.callback<A, JournalError>((resume) => {
      let found: { readonly value: A } | undefined
      file.enqueue(
        "read",
        (connection) => {
          found = { value: f(connection) }
        },
        (error) =>
          resume(
            found === undefined || error !== undefined
              ? Effect.fail(problem(operation, error))
              : Effect.succeed(found.value)
          )
      )
    })

  /** Reads a table and parses each row. Sets unreadable rows aside and logs their number. */
  const read = <A>(table: "records" | "letters", parse: (row: Row) => A | undefined): Stream.Stream<A, JournalError> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const rows = yield* query("read", (connection): ReadonlyArray<Row> =>
          connection[table].select.all(fingerprint, baseUrl)
        )
        const found = rows.map(parse)
        const corrupt = rows.filter((_, i) => found[i] === undefined)
        for (const row of corrupt) setAside(table, row)
        if (corrupt.length > 0) {
          yield* Effect.logError(`The settlement journal has unreadable rows, which were set aside: ${corrupt.length}`)
        }
        return Stream.fromIterable(found.filter((one) => one !== undefined))
      })
    )

  const setAside = (table: "records" | "letters", row: Row): void =>
    file.enqueueIdle((connection) => {
      const { commit_body, reservation_id } = row
      const { changes } = connection[table].remove.run(
        fingerprint,
        baseUrl,
        String(reservation_id),
        String(commit_body)
      )
      if (Number(changes) > 0) connection.quarantine.run(Json.stringify(row), Date.now())
    })

  const removeRecord = ({ records }: Connection, { commitBody, reservationId }: JournalRecord): void =>
    void records.remove.run(fingerprint, baseUrl, toText(reservationId), commitBody)

  /** The owner id of this handle's open records in the file. */
  let registered: string | undefined

  /** Removes an open record of this handle. */
  const removeOwn = (connection: Connection, id: ReservationId): void => {
    for (const owner of new Set([registered, open.owner()])) {
      if (owner !== undefined) connection.open.remove.run(fingerprint, baseUrl, owner, toText(id))
    }
  }

  /**
   * Removes an open record without waiting. A failed removal is retried, because a later scan would commit the record.
   */
  const forgetOpen = (id: ReservationId): void => {
    const removed = open.removing(id)
    file.enqueueIdle(
      (connection) => removeOwn(connection, id),
      (error) => {
        removed(error === undefined)
        if (error !== undefined) OpenRecords.later(() => forgetOpen(id))
      }
    )
  }

  let isSwept = false

  /** Locks the dead owners that have open records. */
  const lockDeadOwners = Effect.gen(function* () {
    const { folder, owners } = yield* query("adoptOpen", (connection) => ({
      folder: connection.owners,
      owners: connection.open.owners.all(fingerprint, baseUrl).map(({ owner }) => String(owner))
    }))
    return yield* Effect.try({
      try: () => {
        if (!isSwept) OwnerLock.sweep(folder)
        isSwept = true
        return owners.flatMap((owner) => {
          const lock = owner === open.owner() ? undefined : OwnerLock.lockDead(folder, owner)
          return lock === undefined ? [] : [{ owner, lock }]
        })
      },
      catch: (error) => problem("adoptOpen", error)
    })
  })

  const adopt = (locks: ReadonlyArray<{ readonly owner: string }>): Effect.Effect<number, JournalError> => {
    let count = 0
    return Effect.map(
      write("adoptOpen", ({ open }) => {
        count = 0
        for (const { owner } of locks) {
          count += Number(open.adopt.run(fingerprint, baseUrl, owner).changes)
          open.removeAll.run(fingerprint, baseUrl, owner)
        }
      }),
      () => count
    )
  }

  return {
    put: (record) => write("put", ({ records }) => void records.put.run(...values(record)), record.reservationId),
    // The caller doesn't wait, because replaying a settled record charges nothing.
    remove: (record) => Effect.sync(() => file.enqueueIdle((connection) => removeRecord(connection, record))),
    bury: (letter) =>
      write(
        "bury",
        (connection) => {
          connection.letters.put.run(...values(letter.record), letter.reason, letter.diedAtMs)
          removeRecord(connection, letter.record)
        },
        letter.record.reservationId
      ),
    pending: read("records", recordOf),
    deadLetters: read("letters", letterOf),
    forget: ({ record }) =>
      write("forget", ({ letters }) =>
        letters.remove.run(fingerprint, baseUrl, toText(record.reservationId), record.commitBody)
      ),
    isDecided: (id) =>
      query("read", ({ letters, records }) =>
        [records, letters].some(({ has }) => has.get(fingerprint, baseUrl, toText(id)) !== undefined)
      ),
    putOpen: (record) =>
      Effect.callback((resume) => {
        const end = open.putting(record.reservationId)
        let owner: string | undefined
        file.enqueue(
          "write",
          (connection) => {
            owner = open.acquire(connection.owners)
            // The lock file was deleted. Records under the old id would be taken for those of a dead owner.
            if (registered !== undefined && registered !== owner) {
              connection.open.reown.run(owner, fingerprint, baseUrl, registered)
            }
            connection.open.put.run(...values(record), owner)
          },
          (error) => {
            if (error === undefined) registered = owner
            end(error === undefined)
            resume(error === undefined ? Effect.void : Effect.fail(problem("putOpen", error)))
          }
        )
      }),
    removeOpen: (id) => Effect.sync(() => (open.has(id) ? forgetOpen(id) : undefined)),
    adoptOpen: Effect.acquireUseRelease(
      lockDeadOwners,
      (locks) => (locks.length === 0 ? Effect.succeed(0) : adopt(locks)),
      release
    )
  }
}

/** Releases the locks of dead owners, and removes their files if the records were adopted. */
const release = (locks: ReadonlyArray<{ readonly lock: OwnerLock.AdoptionLock }>, exit: Exit.Exit<unknown, unknown>) =>
  Effect.sync(() => locks.forEach(({ lock }) => lock.release(Exit.isSuccess(exit))))
