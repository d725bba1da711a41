/**
 * Guards a stream: the reservation belongs to the stream's scope, usage is added up chunk by chunk, and the total is
 * settled when the stream ends.
 *
 * Chunks aren't changed and nothing is pulled early. Only the sum and the last element are kept. The usage of a whole
 * chunk counts, even if the consumer takes only a part of it.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { AlreadySettled, BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Metadata } from "../../Reservation.ts"
import { Reservation } from "../../Reservation.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { Late } from "../reservation/source.ts"
import type { LeaseOptions } from "../reservation/options.ts"
import type { Share } from "../run/ticket.ts"
import type { SpendHooks } from "../reservation/view.ts"
import { afterRecording, isJournaled, viewOf } from "../reservation/view.ts"
import * as Log from "../runtime/log.ts"
import * as Plan from "../settlement/plan.ts"
import * as Scoped from "./scoped.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The options of `withCyclesStream`, without the refinements of the public types. */
export interface Options<A, V extends Amount.Unit, R> extends LeaseOptions<R> {
  readonly action: Action
  readonly estimate: Amount.Amount
  readonly usage?: ((element: A) => Amount.Amount<V> | undefined) | undefined
  readonly finalUsage?: ((last: A) => Amount.Amount<V> | undefined) | undefined
  readonly cost?: ((used: Amount.Amount<V>) => Amount.Amount) | undefined
  readonly subject?: Subject | undefined
  readonly metadata?: Metadata | undefined
  readonly idempotencyKey?: string | undefined
}

/** Every error that a guard adds to a stream. The public types omit those that the options exclude. */
export type StreamError = CyclesError | AlreadySettled | LeaseLost

// ---------------------------------------------------------------------------------------------------------------------
// guard
// ---------------------------------------------------------------------------------------------------------------------

/** Guards a stream. */
export const guard = <A, E, R, V extends Amount.Unit, R2>(
  engine: Engine,
  self: Stream.Stream<A, E, R>,
  options: Options<A, V, R2>
): Stream.Stream<A, E | StreamError, Exclude<R, Reservation> | R2> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const meter = new Meter(options)
      const { hooks } = engine
      // Finalizers run in reverse order: this one runs after the settlement.
      yield* Effect.addFinalizer((exit) => meter.raise(exit))
      const { handle } = yield* Scoped.reserve(engine, options, (handle, exit) => meter.plan(handle, exit))
      const counted = isJournaled(handle)
        ? Stream.mapArrayEffect(self, (chunk) => meter.countDurably(handle, hooks, chunk))
        : Stream.mapArray(self, (chunk) => meter.count(handle, chunk))
      const provided = Stream.provideService(counted, Reservation, viewOf(handle, hooks))
      return keepingLease(handle, withinRun(handle, provided))
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// usage
// ---------------------------------------------------------------------------------------------------------------------

/** Adds up the usage of a stream. */
class Meter<A, V extends Amount.Unit> {
  readonly #options: Options<A, V, unknown>
  /**
   * Whether `usage` measures everything, so that an absent total means no usage. With `finalUsage` an absent total
   * means unknown usage.
   */
  readonly #isMeasured: boolean
  #used: Amount.Amount<V> | undefined = undefined
  #last: { readonly element: A } | undefined = undefined
  #defect: { readonly thrown: unknown } | undefined = undefined

  constructor(options: Options<A, V, unknown>) {
    this.#options = options
    this.#isMeasured = options.usage !== undefined && options.finalUsage === undefined
  }

  /** Adds the usage of a chunk. */
  count<Chunk extends ReadonlyArray<A>>(handle: Handle, chunk: Chunk): Chunk {
    const { usage } = this.#options
    if (usage !== undefined) {
      try {
        for (const element of chunk) {
          const amount = usage(element)
          if (amount === undefined) continue
          this.#used = this.#used === undefined ? amount : Amount.sum(this.#used, amount)
        }
      } catch (thrown) {
        handle.markSpendUnknown()
        throw thrown
      }
    }
    const element = chunk[chunk.length - 1]
    if (element !== undefined) this.#last = { element }
    if (handle.ticket !== undefined) this.#grow(handle, handle.ticket)
    return chunk
  }

