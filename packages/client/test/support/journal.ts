/**
 * A journal to override, and a record of an earlier process.
 */
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { SettlementJournal } from "effect-cycles"
import { Identifiers } from "effect-cycles"
import { action } from "./live.ts"

/** A journal that stores nothing. Tests override single operations. */
export const noJournal: SettlementJournal.Journal = {
  put: () => Effect.void,
  remove: () => Effect.void,
  bury: () => Effect.void,
  pending: Stream.empty,
  deadLetters: Stream.empty,
  forget: () => Effect.void,
  isDecided: () => Effect.succeed(false),
  putOpen: () => Effect.void,
  removeOpen: () => Effect.void,
  adoptOpen: Effect.succeed(0)
}

/** Reserves 100 tokens without the client. Returns the record of a commit of 42 that an earlier process left behind. */
export const leaveRecord = (changes?: Partial<SettlementJournal.JournalRecord>, ttlMs = 86_400_000) =>
  Effect.gen(function* () {
    const { apiKey, baseUrl, handle, tenant } = yield* CyclesServer.CyclesServer
    const key = globalThis.crypto.randomUUID()
    const subject = { tenant }
    const response = yield* handle({
      method: "POST",
      url: "/v1/reservations",
      headers: { "x-cycles-api-key": Redacted.value(apiKey), "content-type": "application/json" },
      body: JSON.stringify({
        idempotency_key: key,
        subject,
        action,
        estimate: { unit: "TOKENS", amount: 100 },
        ttl_ms: ttlMs
      })
    })
    const settlement = { idempotency_key: `commit-${key}`, actual: { unit: "TOKENS", amount: 42 } }
    const record: SettlementJournal.JournalRecord = {
      reservationId: Identifiers.ReservationId.make(String(JSON.parse(response.body)["reservation_id"])),
      baseUrl,
      mode: "commit",
      commitBody: JSON.stringify(settlement),
      eventBody: JSON.stringify({ ...settlement, subject, action }),
      recordedAtMs: yield* Effect.clockWith((clock) => clock.currentTimeMillis),
      notBeforeMs: 0,
      ...changes
    }
    return record
  })
