/**
 * Guards an effect: reserves, runs the body, and settles according to its exit. Only the wait for the reserve, the body
 * and `onSettled` are interruptible.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { AlreadySettled, CyclesError } from "../../CyclesError.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Metadata } from "../../Reservation.ts"
import { Reservation } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import { isSettled, Unsettled } from "../../Settlement.ts"
import * as Extras from "../protocol/extras.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { LeaseOptions } from "../reservation/options.ts"
import { prepare } from "../reservation/options.ts"
import { defectOf, tooDeep, viewOf } from "../reservation/view.ts"
import type { Restore } from "../run/waiting.ts"
import * as Log from "../runtime/log.ts"
import * as Plan from "../settlement/plan.ts"
import { settle } from "../settlement/settle.ts"
import { acquire } from "./acquire.ts"
import * as Body from "./body.ts"
import { announce } from "./onSettled.ts"

/** The options of `withCycles`, without the refinements of the public types. */
export interface Options<A, Args extends ReadonlyArray<unknown>, R> extends LeaseOptions<R> {
  readonly action: Action | ((...args: Args) => Action)
  readonly estimate: Amount.Amount | ((...args: Args) => Amount.Amount)
  readonly actual?: Amount.Amount | ((result: A) => Amount.Amount) | undefined
  readonly metrics?: Metrics | ((result: A) => Metrics) | undefined
  readonly subject?: Subject | ((...args: Args) => Subject) | undefined
  readonly metadata?: Metadata | ((...args: Args) => Metadata) | undefined
  readonly idempotencyKey?: string | ((...args: Args) => string) | undefined
  readonly onUnsettled?: "report" | "fail" | undefined
}

/** Every error that a guard adds. The public types omit those that the options exclude. */
export type GuardError = CyclesError | AlreadySettled | LeaseLost | Unsettled

/** Guards an effect. */
export const guard = <A, E, R, Args extends ReadonlyArray<unknown>, R2>(
  engine: Engine,
  self: Effect.Effect<A, E, R>,
  options: Options<A, Args, R2>,
  args: Args
): Effect.Effect<A, E | GuardError, Exclude<R, Reservation> | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(prepareCall(engine, options, args), (prepared) =>
      Effect.flatMap(acquire(engine, restore, prepared), (handle) => {
        const conclude = concluding(engine, restore, handle, options)
        const body = Effect.provideService(Body.start(self), Reservation, viewOf(handle, engine.hooks))
        return Effect.flatMap(body, (fiber) => Effect.flatMap(Body.exitOf(restore, fiber, handle.onLost), conclude))
      })
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// before the body
// ---------------------------------------------------------------------------------------------------------------------

const prepareCall = <A, Args extends ReadonlyArray<unknown>, R>(
  engine: Engine,
  options: Options<A, Args, R>,
  args: Args
) =>
  Effect.suspend(() =>
    prepare(engine.config, engine.makeKey, engine.observer, {
      ...options,
      action: valueOf(options.action, args),
      estimate: valueOf(options.estimate, args),
      subject: valueOf(options.subject, args),
      idempotencyKey: valueOf(options.idempotencyKey, args),
      metadata: valueOf(options.metadata, args)
    })
  )

const valueOf = <A, Args extends ReadonlyArray<unknown>>(value: A | ((...args: Args) => A), args: Args): A =>
  isFunction(value) ? value(...args) : value

const isFunction = <A, Args extends ReadonlyArray<unknown>>(
  value: A | ((...args: Args) => A)
): value is (...args: Args) => A => typeof value === "function"

// ---------------------------------------------------------------------------------------------------------------------
// after the body
// ---------------------------------------------------------------------------------------------------------------------

/** What follows the body. A waiting call keeps only these values, and not the body or the arguments. */
const concluding =
  <A, Args extends ReadonlyArray<unknown>, R>(
    engine: Engine,
    restore: Restore,
    handle: Handle,
    options: Options<A, Args, R>
  ) =>
  <E>(exit: Exit.Exit<A, E>): Effect.Effect<A, E | LeaseLost | Unsettled, R> => {
    if (Exit.isFailure(exit)) {
      const { cause } = exit
      return Effect.flatMap(settleOnce(engine, handle, Plan.forFailure(handle, cause)), (settlement) =>
        Effect.andThen(announce(engine, restore, handle, options.onSettled, settlement), Effect.failCause(cause))
      )
    }
    const { defect, plan, warning } = planResult(handle, options, exit.value)
    // Read before the commit: an extension that fails because of the commit doesn't count as a lost lease.
    const { lost } = handle
    const settled = Effect.flatMap(settleOnce(engine, handle, plan), (settlement) =>
      Effect.flatMap(
        announce(engine, restore, handle, options.onSettled, settlement),
        (): Effect.Effect<A, LeaseLost | Unsettled> => {
          if (defect !== undefined) return Effect.die(defect.thrown)
          if (lost !== undefined && handle.call.policies.heartbeat !== "warn") return Effect.fail(lost)
          return options.onUnsettled === "fail" && !isSettled(settlement)
            ? Effect.fail(new Unsettled({ settlement }))
            : Effect.succeed(exit.value)
        }
      )
    )
    return warning === undefined ? settled : Effect.andThen(Log.warning(warning), settled)
  }

/** Only the guard settles its reservation: the handle of the body has no `commit` and no `release`. */
const settleOnce = (engine: Engine, handle: Handle, plan: Plan.Plan): Effect.Effect<Settlement> =>
  Effect.orDie(settle(engine, handle, plan))

/** The value that a callback threw, or the problem with its result. Thrown after the settlement. */
interface Defect {
  readonly thrown: unknown
}

interface Planned {
  readonly plan: Plan.Commit
  readonly defect?: Defect | undefined
  readonly warning?: string | undefined
}

/** The plan for a result. `actual` runs first, so that a callback for metrics that throws can't lose a known amount. */
const planResult = <A, Args extends ReadonlyArray<unknown>, R>(
  handle: Handle,
  options: Options<A, Args, R>,
  result: A
): Planned => {
  const { actual, metrics } = options
  let plan = Plan.forSuccess(handle)
  let defect: Defect | undefined
  let warning: string | undefined
  if (actual !== undefined) {
    try {
      const amount = Result.getOrThrow(handle.inUnit(typeof actual === "function" ? actual(result) : actual))
      plan = Plan.forSuccess(handle, amount)
      warning = Plan.belowRecorded(handle, amount, plan.actual)
    } catch (thrown) {
      plan = Plan.forUnknown(handle)
      defect = { thrown }
    }
  }
  if (metrics === undefined) return { plan, defect, warning }
  const extras = Extras.encode("commit", () => ({
    metrics: typeof metrics === "function" ? metrics(result) : metrics
  }))
  if (Result.isSuccess(extras)) {
    return { plan: { ...plan, extras: Extras.merge(plan.extras, extras.success) }, defect, warning }
  }
  const { failure } = extras
  return failure._tag === "TooDeep"
    ? { plan, defect, warning: warning ?? tooDeep(handle.id) }
    : { plan, defect: defect ?? { thrown: defectOf(failure) }, warning }
}
