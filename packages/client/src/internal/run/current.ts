/** The run of the current fiber. */
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { BudgetExceeded } from "../../CyclesError.ts"
import type { Event } from "./events.ts"
import type { Ledger } from "./ledger.ts"
import type { Snapshot } from "./snapshot.ts"
import type { Summary } from "./summary.ts"

/** Identifies a run. */
export const TypeId = "~effect-cycles/Run"

/**
 * A budget for a whole job, made by `Run.make`. All amounts include the spend of its children.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  /** Identifies the run, and holds its ledger. */
  readonly [TypeId]: Ledger
  /** The id, as in the metadata `run_id` of the reservations that are made within the run. See `Options.id`. */
  readonly id: string
  /** Whether the id is random, because neither `Options.id` nor a snapshot has one that was chosen. */
  readonly isIdGenerated: boolean
  /** The name, as in the scope `run:<name>` of a denial. */
  readonly name: string
  /**
   * The amount that a guarded call could still reserve: the least that this run or a run around it has left, at least
   * 0. None if none of them has a budget in the unit.
   */
  readonly remaining: (unit: Unit) => Effect.Effect<Option.Option<Amount>>
  /**
   * The share of the budget that is neither spent nor held, from 0 to 1: the least of this run and the runs around it.
   * None if none of them has a budget in the unit.
   */
  readonly remainingShare: (unit: Unit) => Effect.Effect<Option.Option<number>>
  /** The spent amount. It includes spend that the server hasn't confirmed yet. */
  readonly spent: (unit: Unit) => Effect.Effect<Amount>
  /** The estimates of the guarded calls that run now, and the unspent part of carved budgets. */
  readonly held: (unit: Unit) => Effect.Effect<Amount>
  /**
   * Raises the budget in the unit of the amount. Calls that start later can use it.
   *
   * **Details**
   *
   * - The budgets of the runs around it stay the same.
   * - If the run is carved out of its parent, the amount is held there. Fails with `BudgetExceeded` if there is no room
   *   for it.
   * - If the run has a reservation (`hold`), the reservation stays the same. Calls that don't fit into it make
   *   their own.
   *
   * **Gotchas**
   *
   * Dies with a `RangeError` if the run has no budget in this unit.
   */
  readonly raise: (by: Amount) => Effect.Effect<void, BudgetExceeded>
  /** The state of the run and its children, at any time. */
  readonly summary: Effect.Effect<Summary>
  /**
   * The state of the run and its children as JSON, for the option `restore` of a later process. The estimates of calls
   * that are open count as spent.
   *
   * A snapshot is as old as its writing. Write one whenever a call opens: see the guide about runs.
   */
  readonly snapshot: Effect.Effect<Snapshot>
  /**
   * The events of the run and its children from now on. The last one is `Ended` with this run, after which the stream
   * ends. A stream that starts after the end has that event only.
   *
   * **Details**
   *
   * - Spend of calls that are still open at the end of the run isn't in its events. The summary has it.
   * - Each stream has a buffer of 1,024 events. A slower reader loses the oldest events, and never the last one. Use
   *   `onThreshold` for reactions that must not be missed.
   * - A denied call that was held before has the events `Opened` and `Denied`. A cut stream has `Opened`, `Denied` and
   *   `Charged`, and every other call `Opened` and `Charged`.
   */
  readonly events: Stream.Stream<Event>
}

/** The number of the step that calls of the current fiber belong to. Default: the latest step of the run. */
export const CurrentStep: Context.Reference<number | undefined> = Context.Reference<number | undefined>(
  "effect-cycles/Run/CurrentStep",
  { defaultValue: () => undefined }
)

/**
 * The run of the current fiber. Default: none.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentRun: Context.Reference<Run | undefined> = Context.Reference<Run | undefined>(
  "effect-cycles/Run/CurrentRun",
  { defaultValue: () => undefined }
)
