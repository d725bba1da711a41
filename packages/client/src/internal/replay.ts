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
import * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Settlement } from "../Settlement.ts"
import type { JournalError, JournalRecord } from "../SettlementJournal.ts"
import * as Telemetry from "../Telemetry.ts"
import * as Charge from "./charge.ts"
import type { Engine } from "./engine.ts"
import { endCharge } from "./engine.ts"
import * as Lifecycle from "./lifecycle.ts"

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
    return Stream.tap(engine.journal.pending, () => Effect.sync(() => found++)).pipe(
      Stream.mapEffect((record) => take(engine, record), { concurrency, unordered: true }),
      Stream.runDrain,
      Effect.matchEffect({
        onSuccess: () =>
          Effect.withFiber((fiber) => Effect.sync(() => Telemetry.journalPending.updateUnsafe(found, fiber.context))),
        onFailure: (error: JournalError) => Effect.logError("The settlement journal could not be read", error)
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
    const commit = read(record)
    if (commit === undefined) {
      return bury(engine, record, "the record holds no commit that can be read", now)
    }
    if (now - record.recordedAtMs > limits[record.mode]) {
      return bury(engine, record, "older than the server remembers idempotency keys", now)
    }
    const charge: Charge.Charge = {
      record,
      state: record.mode === "event" ? "recovering" : Lifecycle.advance("pending", "replayed"),
      actual: commit.actual,
      isEstimated: commit.metadata?.["actual_source"] === "estimate",
      estimate: undefined,
      eventBody: () => record.eventBody,
      isJournaled: true,
      holds: 0
    }
    engine.charges.set(id, charge)
    const charging = Effect.ensuring(
      Effect.flatMap(Charge.attempt(engine, charge), (first) =>
        first._tag === "Ended"
          ? announce(engine, first.value)
          : // The next look through the journal is the next attempt.
            Effect.logDebug(`Spend of ${charge.actual} is still pending: ${first.because}`)
      ),
      Effect.sync(() => endCharge(engine, id))
    )
    // In the background, so that flushing and closing wait for it; at most so many at once, unless they wait for their time.
    const waitMs = Math.min(maxFloorMs, record.notBeforeMs - now)
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

const read = (record: JournalRecord): Reservation.CommitRequest | undefined =>
  Result.getOrUndefined(Reservation.readCommitRequest(record.commitBody))

const announce = (engine: Engine, settlement: Settlement): Effect.Effect<void> =>
  engine.announce({ settlement, subject: undefined, action: undefined })

const bury = (engine: Engine, record: JournalRecord, reason: string, diedAtMs: number): Effect.Effect<void> =>
  Effect.andThen(
    engine.journaling(engine.journal.bury({ record, reason, diedAtMs })),
    Effect.logError(`The spend recorded for reservation ${record.reservationId} is given up: ${reason}`)
  )
