/** Converts rows of the SQLite journal to records. */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { DeadLetter, JournalRecord } from "../../SettlementJournal.ts"

/** A row of a table, as SQLite returns it. */
export type Row = Readonly<Record<string, unknown>>

/** The record of a row; undefined if it is invalid. */
export const recordOf = (row: Row): JournalRecord | undefined => {
  const { base_url, commit_body, event_body, mode, reservation_id } = row
  const recordedAtMs = toNumber(row["recorded_at_ms"])
  const notBeforeMs = toNumber(row["not_before_ms"])
  if (typeof base_url !== "string" || typeof commit_body !== "string" || typeof reservation_id !== "string")
    return undefined
  if (mode !== "commit" && mode !== "event") return undefined
  if (recordedAtMs === undefined || notBeforeMs === undefined) return undefined
  if (!isJson(commit_body) || (typeof event_body === "string" && !isJson(event_body))) return undefined
  return {
    reservationId: fromText(reservation_id),
    baseUrl: base_url,
    mode,
    commitBody: commit_body,
    eventBody: typeof event_body === "string" ? event_body : undefined,
    recordedAtMs,
    notBeforeMs
  }
}

/** The dead letter of a row; undefined if it is invalid. */
export const letterOf = (row: Row): DeadLetter | undefined => {
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

// ---------------------------------------------------------------------------------------------------------------------
// reservation ids
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The prefix of an id that SQLite doesn't return unchanged (lone surrogates, U+0000). The id follows in hexadecimal
 * digits.
 */
const escape = "utf16:"

/** A reservation id as text that SQLite returns unchanged. */
export const toText = (id: string): string =>
  !id.startsWith(escape) && !id.includes("\0") && id.isWellFormed()
    ? id
    : escape + Buffer.from(id, "utf16le").toString("hex")

const fromText = (text: string): ReservationId => {
  const id = text.startsWith(escape) ? Buffer.from(text.slice(escape.length), "hex").toString("utf16le") : text
  // A client of format 1 wrote the text without escapes.
  return ReservationId.make(toText(id) === text ? id : text, { disableChecks: true })
}
