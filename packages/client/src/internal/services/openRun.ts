/** Opens a run: makes its ledger, and reserves its budgets with `hold`. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import type { ReserveOptions } from "../models/guardOptions.ts"
import { handleOf } from "../reservation/view.ts"
import type { Run } from "../run/current.ts"
import { CurrentRun, TypeId } from "../run/current.ts"
import { Ledger } from "../run/ledger.ts"
import { lenderOf } from "../run/lender.ts"
import type { Options } from "../run/options.ts"
import { validated } from "../run/options.ts"
import type { Threshold } from "../run/summary.ts"
import * as Log from "../runtime/log.ts"
import { Cycles } from "./cycles.ts"

/**
 * The requirement of a run: `Cycles` with `hold`, and nothing without it.
 *
 * @category models
 * @since 0.1.0
 */
export type Needs<H> = [H] extends [false] ? never : Cycles

/**
 * The errors of a run that starts: all errors of a reserve with `hold`, and `BudgetExceeded` without it.
 *
 * @category models
 * @since 0.1.0
 */
export type Fails<H> = [H] extends [false] ? BudgetExceeded : CyclesError

/** Opens a run that ends with the current scope. */
export const open = (options: Options): Effect.Effect<Run, CyclesError, Scope.Scope | Cycles> =>
  Effect.gen(function* () {
    const given = validated(options)
    const parent = options.parent === "none" ? undefined : (yield* CurrentRun)?.[TypeId]
    const onThreshold = options.onThreshold === undefined ? undefined : yield* notifier(options.onThreshold)
    const ledger = new Ledger({ ...given, onThreshold, clock: yield* Clock.Clock }, parent)
    yield* Effect.acquireRelease(
      Effect.suspend(() => {
        const denial = ledger.open()
        return denial === undefined ? Effect.void : Effect.fail(denial)
      }),
      () => Effect.sync(() => ledger.end())
    )
    if (options.hold === true) {
      yield* hold(ledger)
      // The run ends before its reservations are settled.
      yield* Effect.addFinalizer(() => Effect.sync(() => ledger.end()))
    }
    return fromLedger(ledger)
  })

/**
 * Runs an effect within a new run that ends with it, and returns how the effect ended. Fails if the run can't start.
 *
 * The scope of the run isn't the `Scope` of the effect.
 */
export const runInNew = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: Options
): Effect.Effect<{ readonly exit: Exit.Exit<A, E>; readonly run: Run }, CyclesError, R | Cycles> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const run = yield* Effect.onError(restore(Scope.provide(open(options), scope)), (cause) =>
        Scope.close(scope, Exit.failCause(cause))
      )
      const exit = yield* Effect.exit(restore(Effect.provideService(self, CurrentRun, run)))
      yield* Scope.close(scope, exit)
      return { exit, run }
    })
  )

/** Reserves the budgets that no run around this one holds. */
const hold = Effect.fnUntraced(function* (ledger: Ledger) {
  const cycles = yield* Cycles
  for (const { allocated, charged } of ledger.budgets.summary()) {
    // A restored run has spent a part of its budget already.
    if (allocated === undefined || allocated.amount <= charged.amount) continue
    const estimate = Amount.make(allocated.unit, allocated.amount - charged.amount)
    if (lenderOf(ledger, estimate.unit) !== undefined) continue
    const options: ReserveOptions & { readonly isRunHold: true } = {
      action: { kind: "agent.run", name: ledger.reference.name.slice(0, 256) },
      estimate,
      metadata: { run_id: ledger.id },
      ttl: holdLease,
      extendBy: holdLease,
      heartbeat: "warn",
      onFailure: "partial",
      onCrash: "recorded",
      nested: "independent",
      isRunHold: true
    }
    const reservation = yield* Effect.catchTag(cycles.reserve(options), "AlreadySettled", Effect.die)
    const handle = handleOf(reservation)
    if (handle?.id !== undefined) ledger.lenders.set(estimate.unit, handle)
  }
})

const holdLease = "10 minutes"

const fromLedger = (ledger: Ledger): Run => ({
  [TypeId]: ledger,
  id: ledger.id,
  isIdGenerated: ledger.settings.isIdGenerated,
  name: ledger.reference.name,
  remaining: (unit) => Effect.sync(() => Option.fromUndefinedOr(ledger.budgets.remaining(unit))),
  remainingShare: (unit) => Effect.sync(() => Option.fromUndefinedOr(ledger.budgets.remainingShare(unit))),
  spent: (unit) => Effect.sync(() => ledger.budgets.spent(unit)),
  held: (unit) => Effect.sync(() => ledger.budgets.held(unit)),
  raise: (by) =>
    Effect.suspend(() => {
      const denial = ledger.raise(by)
      return denial === undefined ? Effect.void : Effect.fail(denial)
    }),
  summary: Effect.sync(() => ledger.summary()),
  snapshot: Effect.sync(() => ledger.snapshot()),
  events: ledger.events
})

/** Returns a function that starts the callback in the current scope. */
const notifier = (
  onThreshold: (reached: Threshold) => Effect.Effect<void>
): Effect.Effect<(reached: Threshold) => void, never, Scope.Scope> =>
  Effect.map(FiberSet.makeRuntime<never, void, never>(), (start) => (reached) => {
    start(
      Effect.catchCause(
        Effect.suspend(() => onThreshold(reached)),
        (cause) => Log.error(`onThreshold of the run ${reached.run.name} died`, cause)
      )
    )
  })
