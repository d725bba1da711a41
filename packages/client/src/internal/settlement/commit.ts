/**
 * Commits known spend until it is settled, journaled or rejected: the loop behind every commit, every event that
 * replaces a commit, and every record of the journal.
 *
 * An attempt is one request and the handling of its response. A defect in an attempt leaves its outcome unknown, so it
 * is retried with the same key and the same bytes.
 *
 * @see client recovery profile CR-CORE-001, 002, 004 and CR-DURABLE-001 to 003; NORMATIVE idempotency rules
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import type { CommitResponse, ReservationDetail } from "@effect-cycles/protocol/Reservation"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import type { Settlement } from "../../Settlement.ts"
import { Committed, Pending, Recovered, Rejected } from "../../Settlement.ts"
import type { JournalRecord } from "../../SettlementJournal.ts"
import { nowMs } from "../config/time.ts"
import { classify, rows } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import { textWithoutExtras } from "../protocol/requests.ts"
import * as Log from "../runtime/log.ts"
import type { Spend } from "../runtime/outbox.ts"
import { journalWriteMs } from "../runtime/journalAccess.ts"
import * as Retry from "../runtime/retry.ts"
import type { Runtime } from "../runtime/runtime.ts"
import { updateBackoff } from "../runtime/runtime.ts"
import { trusted } from "./trusted.ts"

/** The result of an attempt. */
type Attempted = Retry.Attempt<Settlement>

// ---------------------------------------------------------------------------------------------------------------------
// the loop
// ---------------------------------------------------------------------------------------------------------------------

/** One attempt: one request and the handling of its response. It starts no further request after `limitMs`. */
export const attempt = (runtime: Runtime, spend: Spend, limitMs: number): Effect.Effect<Attempted> =>
  Retry.attemptOf(
    Effect.clockWith((clock) => {
      const deadline: Deadline = { clock, endsAtMs: nowMs(clock) + limitMs }
      return spend.record.mode === "event" ? byEvent(runtime, spend, deadline) : byCommit(runtime, spend, deadline)
    })
  )

/** Retries after a first attempt, until the spend is settled or the attempts of this run are used up. */
export const continueAfter = (runtime: Runtime, spend: Spend, first: Attempted): Effect.Effect<Settlement> => {
  const again = Effect.suspend(() => {
    const retried = attempt(runtime, spend, runtime.config.timeoutMs)
    return spend.isJournaled ? retried : Effect.andThen(runtime.outbox.write(spend, journalWriteMs), retried)
  })
  return Retry.continueAfter({ retry: runtime.config.retry, background: runtime.background }, first, again, (last) =>
    Effect.sync(() => {
      spend.life.fire("exhausted")
      runtime.outbox.park(spend)
      return pending(spend, last.because)
    })
  )
}

/** The settlement of the caller while the spend is retried in the background. */
export const pending = (spend: Spend, because: string): Pending =>
  trusted(Pending, { _tag: "Pending", ...spendOf(spend), because, isJournaled: spend.isJournaled })

// ---------------------------------------------------------------------------------------------------------------------
// one attempt
// ---------------------------------------------------------------------------------------------------------------------

/** The time at which the caller stops waiting. */
interface Deadline {
  readonly clock: Clock.Clock
  readonly endsAtMs: number
}

const leftMs = ({ clock, endsAtMs }: Deadline): number => endsAtMs - nowMs(clock)

/** The time limit of the journal within an attempt. A later scan repeats a write that takes longer. */
const journalMs = (deadline: Deadline): number => Math.max(0, Math.min(journalWriteMs, leftMs(deadline)))

/** Sends one request of an attempt, if there is time left. */
const within = <A>(
  spend: Spend,
  deadline: Deadline,
  send: (timeoutMs: number) => Effect.Effect<A>
): Effect.Effect<A | Retry.Again> => {
  const timeoutMs = leftMs(deadline)
  return timeoutMs > 0
    ? send(timeoutMs)
    : Effect.succeed(unknown(spend, "there was no time left for another request", 0))
}

