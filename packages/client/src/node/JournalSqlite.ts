/**
 * The journal in a SQLite file, the default on Node: durable (WAL, `synchronous=FULL`), one transaction for all records that
 * wait together (group commit), several processes on one file.
 *
 * A record that can't be read is moved to the table `quarantine` and doesn't affect the others. A file of an older format is
 * copied to `<file>.v1.bak` and upgraded; a newer one is refused and left alone. If the file is deleted or replaced while it
 * is open, it is created again, and no write is reported as durable that isn't in the file at the path.
 *
 * @see client recovery profile, CR-DURABLE-001 to 006; the format is an extension
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
import type { Row } from "./internal/rows.ts"
import { letterOf, recordOf, toText } from "./internal/rows.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Options of the journal. */
export interface Options {
  /** The file; `~` is the home folder. Default `~/.effect-cycles/journal.sqlite`. Missing folders are made. */
  readonly filename?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The journal in a SQLite file. The file is opened for the first operation and closed with the layer. While it can't be
 * opened, each operation fails with the reason, and the next one tries again. Needs `node:sqlite`.
 */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.effect(
    SettlementJournal,
    Effect.gen(function* () {
      const file = JournalFile.make(options?.filename ?? "~/.effect-cycles/journal.sqlite")
      yield* Effect.addFinalizer(() => Effect.callback<void>((resume) => file.close(() => resume(Effect.void))))
      return SettlementJournal.of({
        [TypeId]: TypeId,
        isDurable: true,
        // An operation waits for a lock at most as long.
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

  /** Writes durably. `decides` names the reservation whose open record, if this handle may have one, goes with it. */
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
        resume(error === undefined ? Effect.void : Effect.fail(JournalFile.problem(operation, error)))
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
              ? Effect.fail(JournalFile.problem(operation, error))
              : Effect.succeed(found.value)
          )
      )
    })

  /** Reads a table row by row; sets aside and logs the rows that can't be read. */
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
          yield* Effect.logError(`${corrupt.length} rows of the settlement journal can't be read and were set aside`)
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

  /** The owner under which the open records of this handle are in the file. */
  let registered: string | undefined

  /** Forgets an open record of this handle. */
  const removeOwn = (connection: Connection, id: ReservationId): void => {
    for (const owner of new Set([registered, open.owner()])) {
      if (owner !== undefined) connection.open.remove.run(fingerprint, baseUrl, owner, toText(id))
    }
  }

  /** Nobody waits. A record that stayed would be committed after the end of this process, so that a failure is retried. */
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

  /** Takes the locks of the dead owners that have open records. */
  const claimDead = Effect.gen(function* () {
    const { folder, owners } = yield* query("adoptOpen", (connection) => ({
      folder: connection.owners,
      owners: connection.open.owners.all(fingerprint, baseUrl).map(({ owner }) => String(owner))
    }))
    return yield* Effect.try({
      try: () => {
        if (!isSwept) OwnerLock.sweep(folder)
        isSwept = true
        return owners.flatMap((owner) => {
          const claim = owner === open.owner() ? undefined : OwnerLock.claim(folder, owner)
          return claim === undefined ? [] : [{ owner, claim }]
        })
      },
      catch: (error) => JournalFile.problem("adoptOpen", error)
    })
  })

  const adopt = (claims: ReadonlyArray<{ readonly owner: string }>): Effect.Effect<number, JournalError> => {
    let count = 0
    return Effect.map(
      write("adoptOpen", ({ open }) => {
        count = 0
        for (const { owner } of claims) {
          count += Number(open.adopt.run(fingerprint, baseUrl, owner).changes)
          open.removeAll.run(fingerprint, baseUrl, owner)
        }
      }),
      () => count
    )
  }

  return {
    put: (record) => write("put", ({ records }) => void records.put.run(...values(record)), record.reservationId),
    // Nobody waits: a replay of a settled record charges nothing.
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
            // The lock was deleted: records under the old id would pass for those of a dead owner.
            if (registered !== undefined && registered !== owner) {
              connection.open.reown.run(owner, fingerprint, baseUrl, registered)
            }
            connection.open.put.run(...values(record), owner)
          },
          (error) => {
            if (error === undefined) registered = owner
            end(error === undefined)
            resume(error === undefined ? Effect.void : Effect.fail(JournalFile.problem("putOpen", error)))
          }
        )
      }),
    removeOpen: (id) => Effect.sync(() => (open.has(id) ? forgetOpen(id) : undefined)),
    adoptOpen: Effect.acquireUseRelease(
      claimDead,
      (claims) => (claims.length === 0 ? Effect.succeed(0) : adopt(claims)),
      release
    )
  }
}

/** Drops the locks of dead owners, with their files if their records were adopted. */
const release = (claims: ReadonlyArray<{ readonly claim: OwnerLock.Claim }>, exit: Exit.Exit<unknown, unknown>) =>
  Effect.sync(() => claims.forEach(({ claim }) => claim.release(Exit.isSuccess(exit))))