  /** Adds the usage of a chunk, and journals the new total before the chunk is emitted. */
  countDurably<Chunk extends ReadonlyArray<A>>(handle: Handle, hooks: SpendHooks, chunk: Chunk): Effect.Effect<Chunk> {
    return Effect.suspend(() => {
      this.count(handle, chunk)
      return Effect.as(afterRecording(handle, hooks, this.#record(handle)), chunk)
    })
  }

  /** The plan when the stream ends. */
  plan(handle: Handle, exit: Exit.Exit<unknown, unknown>): Plan.Plan {
    try {
      this.#record(handle)
    } catch (thrown) {
      handle.markSpendUnknown()
      this.#defect = { thrown }
    }
    if (Exit.isFailure(exit) && !isLostAtEnd(handle, exit.cause) && !isCut(handle, exit.cause))
      return Plan.forFailure(handle, exit.cause)
    return this.#isMeasured && handle.recorded === undefined && !handle.isSpendUnknown
      ? Plan.release("nothing_used")
      : Plan.forSuccess(handle)
  }

  /**
   * Dies with the value that a callback threw while the plan was made. A stream that didn't succeed keeps its own
   * cause, and the value is logged: a finalizer that dies would turn the failure into a defect.
   */
  raise(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#defect === undefined) return Effect.void
      const { thrown } = this.#defect
      return Exit.isSuccess(exit)
        ? Effect.die(thrown)
        : Log.error("The usage of a guarded stream could not be computed", Cause.die(thrown))
    })
  }

  /** Holds the total so far in the run. If it can't be computed, the end of the stream reports it. */
  #grow(handle: Handle, ticket: Share): void {
    try {
      const total = this.#total()
      if (total !== undefined) ticket.grow(Result.getOrThrow(handle.inUnit(total)).amount)
    } catch {
      // The plan computes the same total, and reports the defect.
    }
  }

  /** Records the total so far. If the body itself has recorded more, that counts. */
  #record(handle: Handle): Late | undefined {
    const amount = this.#total()
    if (amount === undefined) return undefined
    const total = Result.getOrThrow(handle.inUnit(amount))
    return handle.meter(total)
  }

  /** The total so far in the unit of the estimate. */
  #total(): Amount.Amount | undefined {
    const { cost, finalUsage } = this.#options
    const final = this.#last === undefined || finalUsage === undefined ? undefined : finalUsage(this.#last.element)
    const amount = final ?? this.#used
    return amount === undefined || cost === undefined ? amount : cost(amount)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the run
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the stream fails only because its run has no room for more spend. */
const isCut = (handle: Handle, cause: Cause.Cause<unknown>): boolean =>
  handle.ticket?.overrun !== undefined && Cause.squash(cause) === handle.ticket.overrun

/** Fails the stream after the chunk whose spend exceeds the budget of the run, without pulling the next one. */
const withinRun = <A, E, R>(
  { ticket }: Handle,
  stream: Stream.Stream<A, E, R>
): Stream.Stream<A, E | BudgetExceeded, R> => {
  if (ticket === undefined) return stream
  const hasRoom = Effect.suspend(() => (ticket.overrun === undefined ? Effect.void : Effect.fail(ticket.overrun)))
  return Stream.transformPull(stream, (pull) => Effect.succeed(Effect.andThen(hasRoom, pull)))
}

// ---------------------------------------------------------------------------------------------------------------------
// the lease
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the stream itself succeeded, and fails only because its lease was lost. */
const isLostAtEnd = (handle: Handle, cause: Cause.Cause<unknown>): boolean =>
  handle.call.policies.heartbeat === "failOnFinalize" &&
  handle.lost !== undefined &&
  Cause.squash(cause) === handle.lost

/** Fails the stream with `LeaseLost`: at once with the policy `cancel`, at its end with `failOnFinalize`. */
const keepingLease = <A, E, R>(handle: Handle, stream: Stream.Stream<A, E, R>): Stream.Stream<A, E | LeaseLost, R> => {
  const { onLost } = handle
  if (onLost !== undefined) {
    return Stream.interruptWhen(stream, Effect.flatMap(Deferred.await(onLost), Effect.fail))
  }
  return handle.call.policies.heartbeat === "failOnFinalize"
    ? Stream.onEnd(
        stream,
        Effect.suspend(() => (handle.lost === undefined ? Effect.void : Effect.fail(handle.lost)))
      )
    : stream
}
