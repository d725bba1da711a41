/**
 * The heartbeat: extends every reservation of a layer until its settlement ends. It uses scheduled callbacks, without a
 * fiber for each lease or extension.
 *
 * If the server throttles, all extensions back off together, as long as their leases allow it.
 *
 * @see HEARTBEAT GUIDANCE of `extendReservation` in the protocol
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { ExtendResponse } from "@effect-cycles/protocol/Reservation"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { CyclesError } from "../../CyclesError.ts"
import { ProtocolError } from "../../CyclesError.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import { nowMs } from "../config/time.ts"
import { classify, rows } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import { extendText } from "../protocol/requests.ts"
import * as Log from "../runtime/log.ts"
import * as Metrics from "../runtime/metrics.ts"
import type { Runtime } from "../runtime/runtime.ts"
import { updateBackoff } from "../runtime/runtime.ts"
import type { WithMeta } from "../transport/call.ts"
import type { Entry } from "../transport/timerQueue.ts"
import * as TimerQueue from "../transport/timerQueue.ts"
import * as Lease from "./schedule.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The holder of a lease. */
export interface Holder {
  /**
   * Called once when the lease is lost. Returns nothing if a settlement was already decided, so that the loss has no
   * effect.
   */
  readonly markLost: (reason: string) => LeaseLost | undefined
}

/** The lease of one reservation. */
export interface Beat extends Entry {
  readonly reservationId: ReservationId
  readonly holder: Holder
  lease: Lease.Lease
  /**
   * The idempotency key of an extension whose outcome is unknown. Each extension has a new random key. A key derived
   * from the reservation's key would repeat in a later run of the same job, and the server would replay its old
   * response.
   */
  key: string | undefined
  isStopped: boolean
}

/** Extends leases. */
export interface Heartbeat {
  /** Starts to extend a lease. `response` is the response to its reserve. */
  readonly start: (
    reservationId: ReservationId,
    holder: Holder,
    options: Lease.Options,
    response: Lease.Response
  ) => Beat
  /**
   * Stops extending a lease. The response to a request in flight is ignored; abandoning the request would close its
   * connection.
   */
  readonly stop: (beat: Beat) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the heartbeat of a layer. */
export const make = (runtime: Runtime, makeKey: () => string): Effect.Effect<Heartbeat, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    // Extensions aren't part of the span in which the layer was built.
    const detached = Context.omit(Tracer.ParentSpan)(context)
    const runFork = Effect.runForkWith(context)
    const spread = makeSpread()

    const log = (message: Effect.Effect<void>): void => void runFork(message)

    const schedule = (beat: Beat, afterMs: number): void => {
      if (!beat.isStopped) timers.schedule(beat, afterMs)
    }

    const follow = (beat: Beat, [lease, step]: readonly [Lease.Lease, Lease.Step]): void => {
      beat.lease = lease
      if (beat.isStopped) return
      if (step._tag !== "Stop") return schedule(beat, spread.early(step.afterMs))
      beat.isStopped = true
      spread.leave()
      Metrics.heartbeat("stopped", context)
      if (beat.holder.markLost(step.reason) !== undefined) {
        log(Log.warning(`The lease of reservation ${beat.reservationId} can't be kept: ${step.reason}`))
      }
    }

    const succeeded = (beat: Beat, response: WithMeta<ExtendResponse>): void => {
      Metrics.heartbeat("extended", context)
      runtime.backoff.succeeded()
      beat.key = undefined
      follow(
        beat,
        Lease.extended(beat.lease, {
          nowMs: nowMs(clock),
          rttMs: response.meta.rttMs,
          expiresAtMs: response.expiresAtMs,
          remainingTtlMs: response.remainingTtlMs
        })
      )
    }

    const failed = (beat: Beat, error: CyclesError): void => {
      Metrics.heartbeat("failed", context)
      updateBackoff(runtime, clock, classify(error))
      const after = Lease.failed(beat.lease, nowMs(clock), problemOf(error))
      const plan = after[1]._tag === "Stop" ? "no further attempt" : `next attempt in ${after[1].afterMs} ms`
      log(Log.warning(`Could not extend reservation ${beat.reservationId}; ${plan}`, error))
      follow(beat, after)
    }

    const extend = (beat: Beat): void => {
      const body = extendText((beat.key ??= makeKey()), beat.lease.extendByMs)
      const call = Operations.extend(beat.reservationId, body, Lease.timeLimit(beat.lease))
      runtime.sender.start(call, detached, clock, (exit) => {
        if (beat.isStopped) return
        if (Exit.isSuccess(exit)) return succeeded(beat, exit.value)
        failed(beat, errorOf(exit))
      })
    }

    const due = (beat: Beat): void => {
      const now = nowMs(clock)
      const step = Lease.due(beat.lease, now)
      if (step._tag === "Skip") return schedule(beat, step.afterMs)
      const backoffMs = runtime.backoff.remainingMs(now)
      if (backoffMs > 0 && Lease.canWait(beat.lease, now, backoffMs)) {
        return schedule(beat, backoffMs + spread.after(backoffMs))
      }
      extend(beat)
    }

    const timers = yield* TimerQueue.make<Beat>(due)

    return {
      start: (reservationId, holder, options, response) => {
        const [lease, step] = Lease.begin(options, response)
        const beat: Beat = {
          reservationId,
          holder,
          lease,
          key: undefined,
          isStopped: false,
          due: 0,
          pos: -1
        }
        spread.join()
        if (step._tag !== "Stop") schedule(beat, spread.early(step.afterMs))
        return beat
      },
      stop: (beat) => {
        if (!beat.isStopped) spread.leave()
        beat.isStopped = true
        timers.cancel(beat)
      }
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Extensions are spread if the process has at least this many leases. */
const spreadThreshold = 8

/**
 * Spreads the extensions of many leases over time, so that leases that began together aren't extended together.
 * Multiples of the golden ratio, modulo 1, cover an interval evenly.
 */
const makeSpread = () => {
  let count = 0
  let fraction = 0
  const next = (): number => {
    fraction = (fraction + 0.618_033_988_75) % 1
    return fraction
  }
  return {
    join: () => void (count += 1),
    leave: () => void (count -= 1),
    /** Shortens a delay by up to a tenth. */
    early: (delayMs: number): number => (count < spreadThreshold ? delayMs : Math.floor(delayMs * (1 - 0.1 * next()))),
    /** Returns up to a tenth of a delay, to add to a backoff that all leases share. */
    after: (delayMs: number): number => (count < spreadThreshold ? 0 : Math.floor(delayMs * 0.1 * next()))
  }
}

const errorOf = (exit: Exit.Failure<unknown, CyclesError>): CyclesError => {
  for (const reason of exit.cause.reasons) if (reason._tag === "Fail") return reason.error
  return new ProtocolError({ operation: "extend", status: 200, problem: "the call broke off" })
}

const problemOf = (error: CyclesError): Lease.Problem => {
  const classification = classify(error)
  if (rows.extend[classification.class] === "stop") {
    return { _tag: "Terminal", code: "code" in error ? (error.code ?? error._tag) : error._tag }
  }
  return classification.class === "throttled"
    ? {
        _tag: "Throttled",
        retryAfterMs:
          "retryAfter" in error && error.retryAfter !== undefined ? classification.minimumDelayMs : undefined
      }
    : { _tag: "Transient" }
}
