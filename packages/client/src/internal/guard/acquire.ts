/**
 * Asking for a reservation, so that none is ever left behind.
 *
 * An ambiguous answer is followed by one repetition with the same key. Where that is ambiguous too, or where the caller
 * is interrupted while waiting, the caller is free at once, and the client goes on in the background: it sends the same
 * request with the same key until it learns the id, and releases it.
 *
 * Source: HEARTBEAT GUIDANCE ("CREATE timeout ... one immediate retry"); going on in the background is ours.
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import { AlreadySettled, BudgetExceeded, ProtocolError } from "../../CyclesError.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import * as Counts from "../runtime/metrics.ts"
import * as Claims from "../reservation/claims.ts"
import * as Doubt from "../protocol/doubt.ts"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import * as Held from "../reservation/handle.ts"
import type { Priority } from "../transport/bulkhead.ts"
import { floorOf } from "../protocol/outcome.ts"
import type { Prepared } from "../reservation/options.ts"
import * as Patience from "../runtime/patience.ts"
import * as Release from "../settlement/release.ts"
import * as Retry from "../runtime/retry.ts"
import type { WithMeta } from "../transport/call.ts"
import { nowMs } from "../config/time.ts"
import * as Wire from "../protocol/operations.ts"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Reserves, and starts the heartbeat. It is run inside an uninterruptible region: only the waiting can be interrupted.
 */
