/**
 * Reserves an estimate, and releases the reservation if its caller doesn't get it.
 *
 * After an ambiguous response the request is repeated once with the same key. If that response is ambiguous too, or if
 * the caller is interrupted, the caller continues immediately. In the background the client repeats the request until
 * it learns the id, and releases the reservation.
 *
 * @see HEARTBEAT GUIDANCE of the protocol ("CREATE timeout ... one immediate retry")
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { AlreadySettled, CyclesError, ProtocolError } from "../../CyclesError.ts"
import { BudgetExceeded, isBudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import { classify, combine, isAmbiguous, mayHaveHappened } from "../protocol/classify.ts"
import type { Engine } from "../reservation/engine.ts"
import { grantOf } from "../reservation/grant.ts"
import { Handle } from "../reservation/handle.ts"
import { unreserved } from "../reservation/source.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Restore } from "../run/waiting.ts"
import * as Metrics from "../runtime/metrics.ts"
import * as Retry from "../runtime/retry.ts"
import { writeOpen } from "../settlement/settle.ts"
import { continueInBackground, isForeign } from "./abandoned.ts"
import { withinRun } from "./admit.ts"
import { withRemaining } from "./remaining.ts"
import * as Nested from "./nested.ts"
import { assertOpen, repeating } from "./repeated.ts"
import type { Response } from "./request.ts"
import { send, withoutId } from "./request.ts"
import * as Unreachable from "./unreachable.ts"

/**
 * Reserves and starts the heartbeat. If the reservation is settled already and `onRepeat` allows it, reserves under the
 * next key. The caller makes it uninterruptible; only the wait for the server is interruptible.
 */
export const acquire = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared
): Effect.Effect<Handle, CyclesError | AlreadySettled> =>
  repeating(prepared, (prepared) => acquireOnce(engine, restore, prepared))

const acquireOnce = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared
): Effect.Effect<Handle, CyclesError | AlreadySettled> =>
  Effect.withFiber((fiber) => {
    if (engine.shadow !== undefined) return engine.shadow.acquire(restore, prepared)
    const place = Nested.placeOf(engine, fiber, prepared)
    return place === undefined
      ? reserve(engine, restore, prepared)
      : Effect.andThen(
          Nested.refusal(prepared, place),
          Effect.suspend(() => nested(engine, restore, prepared, place, fiber))
        )
  })

/** Joins the guard around the call, draws on the reservation of its run, or makes a reservation. */
const nested = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared,
  place: Nested.Place,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<Handle, CyclesError | AlreadySettled> => {
  const joined = Nested.join(engine, prepared, place, fiber)
  const within = joined === undefined ? place.guard : undefined
  return Effect.map(joined ?? reserve(engine, restore, prepared, place), (handle) => {
    handle.outer = place.outer
    handle.within = within
    return handle
  })
}

/** Makes a reservation, or draws on the reservation of the run, if it holds one. */
const reserve = (
  engine: Engine,
  restore: Restore,
  prepared: Prepared,
  place?: Nested.Place
): Effect.Effect<Handle, CyclesError | AlreadySettled> => {
  const { isCallerSupplied, key } = prepared
  const asked = Unreachable.whenReachable(engine, prepared, request(engine, prepared))
  const response = Effect.onInterrupt(restore(asked), () =>
    prepared.isDryRun || !prepared.progress.hasLeft ? Effect.void : continueInBackground(engine, prepared, 0)
  )
  const explained = <A, E>(acquired: Effect.Effect<A, E | BudgetExceeded>) =>
    Effect.catchIf(acquired, isBudgetExceeded, (error) =>
      Effect.flatMap(restore(withRemaining(engine, prepared, error)), Effect.fail)
    )
  const orAllowed = <E>(acquired: Effect.Effect<Handle, E | Unreachable.Unreachable>) =>
    Effect.catchIf(acquired, Unreachable.isUnreachable, (unreachable) =>
      Unreachable.allow(engine, prepared, unreachable)
    )
  // Every guarded call runs this, so it avoids a generator.
  if (!isCallerSupplied) {
    return explained(
      withinRun(
        restore,
        prepared,
        place?.outer !== undefined,
        drawing(
          restore,
          prepared,
          place,
          orAllowed(Effect.flatMap(response, (response) => accept(engine, prepared, response)))
        )
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
    const own = drawing(restore, prepared, place, orAllowed(acquired))
    return Effect.onError(explained(withinRun(restore, prepared, place?.outer !== undefined, own)), () =>
      Effect.sync(() => engine.keys.release(key))
    )
  })
}

/**
 * Draws on the pool or on the reservation of the run, the nearer one first. If there is neither, or no room, runs
 * `otherwise`.
 */
const drawing = <E>(
  restore: Restore,
  prepared: Prepared,
  place: Nested.Place | undefined,
  otherwise: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | CyclesError | AlreadySettled> => {
  if (place === undefined) return otherwise
  const { hold, isPoolNearer, pool } = place
  const fromPool = <E2>(otherwise: Effect.Effect<Handle, E2>) =>
    pool === undefined ? otherwise : pool.draw(prepared, restore, otherwise)
  if (hold === undefined) return fromPool(otherwise)
  const fromRun = <E2>(otherwise: Effect.Effect<Handle, E2>) =>
    Effect.withFiber(
      (fiber): Effect.Effect<Handle, E2 | AlreadySettled> => Nested.drawOnRun(prepared, hold, fiber) ?? otherwise
    )
  return isPoolNearer ? fromPool(fromRun(otherwise)) : fromRun(fromPool(otherwise))
}

// ---------------------------------------------------------------------------------------------------------------------
// the request
// ---------------------------------------------------------------------------------------------------------------------

/** Sends the request, and once more with the same key after an ambiguous response. */
const request = (engine: Engine, prepared: Prepared): Effect.Effect<Response, CyclesError | Unreachable.Unreachable> =>
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

/**
 * Fails with the error of the attempts, or with `Unreachable`. If one of them may have taken effect, releases the
 * reservation in the background.
 */
const refused = (
  engine: Engine,
  prepared: Prepared,
  attempts: readonly [...ReadonlyArray<CyclesError>, CyclesError]
): Effect.Effect<never, CyclesError | Unreachable.Unreachable> => {
  const last = attempts[attempts.length - 1]
  const error = Effect.fail(Unreachable.failureOf(prepared, combine(attempts), last))
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
    if (prepared.isDryRun)
      return Effect.succeed(new Handle(prepared, grantOf(response), unreserved("dry run"), startedAtMs))
    const id = response.reservationId
    if (id === undefined) return Effect.fail(withoutId(response))
    const handle = new Handle(prepared, grantOf(response), { _tag: "Reservation", id }, startedAtMs)
    if (prepared.isRunHold) handle.client = engine
    prepared.life.fire("allowed")
    Metrics.active(1, fiber.context)
    const { extendByMs, onCrash, ttlMs } = prepared.policies
    handle.beat = engine.heartbeat.start(
      id,
      handle,
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

/** The denial of a reserve that a response contains. */
export const denied = (prepared: Prepared, response: Response): BudgetExceeded =>
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