const byCommit = (runtime: Runtime, spend: Spend, deadline: Deadline): Effect.Effect<Attempted> =>
  within(spend, deadline, (timeoutMs) =>
    Effect.matchEffect(
      runtime.sender.send({ ...Operations.commit(spend.record.reservationId, spend.record.commitBody), timeoutMs }),
      {
        onSuccess: (response) => settled(runtime, spend, deadline, committed(spend, response)),
        onFailure: (error) => follow(runtime, spend, deadline, "commit", error)
      }
    )
  )

const byEvent = (runtime: Runtime, spend: Spend, deadline: Deadline): Effect.Effect<Attempted> => {
  const body = spend.record.eventBody
  if (body === undefined) {
    return reject(
      runtime,
      spend,
      "RESERVATION_EXPIRED",
      "the reservation has expired, and the record has no event that could charge the spend",
      deadline
    )
  }
  return within(spend, deadline, (timeoutMs) =>
    Effect.matchEffect(runtime.sender.send({ ...Operations.event(body, "settlement"), timeoutMs }), {
      onSuccess: (response) => settled(runtime, spend, deadline, recovered(spend, response)),
      onFailure: (error) => follow(runtime, spend, deadline, "event", error)
    })
  )
}

/** Handles an error by the row of its operation in `classify`. */
const follow = (
  runtime: Runtime,
  spend: Spend,
  deadline: Deadline,
  operation: "commit" | "event",
  error: CyclesError
): Effect.Effect<Attempted> => {
  const classification = classify(error)
  updateBackoff(runtime, deadline.clock, classification)
  if (mayBeRefusedForExtras(operation, error)) {
    const bare = withoutExtras(spend, isCoded(error))
    if (bare !== undefined) return resendWithoutExtras(runtime, spend, deadline, bare, error)
  }
  // Without a code, the response may come from a proxy. The reservation itself shows whether it has expired.
  if (operation === "commit" && error._tag === "ApiError" && error.status === 410 && error.code === undefined) {
    return readBack(runtime, spend, deadline, error)
  }
  switch (rows[operation][classification.class]) {
    case "retry":
      return again(runtime, spend, deadline, error.message, classification.minimumDelayMs)
    case "hold":
      spend.holds += 1
      return again(runtime, spend, deadline, error.message, classification.minimumDelayMs)
    case "event":
      return switchToEvent(runtime, spend, deadline)
    case "readBack":
      return readBack(runtime, spend, deadline, error)
    case "reject":
      return reject(runtime, spend, codeOf(error), error.message, deadline)
  }
}

/** The reservation isn't in the expected state: reads it to find out whether the commit was applied. */
const readBack = (runtime: Runtime, spend: Spend, deadline: Deadline, error: CyclesError): Effect.Effect<Attempted> =>
  within(spend, deadline, (timeoutMs) =>
    Effect.matchEffect(
      runtime.sender.send({ ...Operations.getReservation(spend.record.reservationId, "settlement"), timeoutMs }),
      {
        onSuccess: (detail) => {
          switch (detail.status) {
            case "COMMITTED":
              return isCommittedBy(spend, detail, codeOf(error))
                ? settled(runtime, spend, deadline, committedBefore(spend, detail))
                : reject(
                    runtime,
                    spend,
                    codeOf(error),
                    `another commit charged ${detail.committed ?? "an unknown amount"} for this reservation`,
                    deadline
                  )
            case "RELEASED":
            case "EXPIRED":
              return switchToEvent(runtime, spend, deadline)
            default:
              return again(runtime, spend, deadline, error.message, 0)
          }
        },
        onFailure: (readError) => {
          const read = classify(readError)
          if (read.class === "gone") return switchToEvent(runtime, spend, deadline)
          return read.class === "conflict"
            ? reject(runtime, spend, "NOT_FOUND", "the server has no reservation with this id", deadline)
            : again(runtime, spend, deadline, readError.message, read.minimumDelayMs)
        }
      }
    )
  )

