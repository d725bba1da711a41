/**
 * Charging known spend until it is settled, kept or told to somebody: the loop behind every commit and every replayed
 * record.
 *
 * The record is durable before the first request leaves. An attempt is one request and what follows from its answer;
 * between attempts the schedule waits, never shorter than the server asked. The same loop serves a reservation of this
 * process and a record that another one left behind.
 *
 * Source: client recovery profile CR-CORE-001, 002, 004 and CR-DURABLE-001 to 003; NORMATIVE idempotency rules.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { CommitResponse, ReservationDetail } from "@effect-cycles/protocol/Reservation"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { CyclesError } from "../../CyclesError.ts"
import type { Settlement } from "../../Settlement.ts"
import type { JournalRecord } from "../../SettlementJournal.ts"
import type { Engine } from "../runtime/runtime.ts"
import * as Lifecycle from "../reservation/lifecycle.ts"
import * as Outcome from "../protocol/outcome.ts"
import * as Retry from "../runtime/retry.ts"
import * as Wire from "../protocol/operations.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Spend that is being charged. */
export interface Charge {
  record: JournalRecord
  state: Lifecycle.State
  readonly actual: Amount.Amount
  readonly isEstimated: boolean
  /** What was reserved, where this process knows it. */
  readonly estimate: Amount.Amount | undefined
  /** The body of the event that takes over when the lease has ended, made when it is asked for; always the same text. */
  readonly eventBody: () => string | undefined
  /** Whether the journal holds the record. */
  isJournaled: boolean
  /** How often an answer said that waiting alone won't help. */
  holds: number
}

/** What an attempt led to. */
type Attempted = Retry.Attempt<Settlement>

// ---------------------------------------------------------------------------------------------------------------------
// the loop
// ---------------------------------------------------------------------------------------------------------------------

/** Writes the record down, if it can, and makes the first attempt. */
export const begin = (engine: Engine, charge: Charge): Effect.Effect<Attempted> =>
  Effect.andThen(keep(engine, charge), attempt(engine, charge))

/** Goes on after a first attempt until the charge has ended or the attempts of this run are used up. */
export const goOn = (engine: Engine, charge: Charge, first: Attempted): Effect.Effect<Settlement> =>
  Retry.goOn(engine, first, attempt(engine, charge), (last) =>
    Effect.sync(() => {
      move(charge, "exhausted")
      // A journal that failed must not cost spend while the process lives: the next looks take it from here.
      if (engine.isDurable && !charge.isJournaled) engine.unkept.set(charge.record.reservationId, charge.record)
      return pending(charge, last.because)
    })
  )

/** The settlement that the caller sees while the charge goes on in the background. */
export const pending = (charge: Charge, because: string): Settlement => ({
  _tag: "Pending",
  ...spendOf(charge),
  because,
  isJournaled: charge.isJournaled
})

// ---------------------------------------------------------------------------------------------------------------------
// one attempt
// ---------------------------------------------------------------------------------------------------------------------

/** One request, as the mode of the record says, and what follows from its answer. */
export const attempt = (engine: Engine, charge: Charge): Effect.Effect<Attempted> =>
  Effect.suspend(() => (charge.record.mode === "event" ? attemptEvent(engine, charge) : attemptCommit(engine, charge)))

const attemptCommit = (engine: Engine, charge: Charge): Effect.Effect<Attempted> =>
  Effect.matchEffect(engine.send(Wire.commit(charge.record.reservationId, charge.record.commitBody)), {
    onSuccess: (answer) => confirmed(engine, charge, charged(charge, answer)),
    onFailure: (error) => follow(engine, charge, error, Outcome.ofCommit(error))
  })

const attemptEvent = (engine: Engine, charge: Charge): Effect.Effect<Attempted> => {
  const body = charge.eventBody()
  if (body === undefined) {
    return reject(
      engine,
      charge,
      "RESERVATION_EXPIRED",
      "the lease has ended and the record has no event to charge it by"
    )
  }
  return Effect.matchEffect(engine.send(Wire.event(body, "settlement")), {
    onSuccess: (answer) => confirmed(engine, charge, recovered(charge, answer)),
    onFailure: (error) => follow(engine, charge, error, Outcome.ofEvent(error))
  })
}

const follow = (
  engine: Engine,
  charge: Charge,
  error: CyclesError,
  verdict: Outcome.Verdict
): Effect.Effect<Attempted> => {
  switch (verdict._tag) {
    case "Unknown":
      return again(engine, charge, verdict.because, verdict.floorMs)
    case "Hold":
      charge.holds += 1
      return again(engine, charge, verdict.because, verdict.floorMs)
    case "Expired":
      return switchToEvent(engine, charge)
    case "Unclear":
      return readBack(engine, charge, verdict.code, error)
    case "Rejected":
      return reject(engine, charge, verdict.code, verdict.because)
  }
}

