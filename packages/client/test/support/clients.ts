/**
 * Names of the public API that the fault tests use and that may change: renaming one of them changes this file only.
 */
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Amount, CyclesConfig, Settlement } from "effect-cycles"
import { Cycles, CyclesClient, CyclesTransport, Identifiers, SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { action } from "./live.ts"

// ---------------------------------------------------------------------------------------------------------------------
// settlements
// ---------------------------------------------------------------------------------------------------------------------

/** The tag of a settlement whose spend was committed. */
export const committed = "Committed"

/** Guards an effect and returns its settlement. */
export const settlementOf = <A, E, R, U extends Amount.Unit>(
  body: Effect.Effect<A, E, R>,
  options: Cycles.GuardOptions<A, [], U, "warn", "report", never>
) =>
  Effect.gen(function* () {
    let settled: Settlement.Settlement | undefined
    yield* Cycles.withCycles(body, {
      ...options,
      onSettled: (settlement) =>
        Effect.sync(() => {
          settled = settlement
        })
    })
    return settled ?? (yield* Effect.die(new Error("onSettled did not run")))
  })

/** Every settlement from now on. */
export const watchSettlements = Effect.gen(function* () {
  const seen: Array<Settlement.Settlement> = []
  yield* Stream.runForEach(Cycles.settlements, ({ settlement }) => Effect.sync(() => seen.push(settlement))).pipe(
    Effect.forkDetach({ startImmediately: true })
  )
  yield* Effect.yieldNow
  return seen
})

// ---------------------------------------------------------------------------------------------------------------------
// config
// ---------------------------------------------------------------------------------------------------------------------

/** How many calls may be under way at once. */
export const maxConcurrency = (calls: number): Partial<CyclesConfig.CyclesConfig> => ({ maxConcurrency: calls })

/** The base URL as a client normalizes it; dies with the `RangeError` of one that is refused. */
export const normalizedBaseUrl = (baseUrl: string) =>
  Effect.suspend(() => CyclesClient.make({ baseUrl, apiKey: Redacted.make("cyc_live_0123456789") })).pipe(
    Effect.map((client) => client.baseUrl),
    Effect.provide(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)),
    Effect.scoped
  )

/** A client over undici, as Node programs have it, with a journal in memory. */
export const nodeClient = (config: CyclesConfig.CyclesConfig) =>
  NodeCycles.layer(config, { journal: SettlementJournal.layerMemory })

/** A client over `fetch`. */
export const fetchClient = (config: CyclesConfig.CyclesConfig) =>
  Cycles.layer(config).pipe(
    Layer.provide(CyclesTransport.layerHttpClient),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(SettlementJournal.layerMemory)
  )

// ---------------------------------------------------------------------------------------------------------------------
// the journal
// ---------------------------------------------------------------------------------------------------------------------

/** Removes exactly this record. */
export const removeRecord = (journal: SettlementJournal.Journal, record: SettlementJournal.JournalRecord) =>
  journal.remove(record)

/** Reserves 100 tokens without the client, and returns the record of a commit of 42 that an earlier process left behind. */
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
