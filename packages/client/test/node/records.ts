/**
 * Records to put into a journal, for tests and for the processes that they start.
 */
import type * as Layer from "effect/Layer"
import type { SettlementJournal } from "effect-cycles"
import { Identifiers } from "effect-cycles"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"

/** The journal at a path: a SQLite file if its name ends with `.sqlite`, otherwise a folder. */
export const journalAt = (path: string): Layer.Layer<SettlementJournal.SettlementJournal> =>
  path.endsWith(".sqlite") ? JournalSqlite.layer({ filename: path }) : JournalFiles.layer({ folder: path })

/** A record of a reservation. */
export const record = (
  id: string,
  changes?: Partial<SettlementJournal.JournalRecord>
): SettlementJournal.JournalRecord => ({
  reservationId: Identifiers.ReservationId.make(id),
  baseUrl: owner.baseUrl,
  mode: "commit",
  commitBody: '{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":9223372036854775807}}',
  eventBody: '{"idempotency_key":"commit-k","subject":{"tenant":"acme"}}',
  recordedAtMs: 1_700_000_000_000,
  notBeforeMs: 0,
  ...changes
})

/** The owner of the records. */
export const owner: SettlementJournal.JournalOwner = { baseUrl: "http://localhost", fingerprint: "68c905017df7dbfc" }
