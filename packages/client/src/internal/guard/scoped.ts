/**
 * A reservation as a scoped resource: acquired by a reserve, and settled at the latest when its scope closes.
 *
 * Reservations of one scope are settled concurrently: closing the scope starts each settlement, and waits for all of
 * them at the end. A settled reservation is removed from its scope, so that a long-lived scope doesn't grow.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type * as Context from "effect/Context"
import * as Protocol from "@effect-cycles/protocol/Limits"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { AlreadySettled, CyclesError } from "../../CyclesError.ts"
import { InvalidRequest } from "../../CyclesError.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Active, CommitOptions } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import * as Extras from "../protocol/extras.ts"
import * as Operations from "../protocol/operations.ts"
import { extendText } from "../protocol/requests.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import * as Limits from "../reservation/limits.ts"
import type { OnSettled, ReserveOptions } from "../reservation/options.ts"
import { prepare } from "../reservation/options.ts"
import { viewOf } from "../reservation/view.ts"
import * as Log from "../runtime/log.ts"
import * as Plan from "../settlement/plan.ts"
import { settle } from "../settlement/settle.ts"
import type { Restore } from "../run/waiting.ts"
import { acquire } from "./acquire.ts"
import { announce } from "./onSettled.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The plan for an open reservation when its scope closes. */
export type OnClose = (handle: Handle, exit: Exit.Exit<unknown, unknown>) => Plan.Plan

/** A reservation in a scope. */
export interface Scoped {
  readonly handle: Handle
  /** Settles the reservation, unless it is already settled, and runs `onSettled`. */
  readonly settle: (plan: Plan.Plan) => Effect.Effect<Settlement, AlreadySettled>
}

// ---------------------------------------------------------------------------------------------------------------------
// reserve
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reserves in the current scope. If the scope has closed in the meantime, releases the reservation and interrupts the
 * caller.
 */
export const reserve = <R>(
  engine: Engine,
  options: ReserveOptions<R>,
  onClose: OnClose = Plan.forClosedScope
): Effect.Effect<Scoped, CyclesError | AlreadySettled, Scope.Scope | R> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    if (scope.state._tag === "Closed") return yield* Effect.interrupt
    const prepared = yield* prepare(engine.config, engine.makeKey, engine.observer, options)
    const context = yield* Effect.context<R>()
    const closing = yield* closingOf(scope)
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const handle = yield* acquire(engine, restore, prepared)
        if (scope.state._tag === "Closed") {
          yield* Effect.orDie(settle(engine, handle, Plan.release("scope_closed")))
          return yield* Effect.interrupt
        }
        const reservationScope = yield* Scope.fork(scope)
        yield* Scope.addFinalizerExit(reservationScope, (exit) =>
          handle.isDecided
            ? Effect.void
            : closing.start(
                engine,
                Effect.suspend(() => settle(engine, handle, onClose(handle, exit))),
                (settlement) =>
                  Effect.provide(announce(engine, leaveAsIs, handle, options.onSettled, settlement), context)
              )
        )
        return scopedOf(engine, handle, reservationScope, options.onSettled, context)
      })
    )
  })

const scopedOf = <R>(
  engine: Engine,
  handle: Handle,
  reservationScope: Scope.Closeable,
  onSettled: OnSettled<R> | undefined,
  context: Context.Context<R>
): Scoped => ({
  handle,
  settle: (plan) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const settlement = yield* settle(engine, handle, plan)
        yield* Scope.close(reservationScope, Exit.void)
        yield* Effect.provide(announce(engine, restore, handle, onSettled, settlement), context)
        return settlement
      })
    )
})

const leaveAsIs: Restore = (effect) => effect

// ---------------------------------------------------------------------------------------------------------------------
// the handle of the caller
// ---------------------------------------------------------------------------------------------------------------------

/** The public handle of a reservation. A commit checks the unit again at run time. */
export function activeOf<U extends Amount.Unit>(
  engine: Engine,
  scoped: Scoped,
  estimate: Amount.Amount<U>
): Active<U, LeaseLost>
export function activeOf(engine: Engine, scoped: Scoped): unknown {
  const active: Active<Amount.Unit, LeaseLost> = {
    ...viewOf(scoped.handle, engine.hooks),
    commit: (options) => commit(scoped, options),
    release: (reason) =>
      scoped.settle(Plan.release(typeof reason === "string" ? reason.slice(0, maxReason) : "released_by_caller")),
    extend: (by) => extend(engine, scoped.handle, by),
    untilLost: Effect.suspend(() => {
      const { onLost } = scoped.handle
      return onLost === undefined ? Effect.never : Effect.flatMap(Deferred.await(onLost), Effect.fail)
    })
  }
  return active
}

