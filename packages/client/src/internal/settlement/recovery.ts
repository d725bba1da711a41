/**
 * Taking up what an earlier run, or an outage, has left in the journal.
 *
 * At start and at intervals the journal is looked through; records that no fiber of this process is busy with are charged
 * as they stand. Other processes may do the same at the same time: the keys make it one charge. What is older than the
 * server remembers keys is never sent again, since it might be charged twice: it becomes a dead letter.
 *
 * Source: client recovery profile CR-DURABLE-001 to 006; the age limits are the reference server's (30 days for a
 * commit, 7 days for an event), less an hour.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { JournalError, JournalRecord } from "../../SettlementJournal.ts"
import * as Telemetry from "../../Telemetry.ts"
import * as Counts from "../runtime/metrics.ts"
import * as Charge from "./commit.ts"
import type { Engine } from "../runtime/runtime.ts"
import { endCharge } from "../runtime/runtime.ts"
import * as Lifecycle from "../reservation/lifecycle.ts"

/** Looks through the journal now, and then at intervals, for the life of the layer. */
export const forever = (engine: Engine): Effect.Effect<never> =>
  Effect.forever(
    Effect.andThen(
      once(engine),
      Effect.flatMap(Random.nextBetween(0.8, 1.2), (jitter) => Effect.sleep(engine.config.rescanIntervalMs * jitter))
    )
  )

/** Looks through the journal once. */
export const once = (engine: Engine): Effect.Effect<void> =>
  Effect.suspend(() => {
    let found = 0
    engine.looks.count += 1
    const all = Stream.concat(engine.journal.pending, Stream.fromIterable(Array.from(engine.unkept.values())))
    return Stream.tap(all, () => Effect.sync(() => found++)).pipe(
      Stream.mapEffect((record) => take(engine, record), { concurrency, unordered: true }),
      Stream.runDrain,
      Effect.matchEffect({
        onSuccess: () =>
          Effect.withFiber((fiber) => Effect.sync(() => Telemetry.journalPending.updateUnsafe(found, fiber.context))),
        onFailure: (error: JournalError) =>
          Effect.withFiber((fiber) => {
            Counts.journalError(fiber.context)
            return Effect.logError("The settlement journal could not be read", error)
          })
      }),
      Effect.ensuring(
        Effect.sync(() => {
          engine.looks.count -= 1
          if (engine.looks.count === 0) engine.ended.clear()
        })
      )
    )
  })

/** Charges one record, unless a fiber of this process is busy with it. */
const take = (engine: Engine, record: JournalRecord): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const id = record.reservationId
    if (engine.charges.has(id) || engine.ended.has(id) || record.baseUrl !== engine.config.baseUrl) return Effect.void
    const spend = read(record)
    if (Option.isNone(spend)) return bury(engine, record, now)
    const charge: Charge.Charge = {
      record,
      state: record.mode === "event" ? "recovering" : Lifecycle.advance("pending", "replayed"),
      actual: spend.value.actual,
      isEstimated: isEstimate(spend.value.metadata),
      estimate: undefined,
      eventBody: () => record.eventBody,
      isJournaled: !engine.unkept.has(id),
      holds: 0
    }
    engine.charges.set(id, charge)
    const isTooOld = now - record.recordedAtMs > limits[record.mode]
    const charging = Effect.ensuring(
      Effect.flatMap(
        isTooOld
          ? Charge.reject(engine, charge, "TOO_OLD", "the record is older than the server remembers idempotency keys")
          : Charge.attempt(engine, charge),
        (first) =>
          first._tag === "Ended"
            ? engine.announce({ settlement: first.value, subject: undefined, action: undefined })
            : // The next look through the journal is the next attempt.
              Effect.logDebug(`Spend of ${charge.actual} is still pending: ${first.because}`)
      ),
      Effect.sync(() => endCharge(engine, id))
    )
    // In the background, so that flushing and closing wait for it; at most so many at once, unless they wait for their time.
    const waitMs = isTooOld ? 0 : Math.min(maxFloorMs, record.notBeforeMs - now)
    if (waitMs > 0) {
      const waiting = Effect.flatMap(engine.pause(0, waitMs), (isOver) =>
        isOver ? Effect.sync(() => endCharge(engine, id)) : charging
      )
      return engine.background(waiting)
    }
    const done = Deferred.makeUnsafe<void>()
    return Effect.andThen(engine.background(Deferred.into(charging, done)), Deferred.await(done))
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const concurrency = 4

const hourMs = 3_600_000

const dayMs = 24 * hourMs

/** How old a record may be, by what is sent next. */
const limits = { commit: 30 * dayMs - hourMs, event: 7 * dayMs - hourMs }

/** The longest delay that a server can have asked for; a longer one is a damaged record. */
const maxFloorMs = hourMs

/**
 * What a commit was to charge. Only that is looked at: the text is sent as it stands, with whatever its writer has put
 * into it, and the server says what it thinks of the rest.
 */
const Spend = Schema.Struct({
  actual: Amount.Amount,
  metadata: Schema.optionalKey(Schema.Unknown)
})

const decodeSpend = Schema.decodeUnknownOption(Spend)

const read = ({ commitBody }: JournalRecord): Option.Option<typeof Spend.Type> => {
  try {
    return decodeSpend(Json.parse(commitBody))
  } catch {
    return Option.none()
  }
}

/** Whether the metadata says that the amount is the estimate. */
const isEstimate = Schema.is(Schema.Struct({ actual_source: Schema.Literal("estimate") }))

/** A record that tells no amount can't be charged, and there is nothing to tell but that it is there. */
const bury = (engine: Engine, record: JournalRecord, diedAtMs: number): Effect.Effect<void> => {
  const reason = "the record holds no amount that can be read"
  return Effect.withFiber((fiber) => {
    Counts.unrecorded(fiber.context)
    return Effect.andThen(
      engine.journaling(engine.journal.bury({ record, reason, diedAtMs })),
      Effect.logError(`The spend recorded for reservation ${record.reservationId} is given up: ${reason}`)
    )
  })
}