/** The reservation has ended: charges the spend by an event. The journal is written before the event is sent. */
const switchToEvent = (runtime: Runtime, spend: Spend, deadline: Deadline): Effect.Effect<Attempted> =>
  Effect.gen(function* () {
    spend.life.fire("expired")
    spend.record = {
      ...spend.record,
      mode: "event",
      eventBody: spend.record.eventBody ?? spend.makeEventBody?.(),
      notBeforeMs: 0,
      recordedAtMs: runtime.sender.serverTime(deadline.clock.currentTimeMillisUnsafe())
    }
    yield* runtime.outbox.write(spend, journalMs(deadline))
    return yield* byEvent(runtime, spend, deadline)
  })

// ---------------------------------------------------------------------------------------------------------------------
// without metrics and metadata
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether the server or a proxy may have refused the request because of its metrics or metadata.
 *
 * A status without a code proves nothing, but a smaller commit is worth a try: if the server has applied the first one,
 * the reservation shows it. Nothing shows whether an event was applied, so only a code allows other bytes under its
 * key.
 */
const mayBeRefusedForExtras = (operation: "commit" | "event", error: CyclesError): boolean =>
  isCoded(error) ||
  (operation === "commit" && error._tag === "ApiError" && error.code === undefined && [400, 413].includes(error.status))

const isCoded = (error: CyclesError): boolean =>
  error._tag === "ApiError" && (error.code === "INVALID_REQUEST" || (error.status === 413 && error.code !== undefined))

/** The record without metrics and the caller's metadata; nothing if it has none. The event may keep its bytes. */
const withoutExtras = ({ record }: Spend, isEventReduced: boolean): JournalRecord | undefined => {
  const commitBody = textWithoutExtras(record.commitBody)
  if (commitBody === undefined) return undefined
  const { eventBody } = record
  return {
    ...record,
    commitBody,
    eventBody: eventBody === undefined || !isEventReduced ? eventBody : (textWithoutExtras(eventBody) ?? eventBody)
  }
}

/**
 * Sends the commit again without metrics and metadata, because the amount is more important. The key stays the same: if
 * an earlier attempt was applied, the server responds with a conflict, and the reservation is read.
 */
const resendWithoutExtras = (
  runtime: Runtime,
  spend: Spend,
  deadline: Deadline,
  bare: JournalRecord,
  error: CyclesError
): Effect.Effect<Attempted> =>
  Effect.gen(function* () {
    const replaced = spend.record
    spend.life.fire("unknown")
    spend.record = bare
    yield* Log.warning(
      `Reservation ${bare.reservationId}: the spend of ${spend.actual} is sent again without metrics and metadata`,
      error
    )
    yield* runtime.outbox.write(spend, journalMs(deadline))
    if (spend.isJournaled) yield* runtime.outbox.forget(replaced, journalMs(deadline))
    return yield* bare.mode === "event" ? byEvent(runtime, spend, deadline) : byCommit(runtime, spend, deadline)
  })

// ---------------------------------------------------------------------------------------------------------------------
// ends
// ---------------------------------------------------------------------------------------------------------------------

const settled = (
  runtime: Runtime,
  spend: Spend,
  deadline: Deadline,
  settlement: Committed | Recovered
): Effect.Effect<Attempted> =>
  Effect.suspend(() => {
    spend.life.fire("confirmed")
    runtime.backoff.succeeded()
    const done = Effect.as(runtime.outbox.settled(spend, journalMs(deadline)), Retry.ended<Settlement>(settlement))
    return settlement.shortfall.amount === 0n ? done : Effect.andThen(warnOfShortfall(settlement), done)
  })

const warnOfShortfall = (settlement: Committed | Recovered): Effect.Effect<void> =>
  Log.warning(
    `Reservation ${settlement.reservationId}: ${settlement.shortfall} of ${settlement.actual} was not charged; ` +
      `the budget doesn't include this spend`
  )

