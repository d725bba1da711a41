/**
 * The format of a record as a file: its text, and the names of its files.
 *
 * @see journal format 1 of the client recovery profile (CR-DURABLE-001 to 007)
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Predicate from "effect/Predicate"
import { createHash } from "node:crypto"
import type { DeadLetter, JournalRecord } from "../../SettlementJournal.ts"

// ---------------------------------------------------------------------------------------------------------------------
// names
// ---------------------------------------------------------------------------------------------------------------------

/** The file of a reservation's first record, which clients of other languages read too. */
export const nameOf = (id: string): string => `${stemOf(id)}.json`

/** The file of another record of the same reservation, in the folder of its own that no other client looks into. */
export const furtherNameOf = (record: JournalRecord): string =>
  `${stemOf(record.reservationId)}-${digest(identityOf(record)).slice(0, 32)}.json`

/** Whether a file is that of a further record of a reservation. Ids that are not well-formed may share names. */
export const isFurtherName = (name: string, id: string): boolean => name.startsWith(`${stemOf(id)}-`)

/** The file of an open record, in the folder of its owner. */
export const openNameOf = (id: string): string => `${digest(JSON.stringify(id))}.json`

/** Whether a name is a digest of an id; an old name isn't. */
export const isDigest = (name: string): boolean => name.startsWith("v2-")

/** The file of a reservation before digests were used; different ids may have the same. */
export const oldNameOf = (id: string): string => `${id.replaceAll(/[^A-Za-z0-9_-]/g, "_")}.json`

const stemOf = (id: string): string => `v2-${digest(id)}`

const digest = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")

// ---------------------------------------------------------------------------------------------------------------------
// identity
// ---------------------------------------------------------------------------------------------------------------------

/** Whether two records have the same reservation and body. */
export const isSame = (self: JournalRecord, that: JournalRecord): boolean =>
  self.reservationId === that.reservationId && normalize(self.commitBody) === normalize(that.commitBody)

/** A text that two records share if they have the same reservation and body. */
export const identityOf = ({ commitBody, reservationId }: JournalRecord): string =>
  JSON.stringify([reservationId, normalize(commitBody)])

/** A body as it is read back from a file. */
const normalize = (body: string): string => {
  const value = parse(body)
  return value === undefined ? body : Json.stringify(value)
}

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/** The bodies are inserted as they are, so that no digit is lost. */
const fieldsOf = (record: JournalRecord): string =>
  `"version":1,"reservation_id":${JSON.stringify(record.reservationId)},"base_url":${JSON.stringify(record.baseUrl)},` +
  `"mode":"${record.mode}","commit_body":${record.commitBody},` +
  `"event_fallback_body":${record.eventBody ?? "null"},` +
  `"recorded_at_ms":${record.recordedAtMs},"not_before_ms":${record.notBeforeMs}`

export const recordText = (record: JournalRecord): string => `{${fieldsOf(record)}}`

export const letterText = (letter: DeadLetter): string =>
  `{${fieldsOf(letter.record)},"reason":${JSON.stringify(letter.reason)},"died_at_ms":${letter.diedAtMs}}`

const parse = (text: string): unknown => {
  try {
    return Json.parse(text)
  } catch {
    return undefined
  }
}

/** The record in a file; undefined if there is none. */
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

/** The dead letter in a file; undefined if there is none. */
export const parseLetter = (text: string): DeadLetter | undefined => {
  const value = parse(text)
  const record = recordOf(value)
  if (record === undefined || !Predicate.isObject(value)) return undefined
  const { died_at_ms, reason }: Readonly<Record<string, unknown>> = { ...value }
  return typeof reason === "string" && typeof died_at_ms === "number"
    ? { record, reason, diedAtMs: died_at_ms }
    : undefined
}
