/**
 * Recovery: settles the spend that an earlier run, another process or an outage has left. At the start and at intervals
 * it sends every record that no fiber of this process is settling, unchanged. Several processes may do so at the same
 * time, because the idempotency keys prevent a second charge.
 *
 * An event isn't sent again if the server may have deleted its key, because it could be charged twice. Its record
 * becomes a dead letter. The age of a record is measured by the server's clock. A record from before 2026 was written
 * with a wrong clock, so its age is unknown, and it is sent.
 *
 * @see client recovery profile CR-DURABLE-001 to 006. The reference server keeps the key of an event for 7 days, and
 * the key of a commit as long as the reservation (30 days), after which a commit can't be charged twice.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { isSettled } from "../../Settlement.ts"
import type { JournalRecord } from "../../SettlementJournal.ts"
import type { Engine } from "../reservation/engine.ts"
import { Lifecycle } from "../reservation/lifecycle.ts"
import * as Log from "../runtime/log.ts"
import * as Metrics from "../runtime/metrics.ts"
import type { Spend } from "../runtime/outbox.ts"
import * as Commit from "./commit.ts"

// ---------------------------------------------------------------------------------------------------------------------
// scans
// ---------------------------------------------------------------------------------------------------------------------

/** Scans the outbox immediately, and then at intervals, while the layer is open. */
export const forever = (engine: Engine): Effect.Effect<never> =>
  Effect.forever(
    Effect.gen(function* () {
      yield* Effect.catchCause(scan(engine), (cause) => Log.error("A scan of the settlement journal failed", cause))
      const jitter = yield* Random.nextBetween(0.8, 1.2)
      yield* Effect.sleep(engine.config.scanIntervalMs * jitter)
    })
  )

/** Scans the outbox once. Returns whether the whole journal could be read. */
export const scan = (engine: Engine): Effect.Effect<boolean> =>
  engine.outbox.scan({
    parked: (spend) => retry(engine, spend),
    found: (record) => recover(engine, record)
  })

// ---------------------------------------------------------------------------------------------------------------------
// one record
// ---------------------------------------------------------------------------------------------------------------------

/** Tries to settle a record of the journal once. The next scan is the next attempt. */
const recover = (engine: Engine, record: JournalRecord): Effect.Effect<void> =>
  Effect.gen(function* () {
    const spend = read(engine, record)
    if (spend === undefined) {
      const reason = "the record has no readable amount"
      yield* engine.outbox.buryRecord(record, reason)
      yield* Effect.withFiber((fiber) => Effect.sync(() => Metrics.unrecorded(fiber.context)))
      return yield* Log.error(
        `Reservation ${record.reservationId}: its journaled spend became a dead letter: ${reason}`
      )
    }
    engine.outbox.add(spend)
    yield* retry(engine, spend)
  })

/**
 * Tries to settle spend that no fiber is settling, once, in the background, so that flushing and closing wait for it.
 */
const retry = (engine: Engine, spend: Spend): Effect.Effect<void> =>
  Effect.gen(function* () {
    spend.isActive = true
    const now = yield* Clock.currentTimeMillis
    const isTooOld = spend.record.mode === "event" && isOlderThan(engine, spend.record, now, eventKeyMs)
    const requestedMs = spend.record.notBeforeMs - now
    const waitMs = isTooOld || requestedMs > maxDelayMs ? 0 : requestedMs
    const attempt = attemptOnce(engine, spend, isTooOld)
    if (waitMs > 0) {
      const waiting = Effect.flatMap(engine.background.delay(0, waitMs), (isOver) =>
        isOver ? Effect.sync(() => engine.outbox.park(spend)) : attempt
      )
      return yield* engine.background.run(waiting)
    }
    const done = Deferred.makeUnsafe<void>()
    yield* engine.background.run(Deferred.into(attempt, done))
    yield* Deferred.await(done)
  })

const attemptOnce = (engine: Engine, spend: Spend, isTooOld: boolean): Effect.Effect<void> =>
  Effect.ensuring(
    Effect.gen(function* () {
      if (!isTooOld) spend.life.fire(spend.record.mode === "event" ? "expired" : "replayed")
      const attempted = isTooOld
        ? yield* Commit.reject(
            engine,
            spend,
            "TOO_OLD",
            "the record is older than the time for which the server keeps idempotency keys of events"
          )
        : yield* Commit.attempt(engine, spend, engine.config.timeoutMs)
      if (attempted._tag === "Again") {
        return yield* Log.debug(`The spend of ${spend.actual} is still pending: ${attempted.because}`)
      }
      spend.isActive = false
      spend.ticket?.markCertain(isSettled(attempted.value))
      yield* engine.announce({ settlement: attempted.value, subject: spend.subject, action: spend.action })
    }),
    Effect.sync(() => {
      if (!spend.isActive) return
      spend.life.fire("exhausted")
      engine.outbox.park(spend)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const hourMs = 3_600_000

const dayMs = 24 * hourMs

/** How long the server keeps the key of an event, minus an hour. */
const eventKeyMs = 7 * dayMs - hourMs

/**
 * The longest delay that a server can request. If a record has a longer one, the wall clock was set back, or the record
 * is damaged. It is sent at once then.
 */
const maxDelayMs = hourMs

/** 1 January 2026, before the first release of this client. No valid record is older. */
const earliestMs = Date.UTC(2026, 0, 1)

const isOlderThan = (engine: Engine, record: JournalRecord, now: number, limitMs: number): boolean =>
  record.recordedAtMs >= earliestMs && engine.sender.serverTime(now) - record.recordedAtMs > limitMs

/** The amount of a record. Nothing else is parsed, because the text is sent unchanged and the server validates it. */
const Charge = Schema.Struct({
  actual: Amount.Amount,
  metadata: Schema.optionalKey(Schema.Unknown)
})

const decodeCharge = Schema.decodeUnknownResult(Charge)

const chargeOf = ({ commitBody }: JournalRecord): typeof Charge.Type | undefined => {
  try {
    return Result.getOrUndefined(decodeCharge(Json.parse(commitBody)))
  } catch {
    return undefined
  }
}

/** Whether the metadata marks the amount as an estimate. */
const isEstimate = Schema.is(Schema.Struct({ actual_source: Schema.Literal("estimate") }))

const read = (engine: Engine, record: JournalRecord): Spend | undefined => {
  const charge = chargeOf(record)
  if (charge === undefined) return undefined
  return {
    record,
    life: new Lifecycle("pending", engine.observer),
    ticket: undefined,
    actual: charge.actual,
    isEstimated: isEstimate(charge.metadata),
    estimate: undefined,
    subject: undefined,
    action: undefined,
    makeEventBody: undefined,
    isJournaled: true,
    isActive: true,
    holds: 0
  }
}
