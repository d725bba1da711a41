/**
 * Runs: one budget for a whole job, shared by every guarded call inside it.
 *
 * **Details**
 *
 * - A run is ambient: `within` sets it for an effect, `withinStream` for a stream, and forked fibers inherit it. It
 *   limits every guard inside: `withCycles`, `withCyclesStream`, `reserve`, and the models, tools and embeddings of
 *   `@effect-cycles/ai`, even if their Layer was built outside the run.
 * - The estimate is checked and held in the run, and in every run around it, before a request is sent. Parallel calls
 *   can't use the same room twice. A call that doesn't fit fails with `BudgetExceeded`, and the server gets no request.
 * - When a call ends, its estimate is returned and its actual cost is charged to the run. The run counts the actual cost
 *   even if the server charges less, or hasn't confirmed the charge yet.
 * - A run made within another run is its child. With `share: "remaining"` it shares the budget of its parent; with
 *   `share: "carve"` its budget is set aside in the parent from the start.
 * - Tokens and dollars measure the same spend. A guard in one of them fails with the code `RUN_UNCOVERED` if the runs
 *   have budgets only in the other. Other units without a budget aren't limited: the summary lists them, and the run
 *   logs one warning for each.
 * - The summary has what was spent: by unit, and by action for the run and each child. `format` makes a table of it.
 *
 * - A run also limits steps, tool calls and repeated tool calls, which `@effect-cycles/ai` counts. See `Limits`.
 * - A client in shadow mode denies nothing: the summary counts its denials as `wouldDeny`.
 *
 * The codes of denials are `RUN_BUDGET_EXCEEDED`, `RUN_UNCOVERED`, `RUN_STEPS_EXCEEDED`, `RUN_TOOL_CALLS_EXCEEDED`,
 * `RUN_REPEATED_CALL` and `RUN_ENDED`. The field `run` of the error has the run that denied the call.
 *
 * **Gotchas**
 *
 * - The ledger of a run is in the memory of this process. A job that spans processes, or that must not start at zero
 *   after a crash, needs a budget on the server.
 * - Fibers that are forked inside a run keep it after its end, and are denied. Start a service that outlives the run
 *   with `outside`.
 * - A run keeps the summaries of its children. Make the runs of a service that doesn't end with `parent: "none"`.
 * - A dry run is checked against the run and isn't counted. An event with a repeated idempotency key is counted again.
 *
 * **Example** (A budget for a job, and a part of it for a helper)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Amount, Cycles, Run } from "effect-cycles"
 *
 * const ask = (prompt: string) =>
 *   Effect.succeed({ text: `You said: ${prompt}`, tokens: 42 }).pipe(
 *     Cycles.withCycles({
 *       action: { kind: "llm.completion", name: "openai:gpt-5" },
 *       estimate: Amount.tokens(1_000),
 *       actual: (reply) => Amount.tokens(reply.tokens)
 *     })
 *   )
 *
 * export const job = Effect.scoped(
 *   Effect.gen(function* () {
 *     const run = yield* Run.make({ name: "report", budget: Amount.tokens(20_000) })
 *     const report = yield* Effect.gen(function* () {
 *       const notes = yield* ask("Collect").pipe(
 *         Cycles.withBudget(Amount.tokens(5_000), { name: "notes", share: "carve" })
 *       )
 *       return yield* ask(`Summarize ${notes.text}`)
 *     }).pipe(Run.within(run))
 *     yield* Console.log(`${yield* run.spent("TOKENS")} spent`)
 *     return report.text
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesError } from "./CyclesError.ts"
import { BudgetExceeded } from "./CyclesError.ts"
import type { ReserveOptions } from "./internal/models/guardOptions.ts"
import { handleOf } from "./internal/reservation/view.ts"
import type { Run } from "./internal/run/current.ts"
import { CurrentRun, TypeId } from "./internal/run/current.ts"
import { Ledger } from "./internal/run/ledger.ts"
import { lenderOf } from "./internal/run/lender.ts"
import type { Limits } from "./internal/run/limits.ts"
import { validate } from "./internal/run/limits.ts"
import type { Snapshot } from "./internal/run/snapshot.ts"
import { continued } from "./internal/run/snapshot.ts"
import type { Summary, Threshold } from "./internal/run/summary.ts"
import * as Log from "./internal/runtime/log.ts"
import { Cycles } from "./internal/services/cycles.ts"

export {
  /** Returns how fast a run and its children spend now, compared with before. */
  burnRate
} from "./internal/run/burnRate.ts"