/** Gives up: moves the spend to the dead letters. */
export const reject = (
  runtime: Runtime,
  spend: Spend,
  code: string,
  because: string,
  deadline?: Deadline
): Effect.Effect<Attempted> =>
  Effect.gen(function* () {
    spend.life.fire("rejected")
    const limitMs = deadline === undefined ? journalWriteMs : journalMs(deadline)
    yield* runtime.outbox.bury(spend, `${code}: ${because}`, limitMs)
    yield* Log.error(
      `Reservation ${spend.record.reservationId}: the spend of ${spend.actual} could not be charged: ${because}`
    )
    return Retry.ended<Settlement>(trusted(Rejected, { _tag: "Rejected", ...spendOf(spend), code, because }))
  })

const unknown = (spend: Spend, because: string, minimumDelayMs: number): Retry.Again => {
  spend.life.fire("unknown")
  return Retry.again(because, minimumDelayMs, spend.holds > 1)
}

/** The outcome is unknown. A delay that the server requested is journaled, so that a later run respects it. */
const again = (
  runtime: Runtime,
  spend: Spend,
  deadline: Deadline,
  because: string,
  minimumDelayMs: number
): Effect.Effect<Attempted> => {
  const attempted = unknown(spend, because, minimumDelayMs)
  if (minimumDelayMs === 0) return Effect.succeed(attempted)
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    spend.record = { ...spend.record, notBeforeMs: now + minimumDelayMs }
    return Effect.as(runtime.outbox.write(spend, journalMs(deadline)), attempted)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// settlements
// ---------------------------------------------------------------------------------------------------------------------

const codeOf = (error: CyclesError): string =>
  "code" in error && error.code !== undefined ? error.code : error._tag === "InvalidRequest" ? "INVALID_REQUEST" : ""

const spendOf = (spend: Spend) => ({
  reservationId: spend.record.reservationId,
  actual: spend.actual,
  isEstimated: spend.isEstimated
})

/** The charged amount, and the shortfall. */
const chargeOf = ({ actual }: Spend, charged: Amount.Amount) => ({
  charged,
  shortfall: charged.unit === actual.unit ? Amount.subtract(actual, charged) : Amount.zero(actual.unit)
})

const committed = (spend: Spend, response: CommitResponse): Committed =>
  trusted(Committed, {
    _tag: "Committed",
    ...spendOf(spend),
    ...chargeOf(spend, response.charged),
    returned: response.released,
    balances: response.balances ?? [],
    isReadBack: false
  })

const committedBefore = (spend: Spend, detail: ReservationDetail): Committed =>
  trusted(Committed, {
    _tag: "Committed",
    ...spendOf(spend),
    ...chargeOf(spend, detail.committed ?? spend.actual),
    returned: undefined,
    balances: [],
    isReadBack: true
  })

const recovered = (spend: Spend, response: EventCreateResponse): Recovered =>
  trusted(Recovered, {
    _tag: "Recovered",
    ...spendOf(spend),
    ...chargeOf(spend, response.charged ?? spend.actual),
    balances: response.balances ?? [],
    eventId: response.eventId
  })

/**
 * Whether a reservation with the status COMMITTED was committed by this spend. The reservation doesn't show the key, so
 * the amount decides: it must be equal, or less if the overage policy may have reduced it. If the server has stored the
 * key for a different request, only an equal amount counts.
 */
const isCommittedBy = (spend: Spend, detail: ReservationDetail, code: string): boolean => {
  const amount = detail.committed
  if (amount === undefined) return true
  if (amount.unit !== spend.actual.unit) return false
  if (amount.amount === spend.actual.amount) return true
  if (code === "IDEMPOTENCY_MISMATCH") return false
  const estimate = spend.estimate ?? detail.reserved
  return (
    amount.amount < spend.actual.amount && spend.actual.amount > estimate.amount && amount.amount >= estimate.amount
  )
}