const maxReason = 256

const extend = (
  engine: Engine,
  handle: Handle,
  by: Duration.Input
): Effect.Effect<void, AlreadySettled | CyclesError> =>
  Effect.gen(function* () {
    if (handle.isDecided) return yield* handle.alreadySettled
    const byMs = Limits.durationOf("extendBy", by)
    if (typeof byMs !== "number") {
      return yield* new InvalidRequest({ operation: "extend", fields: [{ ...byMs, field: "extendByMs" }] })
    }
    if (handle.id === undefined) return
    yield* engine.sender.send(Operations.extend(handle.id, extendText(engine.makeKey(), byMs)))
  })

/**
 * Commits a reservation. The spend is recorded first: if `metrics` or `metadata` can't be encoded, closing the scope
 * settles it.
 */
const commit = (
  scoped: Scoped,
  options: CommitOptions
): Effect.Effect<Settlement, AlreadySettled | InvalidRequest | Amount.UnitMismatch | LeaseLost> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { handle } = scoped
      if (handle.isDecided) return yield* handle.alreadySettled
      const recorded = handle.recordFinal(() => options)
      if (Result.isFailure(recorded)) return yield* recorded.failure
      handle.markSpendKnown()
      const extras = Extras.encode("commit", () => ({ metrics: options.metrics, metadata: options.metadata }))
      if (Result.isFailure(extras)) {
        const { failure } = extras
        if (failure._tag === "Thrown") return yield* Effect.die(failure.defect)
        return yield* failure._tag === "TooDeep" ? tooDeep : failure
      }
      const { lost } = handle
      const plan = Plan.forSuccess(handle)
      const warning = Plan.belowRecorded(handle, options.actual, plan.actual)
      if (warning !== undefined) yield* Log.warning(warning)
      const settlement = yield* scoped.settle({ ...plan, extras: Extras.merge(plan.extras, extras.success) })
      if (lost !== undefined && handle.call.policies.heartbeat !== "warn") return yield* lost
      return settlement
    })
  )

const tooDeep = new InvalidRequest({
  operation: "commit",
  fields: [
    { field: "metrics or metadata", expected: `JSON of at most ${Protocol.maxJsonDepth} levels`, actual: "more levels" }
  ]
})

// ---------------------------------------------------------------------------------------------------------------------
// closing a scope
// ---------------------------------------------------------------------------------------------------------------------

/** The settlements that closing one scope has started. */
class Closing {
  readonly #open: Array<Effect.Effect<void>> = []

  /** Starts a settlement in the background. */
  readonly start = (
    engine: Engine,
    settlement: Effect.Effect<Settlement, AlreadySettled>,
    then: (settlement: Settlement) => Effect.Effect<void>
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      const settled = Deferred.makeUnsafe<Settlement, AlreadySettled>()
      // Another fiber that has settled the reservation meanwhile also runs `onSettled`. If the layer closes before the
      // settlement has ended, its fiber is interrupted, and that isn't an interruption of the scope.
      this.#open.push(
        Effect.matchCauseEffect(Deferred.await(settled), { onSuccess: then, onFailure: () => Effect.void })
      )
      return engine.background.run(Deferred.into(settlement, settled))
    })

  /** Waits for all settlements. */
  readonly wait: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.#open, (settled) => settled, { concurrency: "unbounded", discard: true })
  )
}

const closings = new WeakMap<Scope.Scope, Closing>()

/** The `Closing` of a scope. Its finalizer is added first, so it runs last. */
const closingOf = (scope: Scope.Scope): Effect.Effect<Closing> =>
  Effect.suspend(() => {
    const known = closings.get(scope)
    if (known !== undefined) return Effect.succeed(known)
    const closing = new Closing()
    closings.set(scope, closing)
    return Effect.as(Scope.addFinalizer(scope, closing.wait), closing)
  })