export {
  /** Formats a summary as a table. */
  format
} from "./internal/run/format.ts"

export {
  /** Codec of a summary and its JSON. */
  SummaryJson
} from "./internal/run/json.ts"

export {
  /** The state of a run for the option `restore`, and its schema. */
  Snapshot
} from "./internal/run/snapshot.ts"

export {
  /** The run of the current fiber. Default: none. */
  CurrentRun
} from "./internal/run/current.ts"

export type {
  /** A budget for a whole job. */
  Run
} from "./internal/run/current.ts"

export type {
  /** How fast a run spends in one unit. */
  BurnRate
} from "./internal/run/burnRate.ts"

export type {
  /** The spend of a run in one unit, in a snapshot. */
  SnapshotBudget,
  /** The steps and tool calls of a run, in a snapshot. */
  SnapshotCounts,
  /** The calls of a run for one action and unit, in a snapshot. */
  SnapshotLine
} from "./internal/run/snapshot.ts"

export type {
  /** What happens in a run or in one of its children. */
  Event
} from "./internal/run/events.ts"

export type {
  /** The limits of a run. */
  Limits
} from "./internal/run/limits.ts"

export type {
  /** The spend of a run in one unit. */
  BudgetSummary,
  /** The calls of a run for one action and unit. */
  Line,
  /** The id and the name of a run. */
  Reference,
  /** The state of a run and its children. */
  Summary,
  /** A fraction of a budget that a run has spent. */
  Threshold
} from "./internal/run/summary.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of a run.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<H extends boolean = boolean> {
  /** The name in denials, as in `run:flights`. Not empty. Default: `run`. */
  readonly name?: string | undefined
  /**
   * The id, which is the metadata `run_id` of each reservation. Not empty. Default: a random UUID.
   *
   * A call with a caller-supplied idempotency key doesn't send a random id, because a repeated request must be the same
   * as the first one. If a job may run again with the same keys, give it the same id again.
   */
  readonly id?: string | undefined
  /** The budget, or at most one budget for each unit. Default: none; the run then only counts. */
  readonly budget?: Amount.Amount | ReadonlyArray<Amount.Amount> | undefined
  /** The highest numbers of steps and tool calls. Default: none. */
  readonly limits?: Limits | undefined
  /** The parent: the run of the current fiber, or none. Default: `ambient`. */
  readonly parent?: "ambient" | "none" | undefined
  /**
   * How a child uses the budget of its parent. Without a parent it has no effect. Default: `remaining`.
   *
   * - `remaining`: a call needs room in the child and in its parent. Nothing is set aside, so children compete for the
   *   budget of their parent.
   * - `carve`: the budget of the child is held in the parent from the start, and the rest is returned at its end. `make`
   *   fails with `BudgetExceeded` if it doesn't fit.
   */
  readonly share?: "remaining" | "carve" | undefined
  /**
   * Whether the run reserves its budgets on the server for its whole life, in one reservation for each unit. Default:
   * false.
   *
   * **Details**
   *
   * - `make` fails if the server denies it. `Cycles` is in the requirements.
   * - Each guard in the run draws on the reservation and sends nothing. A guard that doesn't fit into the rest of it
   *   makes its own reservation.
   * - The end of the run commits the sum. Its metadata has the calls by action, as `joined_calls`.
   * - A child with `hold` draws on the reservation of the nearest run around it that holds the unit.
   * - The action is `agent.run` with the name of the run, so caps and policies are those of that action.
   *
   * **Gotchas**
   *
   * The lease is extended by 10 minutes each time. A tenant allows 10 extensions by default: after 110 minutes, guards
   * make their own reservations again. If the process crashes, the spent amount is committed from a durable journal.
   */
  readonly hold?: H | undefined
  /**
   * What happens to a guard in tokens if the runs around it have budgets in dollars only, and the reverse. Default:
   * `deny`.
   *
   * - `deny`: the guard fails with the code `RUN_UNCOVERED`, since the budget would be ignored.
   * - `allow`: the spend is counted and not limited.
   *
   * It applies to the budgets of this run. A child can't allow what its parent denies.
   */
  readonly uncovered?: "deny" | "allow" | undefined
  /**
   * What happens to a call that doesn't fit only because of held amounts, which are returned when other calls end.
   * Default: `deny`.
   *
   * **Details**
   *
   * With `wait`, the call waits at most this long for room, and is then denied. Waiting calls are admitted in order and
   * hold nothing. A later call in the same unit waits behind them, even if it fits.
   *
   * **Gotchas**
   *
   * - A call inside the body of an open guard never waits, since that guard may hold the room. It is denied.
   * - Reserve several units in the same order everywhere, as guarded models with `units: "both"` do.
   */
  readonly whenHeld?: "deny" | { readonly wait: Duration.Input } | undefined
  /**
   * What happens to a call that doesn't fit into the rest of the budget, even if nothing is held. Default: `deny`.
   *
   * With `pause`, the call waits until `raise` makes room, or until the run ends and denies it with the code `RUN_ENDED`. It holds
   * nothing, and other calls go on. The status of the run is `paused`.
   *
   * Neither option applies to a carved budget that doesn't fit: `make` fails at once.
   */
  readonly whenExhausted?: "deny" | "pause" | undefined
  /** The fractions of each budget that `onThreshold` reports, greater than 0. Default: 0.8 and 0.95. */
  readonly thresholds?: ReadonlyArray<number> | undefined
  /**
   * Runs once for each threshold and unit, when the charged amount reaches it. It runs in a fiber in the scope of the
   * run, so the end of the run interrupts it. A defect is logged, and changes nothing.
   */
  readonly onThreshold?: ((reached: Threshold) => Effect.Effect<void>) | undefined
  /**
   * The state of an earlier process to continue from: see `Run.snapshot`. Default: none; the run starts at 0.
   *
   * - `id` must be the id in the snapshot or absent, and `name` is the name in the snapshot by default. All other options
   *   aren't in a snapshot.
   * - Without `budget`, the run has the budgets of the snapshot, raises included. Otherwise `budget` applies, with an amount
   *   for each unit that has a budget in the snapshot.
   * - Thresholds that were reached aren't reported again.
   * - A parent is restored from its own snapshot, which contains the snapshots of its children, and a child is restored from
   *   one of those. If the parent doesn't include the spend of a restored child, it is charged to the parent.
   */
  readonly restore?: Snapshot | undefined
}

