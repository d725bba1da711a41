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
 * - When a call ends, its estimate is returned and its actual cost is charged to the run. The run counts the actual
 *   cost even if the server charges less, or hasn't confirmed the charge yet.
 * - A run made within another run is its child. With `share: "remaining"` it shares the budget of its parent; with
 *   `share: "carve"` its budget is set aside in the parent from the start.
 * - Tokens and dollars measure the same spend. A guard in one of them fails with the code `RUN_UNCOVERED` if the runs
 *   have budgets only in the other. Other units without a budget aren't limited: the summary lists them, and the run
 *   logs one warning for each.
 * - The summary has the spend by unit, and by action for the run and each child. `format` makes a table of it.
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
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Run } from "./internal/run/current.ts"
import { CurrentRun } from "./internal/run/current.ts"
import type { Options } from "./internal/run/options.ts"
import type { Fails, Needs } from "./internal/services/openRun.ts"
import { open } from "./internal/services/openRun.ts"

export {
  /** Returns how fast a run and its children spend now, compared with before. */
  burnRate
} from "./internal/run/burnRate.ts"

export {
  /** Runs an effect within a new run that ends with it, and returns how it ended and what it used. */
  outcome
} from "./internal/services/outcome.ts"

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
  /** The options of a run. */
  Options
} from "./internal/run/options.ts"

export type {
  /** How a job ended, with the summary of its run. */
  Outcome,
  /** The options of `outcome`. */
  OutcomeOptions
} from "./internal/services/outcome.ts"

export type {
  /** The errors of a run that starts: all errors of a reserve with `hold`, and `BudgetExceeded` without it. */
  Fails,
  /** The requirement of a run: `Cycles` with `hold`, and nothing without it. */
  Needs
} from "./internal/services/openRun.ts"

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
 * Dies with a `RangeError` if two budgets have the same unit, if an option is out of range, or if `restore` isn't a
 * snapshot or doesn't agree with the other options.
 *
 * **Errors**
 *
 * `BudgetExceeded` with `share: "carve"`, if the parent has no room for the budget or has ended. With `hold`, all
 * errors of a reserve.
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
 * A stream reserves when it is consumed. One that an effect returns from `within` is consumed outside the run, unless
 * it is wrapped in `withinStream`.
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
 * Runs an effect without a run, even inside one. Use it to start a service that outlives the run.
 *
 * @category combinators
 * @since 0.1.0
 */
export const outside = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, CurrentRun, undefined)
