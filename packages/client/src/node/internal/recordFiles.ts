/**
 * The file format of a record: its text and its file names.
 *
 * @see journal format 1 of the client recovery profile (CR-DURABLE-001 to 007)
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Predicate from "effect/Predicate"
import { createHash } from "node:crypto"
import type { DeadLetter, JournalRecord } from "../../SettlementJournal.ts"
import { parse } from "./json.ts"

// ---------------------------------------------------------------------------------------------------------------------
// names
// ---------------------------------------------------------------------------------------------------------------------

/** The file name of the first record of a reservation, which the other Cycles clients read too. */
export const nameOf = (id: string): string => `${stemOf(id)}.json`

/** The file name of another record of the same reservation, in a folder that other clients don't read. */
export const furtherNameOf = (record: JournalRecord): string =>
  `${stemOf(record.reservationId)}-${digest(identityOf(record)).slice(0, 32)}.json`

/** Whether a file name can be one of a further record of a reservation. Ids with lone surrogates may share names. */
export const isFurtherName = (name: string, id: string): boolean => name.startsWith(`${stemOf(id)}-`)

/** The file name of an open record, in the folder of its owner. */
export const openNameOf = (id: string): string => `${digest(JSON.stringify(id))}.json`

/** Whether a name is a digest of an id. Older clients used other names. */
export const isDigest = (name: string): boolean => name.startsWith("v2-")

/** The file name that older clients used. Several ids may have the same one. */
export const oldNameOf = (id: string): string => `${id.replaceAll(/[^A-Za-z0-9_-]/g, "_")}.json`

const stemOf = (id: string): string => `v2-${digest(id)}`

const digest = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")

// ---------------------------------------------------------------------------------------------------------------------
// identity
// ---------------------------------------------------------------------------------------------------------------------

/** Whether two records have the same reservation and body. */
export const isSame = (self: JournalRecord, that: JournalRecord): boolean =>
  self.reservationId === that.reservationId && normalize(self.commitBody) === normalize(that.commitBody)

/** The same text for all records with the same reservation and body. */
export const identityOf = ({ commitBody, reservationId }: JournalRecord): string =>
  JSON.stringify([reservationId, normalize(commitBody)])

/** The body as a file returns it. */
const normalize = (body: string): string => {
  const value = parse(body)
  return value === undefined ? body : Json.stringify(value)
}

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/** Inserts the bodies as text, so that no digit is lost. */
const fieldsOf = (record: JournalRecord): string =>
  `"version":1,"reservation_id":${JSON.stringify(record.reservationId)},"base_url":${JSON.stringify(record.baseUrl)},` +
  `"mode":"${record.mode}","commit_body":${record.commitBody},` +
  `"event_fallback_body":${record.eventBody ?? "null"},` +
  `"recorded_at_ms":${record.recordedAtMs},"not_before_ms":${record.notBeforeMs}`

/** The text of a file with a record. */
export const recordText = (record: JournalRecord): string => `{${fieldsOf(record)}}`

/** The text of a file with a dead letter. */
export const letterText = (letter: DeadLetter): string =>
  `{${fieldsOf(letter.record)},"reason":${JSON.stringify(letter.reason)},"died_at_ms":${letter.diedAtMs}}`

/** The record of a file; undefined if the text isn't one. */
export const parseRecord = (text: string): JournalRecord | undefined => recordOf(parse(text))

const recordOf = (value: unknown): JournalRecord | undefined => {
  if (!Predicate.isObject(value)) return undefined
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const { base_url, commit_body, event_fallback_body, not_before_ms, recorded_at_ms, reservation_id, version } = fields
  const mode = "mode" in fields ? fields["mode"] : "commit"
  if (version !== 1 || typeof reservation_id !== "string" || typeof base_url !== "string") return undefined
  if (mode !== "commit" && mode !== "event") return undefined
  if (!Predicate.isObject(commit_body)) return undefined
  if (event_fallback_body !== undefined && event_fallback_body !== null && !Predicate.isObject(event_fallback_body)) {
    return undefined
  }
  return {
    reservationId: ReservationId.make(reservation_id, { disableChecks: true }),
    baseUrl: base_url,
    mode,
    commitBody: Json.stringify(commit_body),
    eventBody: Predicate.isObject(event_fallback_body) ? Json.stringify(event_fallback_body) : undefined,
    recordedAtMs: typeof recorded_at_ms === "number" ? recorded_at_ms : Date.now(),
    notBeforeMs: typeof not_before_ms === "number" ? not_before_ms : 0
  }
}

/** The dead letter of a file; undefined if the text isn't one. */
export const parseLetter = (text: string): DeadLetter | undefined => {
  const value = parse(text)
  const record = recordOf(value)
  if (record === undefined || !Predicate.isObject(value)) return undefined
  const { died_at_ms, reason }: Readonly<Record<string, unknown>> = { ...value }
  return typeof reason === "string" && typeof died_at_ms === "number"
    ? { record, reason, diedAtMs: died_at_ms }
    : undefined
}