/**
 * The options of `outcome`.
 *
 * @category options
 * @since 0.1.0
 */
export interface OutcomeOptions<in E = never, out H extends boolean = boolean> extends Options<H> {
  /** Returns the denial in an error that isn't a `BudgetExceeded`, if it has one. Default: none has. */
  readonly denialOf?: ((error: E) => BudgetExceeded | undefined) | undefined
}

/**
 * How a job ended, with the summary of its run.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<A, E = never> =
  | {
      readonly _tag: "Completed"
      /** The value of the job. */
      readonly value: A
      /** The state of the run at its end. */
      readonly summary: Summary
    }
  | {
      readonly _tag: "Stopped"
      /** The denial that ended the job. */
      readonly by: BudgetExceeded
      /** The state of the run at its end. */
      readonly summary: Summary
    }
  | {
      readonly _tag: "Failed"
      /** Why the job failed. */
      readonly cause: Cause.Cause<E>
      /** The state of the run at its end. */
      readonly summary: Summary
    }

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a run that ends with the current scope. Guards use it inside `within` and `withinStream`.
 *
 * **Details**
 *
 * An ended run denies every new call with the code `RUN_ENDED`. The spend of calls that were open is still counted.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` if two budgets have the same unit, if an option is out of range, or if `restore` isn't a snapshot or
 * doesn't agree with the other options.
 *
 * **Errors**
 *
 * `BudgetExceeded` with `share: "carve"`, if the parent has no room for the budget or has ended. With `hold`, all errors of a
 * reserve.
 *
 * **Example** (Reporting what a run has used)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Amount, Run } from "effect-cycles"
 *
 * export const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const run = yield* Run.make({
 *       name: "flights",
 *       budget: [Amount.usd("2.00"), Amount.riskPoints(50)],
 *       onThreshold: ({ at, charged }) => Console.log(`${at * 100} % used: ${charged}`)
 *     })
 *     const { budgets } = yield* run.summary
 *     for (const { charged, remaining } of budgets) yield* Console.log(`${charged} spent, ${remaining} left`)
 *   })
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export function make<const H extends boolean = false>(
  options: Options<H>
): Effect.Effect<Run, Fails<H>, Scope.Scope | Needs<H>>
export function make(options: Options): unknown {
  return open(options)
}

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

const open = (options: Options): Effect.Effect<Run, CyclesError, Scope.Scope | Cycles> =>
  Effect.gen(function* () {
    const given = validated(options)
    const ambient = options.parent === "none" ? undefined : yield* CurrentRun
    const onThreshold = options.onThreshold === undefined ? undefined : yield* notifier(options.onThreshold)
    const ledger = new Ledger({
      ...given,
      parent: ambient?.[TypeId],
      share: options.share ?? "remaining",
      uncovered: options.uncovered ?? "deny",
      whenExhausted: options.whenExhausted ?? "deny",
      onThreshold,
      clock: yield* Clock.Clock
    })
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

/** Reserves the budgets that no run around this one holds. */
const hold = Effect.fnUntraced(function* (ledger: Ledger) {
  const cycles = yield* Cycles
  for (const { allocated, charged } of ledger.summary().budgets) {
    // A restored run has spent a part of its budget already.
    if (allocated === undefined || allocated.amount <= charged.amount) continue
    const estimate = Amount.make(allocated.unit, allocated.amount - charged.amount)
    if (lenderOf(ledger, estimate.unit) !== undefined) continue
    const options: ReserveOptions & { readonly isRunHold: true } = {
      action: { kind: "agent.run", name: ledger.name.slice(0, 256) },
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
  isIdGenerated: ledger.isIdGenerated,
  name: ledger.name,
  remaining: (unit) => Effect.sync(() => Option.fromUndefinedOr(ledger.remaining(unit))),
  remainingShare: (unit) => Effect.sync(() => Option.fromUndefinedOr(ledger.remainingShare(unit))),
  spent: (unit) => Effect.sync(() => ledger.spent(unit)),
  held: (unit) => Effect.sync(() => ledger.held(unit)),
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

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect within a run: its guards use the budget of the run.
 *
 * @category combinators
 * @since 0.1.0
 */
export const within: {
  (run: Run): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, run: Run): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, run: Run): Effect.Effect<A, E, R> =>
  Effect.provideService(self, CurrentRun, run)
)

/**
 * Runs a stream within a run, even if it is consumed outside.
 *
 * **Gotchas**
 *
 * A stream reserves when it is consumed. One that an effect returns from `within` is consumed outside the run, unless it
 * is wrapped in `withinStream`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withinStream: {
  (run: Run): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, run: Run): Stream.Stream<A, E, R>
} = dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, run: Run): Stream.Stream<A, E, R> =>
  Stream.provideService(self, CurrentRun, run)
)

/**
 * Runs an effect within a new run that ends with it, and returns how it ended and what it used.
 *
 * **Details**
 *
 * - `Stopped`: the effect failed only with denials: of the server, of this run, or of a run around or inside it.
 *   `by.run` is absent if the server denied the call. Denials that the effect handles don't stop it, and neither do
 *   refused tool calls, which the model reads.
 * - `Failed`: the effect failed otherwise, or died. A denial by a run that isn't part of this job, such as one that is
 *   made with `parent: "none"`, is a failure as well.
 * - An interruption remains an interruption.
 * - The options are those of `make` and `denialOf`, which finds a denial in another error: `CyclesAiError.denialOf` for
 *   programs with `effect/ai`.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` as `make` does.
 *
 * **Errors**
 *
 * `BudgetExceeded` with `share: "carve"`, as in `make`. The effect doesn't start then.
 *
 * **Example** (Reporting how a job ended)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Amount, Run } from "effect-cycles"
 *
 * export const report = <E, R>(job: Effect.Effect<string, E, R>) =>
 *   Effect.gen(function* () {
 *     const outcome = yield* Run.outcome(job, {
 *       name: "flights",
 *       budget: Amount.usd("2.00"),
 *       limits: { steps: 12, toolCalls: 30, callsPerTool: { SendEmail: 2 }, repeats: 3 }
 *     })
 *     yield* Console.log(`${outcome.summary.steps} steps`)
 *     switch (outcome._tag) {
 *       case "Completed":
 *         return outcome.value
 *       case "Stopped":
 *         return `Stopped: ${outcome.by.code}`
 *       case "Failed":
 *         return yield* Effect.failCause(outcome.cause)
 *     }
 *   })
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export function outcome<D, const H extends boolean = false>(
  options: OutcomeOptions<D, H>
): <A, E extends D, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Outcome<A, E>, Fails<H>, R | Needs<H>>
export function outcome<A, E, R, const H extends boolean = false>(
  self: Effect.Effect<A, E, R>,
  options: OutcomeOptions<E, H>
): Effect.Effect<Outcome<A, E>, Fails<H>, R | Needs<H>>
export function outcome<A, E, R>(
  first: Effect.Effect<A, E, R> | OutcomeOptions<E>,
  second?: OutcomeOptions<E>
): unknown {
  if (Effect.isEffect(first)) return second === undefined ? undefined : outcomeOf(first, second)
  return (self: Effect.Effect<A, E, R>) => outcomeOf(self, first)
}

