/**
 * Guarding an effect: reserve, run the body, settle by how it ended. One mask; only the reserve's waiting and the body can
 * be interrupted.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { AlreadySettled, CyclesError } from "../../CyclesError.ts"
import type { Given, LeaseOptions, Metadata, OnUnsettled } from "../../GuardOptions.ts"
import type { LeaseLost, Policy } from "../../Heartbeat.ts"
import { Reservation } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import { isSettled, Unsettled } from "../../Settlement.ts"
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import type { Held } from "../reservation/handle.ts"
import { inUnit } from "../reservation/handle.ts"
import * as Prepare from "../reservation/options.ts"
import * as Reserve from "./acquire.ts"
import * as Settle from "../settlement/settle.ts"

/** The options of both forms of `withCycles`, without their type-level refinements. */
export interface Options<A, Args extends ReadonlyArray<unknown>> extends LeaseOptions {
  readonly action: Given<Action, Args>
  readonly estimate: Given<Amount.Amount, Args>
  readonly actual?: Amount.Amount | ((result: A) => Amount.Amount) | undefined
  readonly subject?: Given<Subject, Args> | undefined
  readonly idempotencyKey?: Given<string, Args> | undefined
  readonly metadata?: Given<Metadata, Args> | undefined
  readonly metrics?: Metrics | ((result: A) => Metrics) | undefined
  readonly heartbeat?: Policy | undefined
  readonly onUnsettled?: OnUnsettled | undefined
}

/** Everything a guard can fail with, besides the body. The public types leave out what the options rule out. */
export type GuardError = CyclesError | AlreadySettled | LeaseLost | Unsettled

/** Guards an effect; the settlement comes with the result. */
export const guard = <A, E, R, Args extends ReadonlyArray<unknown>>(
  engine: Engine,
  self: Effect.Effect<A, E, R>,
  options: Options<A, Args>,
  args: Args
): Effect.Effect<readonly [Settlement, A], E | GuardError, Exclude<R, Reservation>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(prepare(engine, options, args), (prepared) =>
      Effect.flatMap(Reserve.open(engine, restore, prepared), (held) => {
        const body = Effect.provideService(self, Reservation, held.handle)
        const exit = held.onLost === undefined ? Effect.exit(restore(body)) : cancellable(restore, body, held.onLost)
        return Effect.flatMap(exit, (exit) => conclude(engine, held, options, exit))
      })
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// before
// ---------------------------------------------------------------------------------------------------------------------

const prepare = <A, Args extends ReadonlyArray<unknown>>(engine: Engine, options: Options<A, Args>, args: Args) =>
  Effect.suspend(() =>
    Prepare.prepare(engine, {
      ...options,
      action: given(options.action, args),
      estimate: given(options.estimate, args),
      subject: given(options.subject, args),
      idempotencyKey: given(options.idempotencyKey, args),
      metadata: given(options.metadata, args)
    })
  )

const given = <A, Args extends ReadonlyArray<unknown>>(value: A | ((...args: Args) => A), args: Args): A =>
  isFunction(value) ? value(...args) : value

const isFunction = <A, Args extends ReadonlyArray<unknown>>(
  value: A | ((...args: Args) => A)
): value is (...args: Args) => A => typeof value === "function"

// ---------------------------------------------------------------------------------------------------------------------
// the body
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs the body in a fiber of its own, so that losing the lease can stop it without interrupting the caller: the result is
 * then the failure `LeaseLost`.
 */
const cancellable = <A, E, R>(
  restore: <A1, E1, R1>(effect: Effect.Effect<A1, E1, R1>) => Effect.Effect<A1, E1, R1>,
  body: Effect.Effect<A, E, R>,
  onLost: Deferred.Deferred<LeaseLost>
): Effect.Effect<Exit.Exit<A, E | LeaseLost>, never, R> =>
  Effect.flatMap(Effect.forkChild(body, { startImmediately: true }), (fiber) =>
    Effect.flatMap(Effect.exit(restore(Effect.raceFirst(Fiber.await(fiber), Deferred.await(onLost)))), (winner) =>
      Effect.flatMap(Fiber.interrupt(fiber), () =>
        Effect.map(Fiber.await(fiber), (exit): Exit.Exit<A, E | LeaseLost> => {
          if (Exit.isFailure(winner)) return Exit.isSuccess(exit) ? Exit.failCause(winner.cause) : exit
          const isLost = !Exit.isExit(winner.value)
          return isLost && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.fail(winner.value) : exit
        })
      )
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// after
// ---------------------------------------------------------------------------------------------------------------------

const conclude = <A, E, Args extends ReadonlyArray<unknown>>(
  engine: Engine,
  held: Held,
  options: Options<A, Args>,
  exit: Exit.Exit<A, E>
): Effect.Effect<readonly [Settlement, A], E | LeaseLost | Unsettled> => {
  if (Exit.isFailure(exit)) {
    return Effect.andThen(
      Settle.settle(engine, held, Settle.planFailure(held, exit.cause)),
      Effect.failCause(exit.cause)
    )
  }
  const [plan, defect] = planResult(held, options, exit.value)
  return Effect.flatMap(
    Settle.settle(engine, held, plan),
    (settlement): Effect.Effect<readonly [Settlement, A], LeaseLost | Unsettled> => {
      if (defect !== undefined) return Effect.die(defect.thrown)
      if (held.lost !== undefined && held.prepared.heartbeat !== "warn") return Effect.fail(held.lost)
      return options.onUnsettled === "fail" && !isSettled(settlement)
        ? Effect.fail(new Unsettled({ settlement }))
        : Effect.succeed([settlement, exit.value] as const)
    }
  )
}

/** What a function of the user's has thrown, or what is wrong with what it gave. */
interface Defect {
  readonly thrown: unknown
}

/**
 * The plan for a result, and a defect that is raised after the settlement, since something was spent. The amount comes
 * first: what is known of the spend is not lost to what is told beside it.
 */
const planResult = <A, Args extends ReadonlyArray<unknown>>(
  held: Held,
  options: Options<A, Args>,
  result: A
): readonly [Settle.Commit, Defect | undefined] => {
  const { actual, metrics } = options
  let plan = Settle.planSuccess(held)
  let defect: Defect | undefined
  if (actual !== undefined) {
    try {
      const told = typeof actual === "function" ? actual(result) : actual
      const amount = Result.getOrThrow(inUnit(held.prepared.request.estimate.unit, told))
      plan = { ...plan, actual: amount, isEstimated: false }
    } catch (thrown) {
      plan = Settle.planEstimate(held)
      defect = { thrown }
    }
  }
  try {
    const told = typeof metrics === "function" ? metrics(result) : metrics
    if (told !== undefined) plan = { ...plan, metrics: { ...held.metrics, ...told } }
  } catch (thrown) {
    defect ??= { thrown }
  }
  const problem = Encode.problemOfCommit(held.prepared, plan)
  if (problem === undefined) return [plan, defect]
  return [{ ...plan, metrics: undefined }, defect ?? { thrown: problem }]
}
