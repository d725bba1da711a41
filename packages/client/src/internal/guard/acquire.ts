/**
 * Reserves an estimate, and releases the reservation if its caller doesn't get it.
 *
 * After an ambiguous response the request is repeated once with the same key. If that response is ambiguous too, or if
 * the caller is interrupted, the caller continues immediately. In the background the client repeats the request until
 * it learns the id, and releases the reservation.
 *
 * @see HEARTBEAT GUIDANCE of the protocol ("CREATE timeout ... one immediate retry")
 */
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import { AlreadySettled, BudgetExceeded, isBudgetExceeded, ProtocolError } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import { classify, combine, isAmbiguous, mayHaveHappened } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import type { Engine } from "../reservation/engine.ts"
import { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Ledger } from "../run/ledger.ts"
import { admit } from "../run/ticket.ts"
import { warnUncovered } from "../run/uncovered.ts"
import * as Metrics from "../runtime/metrics.ts"
import * as Log from "../runtime/log.ts"
import * as Retry from "../runtime/retry.ts"
import * as Release from "../settlement/release.ts"
import { writeOpen } from "../settlement/settle.ts"
import type { Priority } from "../transport/bulkhead.ts"
import type { WithMeta } from "../transport/call.ts"
import { withRemaining } from "./remaining.ts"

/** Restores the interruptibility of the caller. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

type Response = WithMeta<ReservationCreateResponse>

/**
 * Reserves and starts the heartbeat. The caller makes it uninterruptible; only the wait for the server is
 * interruptible.
 */