/** The server says that the reservation isn't as we thought: what does it say when it is asked? */
const readBack = (engine: Engine, charge: Charge, code: string, error: CyclesError): Effect.Effect<Attempted> =>
  Effect.matchEffect(engine.send(Wire.getReservation(charge.record.reservationId, "settlement")), {
    onSuccess: (detail) => {
      switch (detail.status) {
        case "COMMITTED":
          return isOurs(charge, detail, code)
            ? confirmed(engine, charge, readCharge(charge, detail))
            : reject(
                engine,
                charge,
                code,
                `another commit has charged ${detail.committed ?? "an unknown amount"} for this reservation`
              )
        case "RELEASED":
        case "EXPIRED":
          return switchToEvent(engine, charge)
        default:
          return again(engine, charge, error.message, 0)
      }
    },
    onFailure: (readError) => {
      if (readError._tag !== "ApiError") return again(engine, charge, readError.message, 0)
      if (readError.status === 410) return switchToEvent(engine, charge)
      return readError.status === 404 && readError.code === "NOT_FOUND"
        ? reject(engine, charge, "NOT_FOUND", "the server knows no such reservation")
        : again(engine, charge, readError.message, Outcome.floorOf(readError))
    }
  })

/** The lease has ended: the spend is charged as an event. The journal knows it before the server does. */
const switchToEvent = (engine: Engine, charge: Charge): Effect.Effect<Attempted> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    move(charge, "expired")
    charge.record = { ...charge.record, mode: "event", notBeforeMs: 0, recordedAtMs: now }
    return Effect.andThen(keep(engine, charge), attemptEvent(engine, charge))
  })

// ---------------------------------------------------------------------------------------------------------------------
// ends
// ---------------------------------------------------------------------------------------------------------------------

const confirmed = (engine: Engine, charge: Charge, settlement: Settlement): Effect.Effect<Attempted> => {
  move(charge, "confirmed")
  engine.unkept.delete(charge.record.reservationId)
  return Effect.as(engine.journaling(engine.journal.remove(charge.record)), Retry.ended(settlement))
}

/** Gives spend up: it becomes a dead letter, and whoever watches settlements is told. */
export const reject = (engine: Engine, charge: Charge, code: string, because: string): Effect.Effect<Attempted> =>
  Effect.flatMap(Clock.currentTimeMillis, (diedAtMs) => {
    move(charge, "rejected")
    engine.unkept.delete(charge.record.reservationId)
    const settlement: Settlement = {
      _tag: "Rejected",
      ...spendOf(charge),
      code,
      because
    }
    return Effect.as(
      Effect.andThen(
        engine.journaling(engine.journal.bury({ record: charge.record, reason: `${code}: ${because}`, diedAtMs })),
        Effect.logError(`Spend of ${charge.actual} could not be charged: ${because}`)
      ),
      Retry.ended(settlement)
    )
  })

const again = (engine: Engine, charge: Charge, because: string, floorMs: number): Effect.Effect<Attempted> => {
  move(charge, "unknown")
  const attempted = Retry.again(because, floorMs, charge.holds > 1)
  if (floorMs === 0) return Effect.succeed(attempted)
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    charge.record = { ...charge.record, notBeforeMs: now + floorMs }
    return Effect.as(keep(engine, charge), attempted)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Writes the record down. A journal that fails is told of and stops nothing. */
const keep = (engine: Engine, charge: Charge): Effect.Effect<void> =>
  Effect.map(engine.journaling(engine.journal.put(charge.record)), (isKept) => {
    charge.isJournaled = isKept && engine.isDurable
  })

const move = (charge: Charge, event: Lifecycle.Event): void => {
  charge.state = Lifecycle.advance(charge.state, event)
}

/** What every settlement of a charge tells. */
const spendOf = (charge: Charge) => ({
  reservationId: charge.record.reservationId,
  actual: charge.actual,
  isEstimated: charge.isEstimated
})

/** What was charged and what of the actual amount was not. A charge in another unit, or above it, leaves nothing. */
const booked = ({ actual }: Charge, charged: Amount.Amount) => ({
  charged,
  shortfall: Result.getOrElse(Amount.subtract(actual, charged), () => Amount.zero(actual.unit))
})

const charged = (charge: Charge, answer: CommitResponse): Settlement => ({
  _tag: "Charged",
  ...spendOf(charge),
  ...booked(charge, answer.charged),
  returned: answer.released,
  balances: answer.balances ?? [],
  isReadBack: false
})

const readCharge = (charge: Charge, detail: ReservationDetail): Settlement => ({
  _tag: "Charged",
  ...spendOf(charge),
  ...booked(charge, detail.committed ?? charge.actual),
  returned: undefined,
  balances: [],
  isReadBack: true
})

const recovered = (charge: Charge, answer: EventCreateResponse): Settlement => ({
  _tag: "Recovered",
  ...spendOf(charge),
  eventId: answer.eventId,
  ...booked(charge, answer.charged ?? charge.actual),
  balances: answer.balances ?? []
})

/**
 * Whether a reservation that reads COMMITTED was committed by us: for the amount of ours, or for less of it where the
 * overage policy may have cut it. The reading doesn't tell the key. Where the server knows the key from another request,
 * only the same amount is ours.
 */
const isOurs = (charge: Charge, detail: ReservationDetail, code: string): boolean => {
  const amount = detail.committed
  if (amount === undefined) return true
  if (amount.unit !== charge.actual.unit) return false
  if (amount.amount === charge.actual.amount) return true
  if (code === "IDEMPOTENCY_MISMATCH") return false
  const estimate = charge.estimate ?? detail.reserved
  return (
    amount.amount < charge.actual.amount && charge.actual.amount > estimate.amount && amount.amount >= estimate.amount
  )
}
