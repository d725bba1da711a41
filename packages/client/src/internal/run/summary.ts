/** The plain values that a run returns: its summary and the thresholds that it has reached. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"

/**
 * The id and the name of a run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reference {
  /** The id. */
  readonly id: string
  /** The name. */
  readonly name: string
}

/**
 * The spend of a run in one unit. It includes the spend of its children.
 *
 * @category models
 * @since 0.1.0
 */
export interface BudgetSummary {
  /** The unit. */
  readonly unit: Unit
  /** The budget of the run in this unit. Absent if it has none. */
  readonly allocated: Amount | undefined
  /** The spent amount. Spend that the server hasn't confirmed yet is included. */
  readonly charged: Amount
  /** The estimates of guarded calls that run now, and the unspent budgets of children that are carved out. */
  readonly held: Amount
  /** `allocated` less `charged` and `held`, at least 0. Absent if the run has no budget in this unit. */
  readonly remaining: Amount | undefined
}

/**
 * The usage of the guarded calls of a run, for one action and unit. It excludes the calls of its children, which have
 * their own lines.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  /** The action, without tags. */
  readonly action: Action
  /** The unit. A call that is guarded in two units is in the lines of both. */
  readonly unit: Unit
  /** The number of guarded calls that the run and the server have admitted, and of charged events. */
  readonly calls: number
  /** The number of denied calls, and of streams that were cut because the budget was used up. */
  readonly denied: number
  /** The number of denials that a client in shadow mode didn't enforce. The other columns don't include these calls. */
  readonly wouldDeny: number
  /** The number of calls that run now. */
  readonly open: number
  /** The sum of the estimates of admitted calls. Events have none. */
  readonly estimated: bigint
  /** The spent amount. Spend that the server hasn't confirmed yet is included. */
  readonly charged: bigint
  /** The number of calls whose charge the server hasn't confirmed, or has rejected. */
  readonly uncertain: number
  /** The milliseconds that all ended calls took together, from their admission to the end of their bodies. */
  readonly latencyMs: number
  /** The milliseconds of the slowest ended call. */
  readonly maxLatencyMs: number
}

/**
 * The state of a run and its children.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** The id of the run. */
  readonly id: string
  /** The name of the run. */
  readonly name: string
  /** Whether the run still admits guarded calls. */
  readonly status: "running" | "paused" | "ended"
  /** The milliseconds since the start of the run, until its end. */
  readonly elapsedMs: number
  /** The spend in each unit that has a budget or that was used, children included. */
  readonly budgets: ReadonlyArray<BudgetSummary>
  /** The calls of the run for each action and unit, in the order of their first calls; children excluded. */
  readonly lines: ReadonlyArray<Line>
  /** The number of guarded calls that the run and the server admitted, and of charged events; children excluded. */
  readonly calls: number
  /**
   * The number of guarded calls that the run, a run around it or the server denied, and of streams that were cut
   * because the budget was used up; children excluded.
   */
  readonly denials: number
  /**
   * The number of denials that a client in shadow mode didn't enforce; children excluded. These calls ran, but they
   * count neither as `calls` nor as spend, so that the run denies the same calls as in enforcement.
   */
  readonly wouldDeny: number
  /** The number of calls whose charge the server hasn't confirmed, or has rejected; children excluded. */
  readonly uncertain: number
  /** The number of steps: calls of language models, children included. See `Limits.steps`. */
  readonly steps: number
  /** The number of tool calls, children included. See `Limits.toolCalls`. */
  readonly toolCalls: number
  /** The code of the denial that stopped the job. Absent if it wasn't stopped. Only `Run.outcome` sets it. */
  readonly stoppedBy: string | undefined
  /** The units that were used although neither this run nor a run around it has a budget in them. */
  readonly uncovered: ReadonlyArray<Unit>
  /** The runs that were made within this run, in order. */
  readonly children: ReadonlyArray<Summary>
}

/**
 * A fraction of a budget that a run has spent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Threshold {
  /** The fraction from the option `thresholds`, such as 0.8. */
  readonly at: number
  /** The spent amount, children included. */
  readonly charged: Amount
  /** The budget of the run in the same unit. */
  readonly allocated: Amount
  /** The run. */
  readonly run: Reference
}
