/**
 * The journal in a SQLite file, the default on Node: durable (WAL, `synchronous=FULL`), one transaction for all records that
 * wait together, several processes on one file.
 *
 * A record that can't be read is moved to the table `quarantine` and is in nobody's way.
 *
 * Source: client recovery profile (CR-DURABLE-001 to 006); the format is ours.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { DeadLetter, Journal, JournalError, JournalOwner, JournalRecord } from "../SettlementJournal.ts"
import { SettlementJournal } from "../SettlementJournal.ts"
import * as Folder from "./internal/folder.ts"
import * as JournalFile from "./internal/journalFile.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Where the journal is. */
export interface Options {
  /** The file; `~` is the home folder. Default `~/.effect-cycles/journal.sqlite`. Its folder is made where it is missing. */
  readonly filename?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The journal in a SQLite file. It is opened for the first record, and closed with the layer. A file that can't be opened is
 * tried again with the next record; until then each operation fails with the reason.
 */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.effect(
    SettlementJournal,
    Effect.gen(function* () {
      const file = JournalFile.make(Folder.expand(options?.filename ?? "~/.effect-cycles/journal.sqlite"))
      yield* Effect.addFinalizer(() => Effect.callback<void>((resume) => file.close(() => resume(Effect.void))))
      return { isDurable: true, open: (owner) => Effect.succeed(journalOf(file, owner)) }
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const journalOf = (file: JournalFile.File, { baseUrl, fingerprint }: JournalOwner): Journal => {
  const values = (record: JournalRecord) =>
    [
      fingerprint,
      baseUrl,
      record.reservationId,
      record.mode,
      record.commitBody,
      record.eventBody ?? null,
      record.recordedAtMs,
      record.notBeforeMs
    ] as const

  const durably = (operation: JournalError["operation"], work: JournalFile.Work): Effect.Effect<void, JournalError> =>
    Effect.callback((resume) =>
      file.enqueue("write", work, (error) =>
        resume(error === undefined ? Effect.void : Effect.fail(JournalFile.problem(operation, error)))
      )
    )

  /** Reads a table row by row; what can't be read is set aside, and told of. */
  const read = <A>(table: "records" | "letters", parse: (row: Row) => A | undefined): Stream.Stream<A, JournalError> =>
    Stream.unwrap(
      Effect.flatMap(rowsOf(table), (rows) => {
        const found = rows.map(parse)
        const corrupt = rows.filter((_, i) => found[i] === undefined)
        for (const row of corrupt) setAside(table, row)
        const told =
          corrupt.length === 0
            ? Effect.void
            : Effect.logError(`${corrupt.length} rows of the settlement journal can't be read and were set aside`)
        return Effect.as(told, Stream.fromIterable(found.filter((one) => one !== undefined)))
      })
    )

  const rowsOf = (table: "records" | "letters"): Effect.Effect<ReadonlyArray<Row>, JournalError> =>
    Effect.callback((resume) => {
      let rows: ReadonlyArray<Row> = []
      file.enqueue(
        "read",
        (connection) => {
          rows = connection[table].select.all(fingerprint, baseUrl)
        },
        (error) => resume(error === undefined ? Effect.succeed(rows) : Effect.fail(JournalFile.problem("read", error)))
      )
    })

  const setAside = (table: "records" | "letters", row: Row): boolean =>
    file.enqueueIdle((connection) => {
      connection.quarantine.run(Json.stringify(row), Date.now())
      connection[table].remove.run(fingerprint, baseUrl, String(row["reservation_id"]))
    })

  return {
    put: (record) => durably("put", ({ put }) => void put.run(...values(record))),
    // Nobody waits: replaying a settled record charges nothing.
    remove: (id) =>
      Effect.suspend(() =>
        file.enqueueIdle(({ records }) => void records.remove.run(fingerprint, baseUrl, id))
          ? Effect.void
          : Effect.fail(JournalFile.problem("remove", JournalFile.closed))
      ),
    bury: (letter) =>
      durably("bury", ({ bury, records }) => {
        bury.run(...values(letter.record), letter.reason, letter.diedAtMs)
        records.remove.run(fingerprint, baseUrl, letter.record.reservationId)
      }),
    pending: read("records", recordOf),
    deadLetters: read("letters", letterOf),
    forget: (id) => durably("forget", ({ letters }) => void letters.remove.run(fingerprint, baseUrl, id))
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

type Row = Readonly<Record<string, unknown>>

const recordOf = (row: Row): JournalRecord | undefined => {
  const { base_url, commit_body, event_body, mode, reservation_id } = row
  const recordedAtMs = toNumber(row["recorded_at_ms"])
  const notBeforeMs = toNumber(row["not_before_ms"])
  if (typeof base_url !== "string" || typeof commit_body !== "string" || typeof reservation_id !== "string")
    return undefined
  if (mode !== "commit" && mode !== "event") return undefined
  if (recordedAtMs === undefined || notBeforeMs === undefined) return undefined
  if (!isJson(commit_body) || (typeof event_body === "string" && !isJson(event_body))) return undefined
  return {
    reservationId: ReservationId.make(reservation_id, { disableChecks: true }),
    baseUrl: base_url,
    mode,
    commitBody: commit_body,
    eventBody: typeof event_body === "string" ? event_body : undefined,
    recordedAtMs,
    notBeforeMs
  }
}

const letterOf = (row: Row): DeadLetter | undefined => {
  const record = recordOf(row)
  const diedAtMs = toNumber(row["died_at_ms"])
  const { reason } = row
  return record === undefined || typeof reason !== "string" || diedAtMs === undefined
    ? undefined
    : { record, reason, diedAtMs }
}

const toNumber = (value: unknown): number | undefined => {
  const number = typeof value === "bigint" ? Number(value) : undefined
  return Number.isSafeInteger(number) ? number : undefined
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