export const acquire = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared
): Effect.Effect<Handle, CyclesError | AlreadySettled> => {
  const { isCallerSupplied, key } = prepared
  const response = Effect.onInterrupt(restore(request(engine, prepared)), () =>
    prepared.isDryRun || !prepared.progress.hasLeft ? Effect.void : continueInBackground(engine, prepared, 0)
  )
  const explained = <A, E>(acquired: Effect.Effect<A, E | BudgetExceeded>) =>
    Effect.catchIf(acquired, isBudgetExceeded, (error) =>
      Effect.flatMap(restore(withRemaining(engine, prepared, error)), Effect.fail)
    )
  // Every guarded call runs this, so it avoids a generator.
  if (!isCallerSupplied) {
    return explained(
      withinRun(
        prepared,
        Effect.flatMap(response, (response) => accept(engine, prepared, response))
      )
    )
  }
  const acquired = Effect.gen(function* () {
    const made = yield* response
    yield* assertOpen(engine, prepared, made)
    return yield* accept(engine, prepared, made)
  })
  return Effect.suspend(() => {
    engine.keys.acquire(key)
    return Effect.onError(explained(withinRun(prepared, acquired)), () => Effect.sync(() => engine.keys.release(key)))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the run
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Holds the estimate in the run of the caller, and makes the reservation only if there is room. If there is no
 * reservation in the end, returns the hold.
 */
const withinRun = <E>(
  prepared: Prepared,
  acquired: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | BudgetExceeded> =>
  prepared.run === undefined ? acquired : admitted(prepared.run, prepared, acquired)

const admitted = <E>(
  run: Ledger,
  prepared: Prepared,
  acquired: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | BudgetExceeded> =>
  Effect.suspend((): Effect.Effect<Handle, E | BudgetExceeded> => {
    const asked = { action: prepared.action, amount: prepared.estimate }
    const admission = prepared.isDryRun ? run.check(asked) : admit(run, asked)
    if (admission === undefined) return acquired
    if (isBudgetExceeded(admission)) {
      prepared.life.fire("refused")
      return Effect.fail(admission)
    }
    const held = Effect.map(
      Effect.onError(acquired, (cause) => Effect.sync(() => admission.giveBack(isBudgetExceeded(Cause.squash(cause))))),
      (handle) => {
        handle.ticket = admission
        return handle
      }
    )
    return admission.isFirstUncovered ? Effect.andThen(warnUncovered(run, prepared.estimate.unit), held) : held
  })

// ---------------------------------------------------------------------------------------------------------------------
// the request
// ---------------------------------------------------------------------------------------------------------------------

const send = (engine: Engine, prepared: Prepared, priority: Priority): Effect.Effect<Response, CyclesError> =>
  Effect.filterOrFail(
    engine.sender.send(
      Operations.reserve(
        prepared.text.body,
        { action: prepared.action, requested: prepared.estimate, scopes: prepared.scopes },
        priority,
        prepared.progress
      )
    ),
    (response) => response.reservationId !== undefined || response.decision === "DENY" || prepared.isDryRun,
    withoutId
  )

const withoutId = (response: Response): ProtocolError =>
  new ProtocolError({
    operation: "reserve",
    status: 200,
    problem: `the decision ${response.decision} has no reservation_id`,
    requestId: response.meta.requestId
  })

/** Sends the request, and once more with the same key after an ambiguous response. */
const request = (engine: Engine, prepared: Prepared): Effect.Effect<Response, CyclesError> =>
  Effect.suspend(() => {
    const earlier: Array<CyclesError> = []
    const { maxRetryAfterMs } = prepared.policies
    const first = send(engine, prepared, "caller")
    const waited =
      maxRetryAfterMs === 0 ? first : Retry.waitingAtMost(first, maxRetryAfterMs, (error) => void earlier.push(error))
    return Effect.catch(waited, (error) =>
      isAmbiguous(error)
        ? Effect.catch(repeat(engine, prepared), (last) => refused(engine, prepared, [...earlier, error, last]))
        : refused(engine, prepared, [...earlier, error])
    )
  })

const repeat = (engine: Engine, prepared: Prepared): Effect.Effect<Response, CyclesError> =>
  Effect.suspend(() => {
    prepared.life.fire("ambiguous")
    return send(engine, prepared, "caller")
  })

/** Fails with the error of the attempts. If one of them may have taken effect, releases the reservation in the background. */
const refused = (
  engine: Engine,
  prepared: Prepared,
  attempts: readonly [...ReadonlyArray<CyclesError>, CyclesError]
): Effect.Effect<never, CyclesError> => {
  const last = attempts[attempts.length - 1]
  const error = Effect.fail(combine(attempts))
  if (prepared.isDryRun || !mayHaveHappened(attempts)) {
    prepared.life.fire("refused")
    return error
  }
  return Effect.andThen(
    continueInBackground(
      engine,
      prepared,
      last === undefined ? 0 : classify(last).minimumDelayMs,
      attempts.every(isForeign)
    ),
    error
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// the response
// ---------------------------------------------------------------------------------------------------------------------

/**
 * With a caller-supplied key, the server may return a reservation that an earlier run has settled, or whose settlement
 * is decided but not confirmed. The remaining time isn't sufficient proof that it is open: a repeated reserve returns
 * the remaining time of the first response.
 */
const assertOpen = (
  engine: Engine,
  prepared: Prepared,
  { remainingTtlMs, reservationId }: Response
): Effect.Effect<void, AlreadySettled> =>
  Effect.gen(function* () {
    if (prepared.isDryRun || reservationId === undefined) return
    const settled = Effect.fail(new AlreadySettled({ reservationId, by: "earlier run" }))
    if (yield* engine.outbox.isDecided(reservationId)) return yield* settled
    if (remainingTtlMs !== undefined && remainingTtlMs > 0) return
    yield* Effect.matchEffect(engine.sender.send(Operations.getReservation(reservationId, "settlement")), {
      onSuccess: ({ status }) => (status === "ACTIVE" ? Effect.void : settled),
      onFailure: (error) => (remainingTtlMs === 0 || classify(error).class === "gone" ? settled : Effect.void)
    })
  })

const accept = (
  engine: Engine,
  prepared: Prepared,
  response: Response
): Effect.Effect<Handle, BudgetExceeded | ProtocolError> =>
  Effect.withFiber((fiber): Effect.Effect<Handle, BudgetExceeded | ProtocolError> => {
    Metrics.decision(response.decision, fiber.context)
    if (response.decision === "DENY") {
      prepared.life.fire("refused")
      return Effect.fail(denied(prepared, response))
    }
    const startedAtMs = nowMs(fiber.getRef(Clock.Clock))
    const handle = new Handle(prepared, response, startedAtMs)
    const { id } = handle
    if (prepared.isDryRun) return Effect.succeed(handle)
    if (id === undefined) return Effect.fail(withoutId(response))
    prepared.life.fire("allowed")
    Metrics.active(1, fiber.context)
    const { extendByMs, onCrash, ttlMs } = prepared.policies
    handle.beat = engine.heartbeat.start(
      { reservationId: id, onLost: (reason) => handle.markLost(reason) !== undefined },
      { ttlMs, extendByMs, maxBudgetMs: engine.config.timeoutMs },
      {
        nowMs: startedAtMs,
        rttMs: response.meta.rttMs,
        expiresAtMs: response.expiresAtMs,
        remainingTtlMs: response.remainingTtlMs
      }
    )
    return onCrash === "expire" ? Effect.succeed(handle) : Effect.as(writeOpen(engine, handle), handle)
  })

const denied = (prepared: Prepared, response: Response): BudgetExceeded =>
  new BudgetExceeded({
    operation: "reserve",
    code: response.reasonCode ?? "BUDGET_EXCEEDED",
    action: prepared.action,
    requested: prepared.estimate,
    scopes: response.affectedScopes.length > 0 ? response.affectedScopes : prepared.scopes,
    retryAfter: response.retryAfterMs === undefined ? undefined : Duration.millis(response.retryAfterMs),
    requestId: response.meta.requestId,
    traceId: response.meta.traceId
  })

// ---------------------------------------------------------------------------------------------------------------------
// abandoned reserves
// ---------------------------------------------------------------------------------------------------------------------

/** The caller has stopped waiting: continues in the background. */
const continueInBackground = (
  engine: Engine,
  prepared: Prepared,
  minimumDelayMs: number,
  isForeign = false
): Effect.Effect<void> =>
  Effect.suspend(() => {
    prepared.life.fire("abandoned")
    return engine.background.run(releaseAbandoned(engine, prepared, minimumDelayMs, isForeign))
  })

/**
 * Whether a page shows that there is no Cycles server at the URL. It proves nothing, because a proxy may have replaced a
 * response, but nothing suggests that budget is reserved.
 */
const isForeign = (error: CyclesError): boolean =>
  (error._tag === "ApiError" && error.reason._tag === "NotCycles") ||
  (error._tag === "ProtocolError" && error.hint !== undefined)

/**
 * Repeats the request with the same key to learn the id, and releases the reservation. It stops if a response proves
 * that nothing was reserved.
 *
 * A caller may retry with the same caller-supplied key. The release therefore starts after the timeout of one call, and skips a
 * reservation that is in use again.
 */
const releaseAbandoned = (
  engine: Engine,
  prepared: Prepared,
  minimumDelayMs: number,
  wereForeign: boolean
): Effect.Effect<void> => {
  let areForeign = wereForeign
  const { isCallerSupplied, key, life, stem } = prepared
  const isInUse = () => isCallerSupplied && engine.keys.has(key)
  const nothingLeft = Retry.ended<void>(undefined)

  const attempt: Effect.Effect<Retry.Attempt<void>> = Retry.attemptOf(
    Effect.suspend(() =>
      isInUse()
        ? Effect.succeed(nothingLeft)
        : Effect.matchEffect(send(engine, prepared, "settlement"), {
            onSuccess: ({ decision, remainingTtlMs, reservationId: id }) => {
              if (id === undefined || decision === "DENY") {
                life.fire("refused")
                return Effect.succeed(nothingLeft)
              }
              life.fire("allowed")
              if (remainingTtlMs === 0 || isInUse()) return Effect.succeed(nothingLeft)
              return Effect.as(Release.run(engine, { id, stem, reason: "reserve_abandoned", life }), nothingLeft)
            },
            onFailure: (error): Effect.Effect<Retry.Attempt<void>> => {
              areForeign &&= isForeign(error)
              const { minimumDelayMs, provesNothingHappened } = classify(error)
              if (provesNothingHappened && error._tag !== "TransportError") {
                life.fire("refused")
                return Effect.succeed(nothingLeft)
              }
              life.fire("ambiguous")
              return Effect.succeed(Retry.again(error.message, minimumDelayMs))
            }
          })
    )
  )

  return Effect.gen(function* () {
    // Time for the caller to retry with the same caller-supplied key.
    const delayMs = isCallerSupplied ? engine.config.timeoutMs : 0
    if (delayMs + minimumDelayMs > 0) yield* engine.background.delay(delayMs, minimumDelayMs)
    const first = yield* attempt
    yield* Retry.continueAfter({ retry: engine.config.retry, background: engine.background }, first, attempt, (last) =>
      Effect.suspend(() => {
        life.fire("gaveUp")
        if (areForeign) return Effect.void
        return Log.warning(`An abandoned reservation may stay reserved until its lease ends: ${last.because}`)
      })
    )
  })
}
