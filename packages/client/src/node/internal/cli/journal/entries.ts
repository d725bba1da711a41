/** The entries of a journal: pending records, dead letters and open records of all owners. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import type { JournalOwner, JournalRecord } from "../../../../SettlementJournal.ts"
import * as Json from "../../json.ts"
import * as RecordFiles from "../../recordFiles.ts"
import { count, instant } from "../output.ts"

/** One entry. */
export interface Entry {
  readonly kind: "pending" | "dead-letter" | "open"
  /** 12 hexadecimal digits that identify the entry in this journal. */
  readonly id: string
  readonly owner: JournalOwner
  readonly record: JournalRecord
  /** Why the spend can't be charged; for dead letters. */
  readonly reason?: string | undefined
  /** When the client gave up, in epoch milliseconds; for dead letters. */
  readonly diedAtMs?: number | undefined
  /** Whether the process that wrote the record is alive; for open records. */
  readonly isAlive?: boolean | undefined
}

/** What a journal contains. */
export interface Contents {
  /** Whether the file or folder exists. */
  readonly exists: boolean
  /** All entries, oldest first. */
  readonly entries: ReadonlyArray<Entry>
  /** Rows and files that can't be read, or that a client has set aside. */
  readonly damaged: ReadonlyArray<string>
  /** Why the journal counts as in use; undefined if it doesn't. */
  readonly usedBy: string | undefined
  /** Whether the next client upgrades the file from an older format. */
  readonly isOld: boolean
}

/** The reason why a journal counts as in use by processes that have open records in it. */
export const usedByOwners = (living: ReadonlySet<string>): string =>
  living.size === 1
    ? "a running process has open records in it"
    : `${living.size} running processes have open records in it`

/** The number of entries of each kind, for messages. */
export const summary = (entries: ReadonlyArray<Entry>): string => {
  const of = (kind: Entry["kind"]) => entries.filter((entry) => entry.kind === kind).length
  return `${of("pending")} pending, ${count(of("dead-letter"), "dead letter")}, ${of("open")} open`
}

/** Makes an entry. */
export const make = (entry: Omit<Entry, "id">): Entry => ({ ...entry, id: idOf(entry) })

const idOf = ({ kind, owner, record }: Omit<Entry, "id">): string =>
  createHash("sha256")
    // A pending record and its dead letter are the same spend; an open record isn't decided yet.
    .update(JSON.stringify([kind === "open", owner.fingerprint, owner.baseUrl, RecordFiles.identityOf(record)]))
    .digest("hex")
    .slice(0, 12)

/** The entries that an argument selects: by their id, or by the id of their reservation. */
export const select = (entries: ReadonlyArray<Entry>, id: string): ReadonlyArray<Entry> => {
  const byId = entries.filter((entry) => entry.id === id)
  return byId.length > 0 ? byId : entries.filter(({ record }) => record.reservationId === id)
}

/** The amount of a record, or `?` if it can't be read. */
export const amountOf = ({ commitBody }: JournalRecord): string =>
  Option.match(decodeCharge(Json.parse(commitBody)), {
    onNone: () => "?",
    onSome: ({ actual }) => Amount.format(actual)
  })

const decodeCharge = Schema.decodeUnknownOption(Schema.Struct({ actual: Amount.Amount }))

/** An entry as a JSON object. Bodies are JSON too, with all digits. */
export const toJson = ({ diedAtMs, id, isAlive, kind, owner, reason, record }: Entry): object => ({
  kind,
  id,
  reservation_id: record.reservationId,
  base_url: record.baseUrl,
  owner: owner.fingerprint,
  mode: record.mode,
  commit_body: Json.parse(record.commitBody) ?? record.commitBody,
  event_body: record.eventBody === undefined ? null : (Json.parse(record.eventBody) ?? record.eventBody),
  recorded_at: instant(record.recordedAtMs),
  not_before: record.notBeforeMs === 0 ? null : instant(record.notBeforeMs),
  ...(reason === undefined ? undefined : { reason }),
  ...(diedAtMs === undefined ? undefined : { died_at: instant(diedAtMs) }),
  ...(isAlive === undefined ? undefined : { process: isAlive ? "running" : "ended" })
})
