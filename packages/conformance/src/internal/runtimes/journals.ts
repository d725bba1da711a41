/**
 * The durable journals, and records to write into them.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as SettlementJournal from "effect-cycles/SettlementJournal"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import type * as Layer from "effect/Layer"
import { join } from "node:path"

export type Kind = "sqlite" | "files"

export const layer = (kind: Kind, folder: string): Layer.Layer<SettlementJournal.SettlementJournal> =>
  kind === "sqlite" ? JournalSqlite.layer({ filename: join(folder, "journal.sqlite") }) : JournalFiles.layer({ folder })

export const owner = { baseUrl: "http://localhost", fingerprint: "0123456789abcdef" }

export const record = (id: string): SettlementJournal.JournalRecord => ({
  reservationId: ReservationId.make(id),
  baseUrl: owner.baseUrl,
  mode: "commit",
  commitBody: JSON.stringify({ idempotency_key: id, actual: { unit: "TOKENS", amount: 1 } }),
  eventBody: undefined,
  recordedAtMs: 1,
  notBeforeMs: 0
})