export const open = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared
): Effect.Effect<Held.Held, CyclesError | AlreadySettled> =>
  Claims.during(
    engine,
    prepared,
    Effect.flatMap(
      Effect.onInterrupt(restore(ask(engine, prepared)), () =>
        prepared.isDryRun || !prepared.progress.hasLeft ? Effect.void : engine.background(abandon(engine, prepared, 0))
      ),
      (answer) =>
        prepared.isCallersKey
          ? Effect.andThen(stillOpen(engine, prepared, answer), accept(engine, prepared, answer))
          : accept(engine, prepared, answer)
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// asking
// ---------------------------------------------------------------------------------------------------------------------

const send = (
  engine: Engine,
  prepared: Prepared,
  priority: Priority
): Effect.Effect<WithMeta<ReservationCreateResponse>, CyclesError> =>
  Effect.filterOrFail(
    engine.send(
      Wire.reserve(
        prepared.body,
        { action: prepared.request.action, requested: prepared.request.estimate, scopes: prepared.scopes },
        priority,
        prepared.progress
      )
    ),
    (answer) => answer.reservationId !== undefined || answer.decision === "DENY" || prepared.isDryRun,
    withoutId
  )

const withoutId = (answer: WithMeta<ReservationCreateResponse>): ProtocolError =>
  new ProtocolError({
    operation: "reserve",
    status: 200,
    problem: `the decision ${answer.decision} has no reservation_id`,
    requestId: answer.meta.requestId
  })

/** Attempts until the server asks for no more patience; after an ambiguous answer another one at once, with the same key. */
const ask = (engine: Engine, prepared: Prepared): Effect.Effect<WithMeta<ReservationCreateResponse>, CyclesError> => {
  const attempt = send(engine, prepared, "caller")
  return Effect.catchIf(Patience.patiently(attempt, prepared.maxRetryAfterMs), Doubt.isAmbiguous, (first) =>
    Effect.tapError(attempt, (second) =>
      (Doubt.mayHaveArrived(first) || Doubt.mayHaveArrived(second)) && !Doubt.isRefusal(second) && !prepared.isDryRun
        ? engine.background(abandon(engine, prepared, floorOf(second)))
        : Effect.void
    )
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// what an answer means
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A key of the caller's own may find a reservation that an earlier run has settled. Time that is left says that none has.
 * None left says little, since it is counted from the first expiry, whatever was added to it: the reservation itself tells.
 */
const stillOpen = (
  engine: Engine,
  prepared: Prepared,
  { remainingTtlMs, reservationId }: WithMeta<ReservationCreateResponse>
): Effect.Effect<void, AlreadySettled> => {
  if (prepared.isDryRun || reservationId === undefined) return Effect.void
  const settled = Effect.fail(new AlreadySettled({ reservationId, by: "earlier run" }))
  if (remainingTtlMs !== undefined && remainingTtlMs > 0) return Effect.void
  return Effect.matchEffect(engine.send(Wire.getReservation(reservationId, "settlement")), {
    onSuccess: ({ status }) => (status === "ACTIVE" ? Effect.void : settled),
    onFailure: (error) =>
      remainingTtlMs === 0 || (error._tag === "ApiError" && error.status === 410) ? settled : Effect.void
  })
}

const accept = (
  engine: Engine,
  prepared: Prepared,
  answer: WithMeta<ReservationCreateResponse>
): Effect.Effect<Held.Held, CyclesError> =>
  Effect.withFiber((fiber): Effect.Effect<Held.Held, BudgetExceeded | ProtocolError> => {
    Counts.decision(answer.decision, fiber.context)
    if (answer.decision === "DENY") return Effect.fail(denied(prepared, answer))
    const startedAtMs = nowMs(fiber.getRef(Clock.Clock))
    if (prepared.isDryRun) return Effect.succeed(Held.make(prepared, answer, startedAtMs))
    const id = answer.reservationId
    if (id === undefined) return Effect.fail(withoutId(answer))
    const held = Held.make(prepared, answer, startedAtMs)
    Counts.active(1, fiber.context)
    if (prepared.heartbeat === "cancel") held.onLost = Deferred.makeUnsafe<LeaseLost>()
    held.beat = engine.heartbeat.start(
      {
        reservationId: id,
        extend: (key, timeoutMs) =>
          engine.send(Wire.extend(id, Encode.extendBody(key, prepared.extendByMs), timeoutMs)),
        onLost: (reason) => onLost(held, id, reason)
      },
      { ttlMs: prepared.ttlMs, extendByMs: prepared.extendByMs, maxBudgetMs: engine.config.timeoutMs },
      {
        nowMs: startedAtMs,
        rttMs: answer.meta.rttMs,
        expiresAtMs: answer.expiresAtMs,
        remainingTtlMs: answer.remainingTtlMs
      }
    )
    return Effect.succeed(held)
  })

const denied = (prepared: Prepared, answer: WithMeta<ReservationCreateResponse>): BudgetExceeded =>
  new BudgetExceeded({
    operation: "reserve",
    code: answer.reasonCode ?? "BUDGET_EXCEEDED",
    action: prepared.request.action,
    requested: prepared.request.estimate,
    scopes: answer.affectedScopes.length > 0 ? answer.affectedScopes : prepared.scopes,
    retryAfter: answer.retryAfterMs === undefined ? undefined : Duration.millis(answer.retryAfterMs),
    requestId: answer.meta.requestId,
    traceId: answer.meta.traceId
  })

const onLost = (held: Held.Held, id: ReservationId, reason: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const lost = Held.lose(held, reason)
    const told = held.onLost === undefined ? Effect.void : Deferred.succeed(held.onLost, lost)
    return Effect.andThen(Effect.logWarning(`The lease of reservation ${id} can't be kept: ${reason}`), told)
  })

// ---------------------------------------------------------------------------------------------------------------------
// nobody waits any more
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Learns the id by the same request with the same key, and releases it. A refusal means that nothing is held.
 *
 * A key of the caller's own may come again, from somebody who tries again: for as long as a call may take it is left to
 * them, and what they hold is not released.
 */
const abandon = (engine: Engine, prepared: Prepared, floorMs: number): Effect.Effect<void> => {
  const isTakenUp = () => prepared.isCallersKey && engine.claims.isClaimed(prepared.key)
  const attempt: Effect.Effect<Retry.Attempt<void>> = Effect.suspend(() =>
    isTakenUp()
      ? Effect.succeed(Retry.ended<void>(undefined))
      : Effect.matchEffect(send(engine, prepared, "settlement"), {
          onSuccess: (answer) =>
            Effect.as(
              answer.reservationId === undefined || answer.remainingTtlMs === 0 || isTakenUp()
                ? Effect.void
                : Release.run(engine, answer.reservationId, prepared, "reserve_abandoned"),
              Retry.ended<void>(undefined)
            ),
          onFailure: (error) =>
            Effect.succeed(
              Doubt.isRefusal(error) ? Retry.ended<void>(undefined) : Retry.again(error.message, floorOf(error))
            )
        })
  )
  const release = Effect.flatMap(attempt, (first) =>
    Retry.goOn(engine, first, attempt, (last) =>
      Effect.logWarning(`A reservation that nobody waits for may be held until its lease ends: ${last.because}`)
    )
  )
  const delayMs = prepared.isCallersKey ? engine.config.timeoutMs : 0
  return delayMs + floorMs > 0 ? Effect.andThen(engine.pause(delayMs, floorMs), release) : release
}
