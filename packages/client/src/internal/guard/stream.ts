/**
 * Guarding a stream: the reservation lives in the stream's scope, usage is counted by chunk, and what was counted is
 * charged however the stream ends.
 *
 * Chunks pass as they are, nothing is pulled early, and nothing is kept but the sum and the last element. What was
 * produced has been spent, also where the consumer takes only a part of the chunk.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { AlreadySettled, CyclesError } from "../../CyclesError.ts"
import type { StreamOptions } from "../../GuardOptions.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import { Reservation } from "../../Reservation.ts"
import type { Engine } from "../runtime/runtime.ts"
import type { Held } from "../reservation/handle.ts"
import { inUnit } from "../reservation/handle.ts"
import * as Scoped from "./scoped.ts"
import * as Settle from "../settlement/settle.ts"

/** Everything a guarded stream can fail with, besides itself. The public types leave out what the options rule out. */
export type StreamError = CyclesError | AlreadySettled | LeaseLost

/** Guards a stream. */
export const guard = <A, E, R>(
  engine: Engine,
  self: Stream.Stream<A, E, R>,
  options: StreamOptions<A>
): Stream.Stream<A, E | StreamError, Exclude<R, Reservation>> =>
  Stream.unwrap(
    Effect.suspend(() => {
      const meter = makeMeter(options)
      const guarded = Effect.map(Scoped.reserve(engine, options, meter.plan), (held) => {
        const counted = Stream.mapArray(self, (chunk) => {
          meter.count(held, chunk)
          return chunk
        })
        return keepingLease(held, Stream.provideService(counted, Reservation, held.handle))
      })
      // Added before the reservation, so that it runs after the settlement.
      return Effect.andThen(Effect.addFinalizer(meter.surface), guarded)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// usage
// ---------------------------------------------------------------------------------------------------------------------

/** Counts what a stream uses. */
interface Meter<A> {
  readonly count: (held: Held, chunk: ReadonlyArray<A>) => void
  readonly plan: Scoped.OnClose
  /**
   * Lets out what a function of the user's has thrown during the plan. A stream that did not succeed keeps its own end: a
   * finalizer that dies would turn its failure into a defect.
   */
  readonly surface: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

const makeMeter = <A>(options: StreamOptions<A>): Meter<A> => {
  const { cost, estimate, finalUsage, usage } = options
  /** Whether all that is ever used is counted, so that no count means no use. A final usage that is not told is no count. */
  const isMeasured = usage !== undefined && finalUsage === undefined
  let used: Amount.Amount | undefined
  let defect: { readonly thrown: unknown } | undefined
  let last: { readonly element: A } | undefined

  /** What the stream has cost so far, in the unit of the estimate. */
  const total = (): Amount.Amount | undefined => {
    const final = last === undefined || finalUsage === undefined ? undefined : finalUsage(last.element)
    const amount = final ?? used
    return amount === undefined || cost === undefined ? amount : cost(amount)
  }

  return {
    count: (held, chunk) => {
      try {
        if (usage !== undefined) {
          for (const element of chunk) {
            const amount = usage(element)
            if (amount === undefined) continue
            const unit = cost === undefined ? estimate.unit : amount.unit
            used = Amount.sum(used ?? Amount.zero(unit), amount)
          }
        }
      } catch (thrown) {
        held.isSpendUnknown = true
        throw thrown
      }
      const element = chunk[chunk.length - 1]
      if (element !== undefined) last = { element }
    },
    plan: (held, exit) => {
      try {
        const amount = total()
        if (amount !== undefined) {
          // What the body recorded itself counts where it is more.
          const recorded = Result.getOrThrow(inUnit(estimate.unit, amount))
          if (held.recorded === undefined || held.recorded.amount < recorded.amount) {
            held.recorded = recorded
            held.isRecordedEstimated = false
          }
        }
      } catch (thrown) {
        held.isSpendUnknown = true
        defect = { thrown }
      }
      if (Exit.isFailure(exit) && !isLostAtEnd(held, exit.cause)) return Settle.planFailure(held, exit.cause)
      return isMeasured && held.recorded === undefined && !held.isSpendUnknown
        ? { _tag: "Release", reason: "nothing_used" }
        : Settle.planSuccess(held)
    },
    surface: (exit) => {
      if (defect === undefined) return Effect.void
      return Exit.isSuccess(exit)
        ? Effect.die(defect.thrown)
        : Effect.logError("What a guarded stream cost could not be told", Cause.die(defect.thrown))
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the lease
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the stream itself has succeeded, and fails since its lease was lost on the way. */
const isLostAtEnd = (held: Held, cause: Cause.Cause<unknown>): boolean =>
  held.prepared.heartbeat === "failOnFinalize" && held.lost !== undefined && Cause.squash(cause) === held.lost

/** Ends the stream with `LeaseLost`: at once where the policy is `cancel`, at its end where it is `failOnFinalize`. */
const keepingLease = <A, E, R>(held: Held, stream: Stream.Stream<A, E, R>): Stream.Stream<A, E | LeaseLost, R> => {
  if (held.onLost !== undefined) {
    return Stream.interruptWhen(stream, Effect.flatMap(Deferred.await(held.onLost), Effect.fail))
  }
  return held.prepared.heartbeat === "failOnFinalize"
    ? Stream.onEnd(
        stream,
        Effect.suspend(() => (held.lost === undefined ? Effect.void : Effect.fail(held.lost)))
      )
    : stream
}
