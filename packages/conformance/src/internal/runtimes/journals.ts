/**
 * The durable journals, and records to write into them.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as SettlementJournal from "effect-cycles/SettlementJournal"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import type * as Layer from "effect/Layer"
import { join } from "node:path"

/** The store of a journal. */
export type Kind = "sqlite" | "files"

/** A journal in a folder. */
export const layer = (kind: Kind, folder: string): Layer.Layer<SettlementJournal.SettlementJournal> =>
  kind === "sqlite" ? JournalSqlite.layer({ filename: join(folder, "journal.sqlite") }) : JournalFiles.layer({ folder })

/** The owner of the records. */
export const owner = { baseUrl: "http://localhost", fingerprint: "0123456789abcdef" }

/** A record with this reservation id. */
export const record = (id: string): SettlementJournal.JournalRecord => ({
  reservationId: ReservationId.make(id),
  baseUrl: owner.baseUrl,
  mode: "commit",
  commitBody: JSON.stringify({ idempotency_key: id, actual: { unit: "TOKENS", amount: 1 } }),
  eventBody: undefined,
  recordedAtMs: 1,
  notBeforeMs: 0
})
