/**
 * Keeps every reservation of a layer alive with one fiber, which sleeps until the first lease is due.
 *
 * Each extend runs in a fiber of its own, so that a slow one holds nobody up. A reservation is kept alive until its
 * settlement ends, however long that outlives the scope or the body, and not a beat longer.
 */
import type { ExtendResponse } from "@effect-cycles/protocol/Reservation"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type { CyclesError } from "../../CyclesError.ts"
import { TransportError } from "../../CyclesError.ts"
import * as Counts from "../runtime/metrics.ts"
import * as TimerQueue from "../transport/timerQueue.ts"
import * as Lease from "./schedule.ts"
import { floorOf } from "../protocol/outcome.ts"
import type { WithMeta } from "../transport/call.ts"
import { nowMs } from "../config/time.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation that is kept alive. */
export interface Beat extends TimerQueue.Entry {
  readonly reservationId: ReservationId
  /** Sends one extend. */
  readonly extend: (key: string, timeoutMs: number) => Effect.Effect<WithMeta<ExtendResponse>, CyclesError>
  /** Called once when the lease can't be kept any longer. */
  readonly onLost: (reason: string) => Effect.Effect<void>
  lease: Lease.Lease
  /**
   * The key of the extend whose outcome is unknown. A fresh one has a fresh key, not one derived from the reservation's: a
   * later run of the same job would send the same keys again, and the server would replay its answers and extend nothing.
   */
  key: string | undefined
  /** Whether nothing more is to be sent. */
  isOver: boolean
}

/** Keeps reservations alive. */
export interface Heartbeat {
  /** Begins with the answer to reserve. */
  readonly start: (
    beat: Pick<Beat, "reservationId" | "extend" | "onLost">,
    options: Lease.Options,
    answer: Lease.Answer
  ) => Beat
  /** Ends it; a beat that is under way is not followed by another one. */
  readonly stop: (beat: Beat) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts the fiber that keeps leases alive, in the scope of the layer. */
export const make = (makeKey: () => string): Effect.Effect<Heartbeat, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const run = yield* FiberSet.makeRuntime<never>()

    const follow = (beat: Beat, [lease, step]: readonly [Lease.Lease, Lease.Step]): Effect.Effect<void> => {
      beat.lease = lease
      if (beat.isOver) return Effect.void
      if (step._tag !== "Stop") return Effect.sync(() => timers.schedule(beat, step.afterMs))
      beat.isOver = true
      return Effect.withFiber((fiber) => {
        Counts.heartbeat("stopped", fiber.context)
        return beat.onLost(step.reason)
      })
    }

    const send = (beat: Beat): Effect.Effect<WithMeta<ExtendResponse>, CyclesError> => {
      const { budgetMs } = beat.lease
      const limitMs = Lease.timeLimit(beat.lease)
      return Effect.timeoutOrElse(beat.extend((beat.key ??= makeKey()), limitMs), {
        // The call may wait for its place before its own limit begins. That one tells more, so it ends first.
        duration: (limitMs + budgetMs) / 2,
        orElse: () => Effect.fail(noPlace())
      })
    }

    const extend = (beat: Beat): Effect.Effect<void> =>
      Effect.suspend(() =>
        Effect.matchEffect(send(beat), {
          onSuccess: (answer) =>
            Effect.withFiber((fiber) => {
              Counts.heartbeat("extended", fiber.context)
              beat.key = undefined
              return follow(
                beat,
                Lease.extended(beat.lease, {
                  nowMs: nowMs(clock),
                  rttMs: answer.meta.rttMs,
                  expiresAtMs: answer.expiresAtMs,
                  remainingTtlMs: answer.remainingTtlMs
                })
              )
            }),
          onFailure: (error) =>
            Effect.withFiber((fiber) => {
              if (beat.isOver) return Effect.void
              Counts.heartbeat("failed", fiber.context)
              const after = Lease.failed(beat.lease, nowMs(clock), problemOf(error))
              const plan = after[1]._tag === "Stop" ? "the heartbeat stops" : `next attempt in ${after[1].afterMs} ms`
              return Effect.andThen(
                Effect.logWarning(`Could not extend reservation ${beat.reservationId}; ${plan}`, error),
                follow(beat, after)
              )
            })
        })
      )

    const fire = (beat: Beat): void => {
      const step = Lease.due(beat.lease, nowMs(clock))
      if (step._tag === "Skip") timers.schedule(beat, step.afterMs)
      else run(extend(beat))
    }

    const timers = yield* TimerQueue.make(fire)

    return {
      start: (given, options, answer) => {
        const [lease, step] = Lease.begin(options, answer)
        const beat: Beat = { ...given, lease, key: undefined, isOver: false, due: 0, pos: -1 }
        if (step._tag !== "Stop") timers.schedule(beat, step.afterMs)
        return beat
      },
      stop: (beat) => {
        beat.isOver = true
        timers.cancel(beat)
      }
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const noPlace = (): TransportError =>
  new TransportError({
    operation: "extend",
    kind: "timeout",
    mayHaveArrived: true,
    problem: "no answer in time, counted from before it waited for its place"
  })

const problemOf = (error: CyclesError): Lease.Problem => {
  switch (error._tag) {
    case "TransportError":
    case "ProtocolError":
      return { _tag: "Transient" }
    case "BudgetExceeded":
      return { _tag: "Terminal", code: error.code }
    case "InvalidRequest":
      return { _tag: "Terminal", code: "INVALID_REQUEST" }
    case "ApiError":
      if (error.status === 429 || error.code === "LIMIT_EXCEEDED") {
        return { _tag: "Throttled", retryAfterMs: error.retryAfter === undefined ? undefined : floorOf(error) }
      }
      return error.status >= 500 || error.status < 400
        ? { _tag: "Transient" }
        : { _tag: "Terminal", code: error.code ?? String(error.status) }
  }
}