const outcomeOf = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: OutcomeOptions<E>
): Effect.Effect<Outcome<A, E>, CyclesError, R | Cycles> =>
  // The scope of the run isn't the `Scope` of the effect.
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const run = yield* Effect.onError(restore(Scope.provide(open(options), scope)), (cause) =>
        Scope.close(scope, Exit.failCause(cause))
      )
      const ledger = run[TypeId]
      const exit = yield* Effect.exit(restore(within(self, run)))
      yield* Scope.close(scope, exit)
      if (Exit.isSuccess(exit)) return { _tag: "Completed", value: exit.value, summary: ledger.summary() } as const
      const { cause } = exit
      if (Cause.hasInterruptsOnly(cause)) {
        return yield* Effect.failCause(
          Cause.fromReasons<never>(cause.reasons.filter((reason) => Cause.isInterruptReason(reason)))
        )
      }
      const stopped = yield* Effect.exit(Effect.sync(() => denialIn(cause, ledger, options.denialOf)))
      if (Exit.isFailure(stopped)) {
        return { _tag: "Failed", cause: Cause.combine(cause, stopped.cause), summary: ledger.summary() } as const
      }
      if (stopped.value === undefined) return { _tag: "Failed", cause, summary: ledger.summary() } as const
      ledger.markStopped(stopped.value)
      return { _tag: "Stopped", by: stopped.value, summary: ledger.summary() } as const
    })
  )

/** The first denial, if a job failed only with denials that concern its run. */
const denialIn = <E>(
  cause: Cause.Cause<E>,
  ledger: Ledger,
  denialOf: OutcomeOptions<E>["denialOf"]
): BudgetExceeded | undefined => {
  let first: BudgetExceeded | undefined
  for (const reason of cause.reasons) {
    if (Cause.isInterruptReason(reason)) continue
    if (Cause.isDieReason(reason)) return undefined
    const denial = reason.error instanceof BudgetExceeded ? reason.error : denialOf?.(reason.error)
    if (denial === undefined || !ledger.isConcernedBy(denial)) return undefined
    first ??= denial
  }
  return first
}

/**
 * Runs an effect without a run, even inside one. Use it to start a service that outlives the run.
 *
 * @category combinators
 * @since 0.1.0
 */
export const outside = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, CurrentRun, undefined)

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

const defaultThresholds: ReadonlyArray<number> = [0.8, 0.95]

const waitOf = (wait: Duration.Input): number => {
  const duration = Duration.fromInput(wait)
  const ms = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  if (!(ms >= 0)) throw new RangeError("whenHeld: expected a duration of at least 0")
  return ms
}

/** Adds the defaults. Throws a `RangeError` if an option is out of range. */
const validated = ({
  budget,
  id,
  limits,
  name,
  restore,
  thresholds = defaultThresholds,
  whenHeld = "deny"
}: Options) => {
  const budgets = budget === undefined || Predicate.isIterable(budget) ? budget : [budget]
  const units = new Set<Amount.Unit>()
  for (const amount of budgets ?? []) {
    if (!Amount.isAmount(amount)) throw new RangeError("budget: expected amounts as Amount.usd and the like make them")
    if (units.has(amount.unit))
      throw new RangeError(`budget: expected at most one for each unit, got two in ${amount.unit}`)
    units.add(amount.unit)
  }
  for (const at of Predicate.isIterable(thresholds) ? thresholds : [thresholds]) {
    if (!(typeof at === "number" && at > 0 && at < Number.POSITIVE_INFINITY)) {
      const got = typeof at === "number" ? at : typeof at
      throw new RangeError(`thresholds: expected fractions greater than 0, got ${got}`)
    }
  }
  for (const [field, value] of [["id", id] as const, ["name", name] as const]) {
    if (value === "") throw new RangeError(`${field}: expected at least one character, got none`)
    if (value !== undefined && typeof value !== "string") throw new RangeError(`${field}: expected a text`)
  }
  const started = {
    id: id ?? globalThis.crypto.randomUUID(),
    isIdGenerated: id === undefined,
    name: name ?? "run",
    budgets: budgets ?? [],
    restore: undefined
  }
  return {
    ...(restore === undefined ? started : continued(restore, { id, name, budgets })),
    limits: validate(limits),
    whenHeldMs: whenHeld === "deny" ? undefined : waitOf(whenHeld.wait),
    thresholds: Array.from(new Set(thresholds)).toSorted((a, b) => a - b)
  }
}
