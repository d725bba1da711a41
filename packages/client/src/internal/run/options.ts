/** The options of a run. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { Limits } from "./limits.ts"
import { validate } from "./limits.ts"
import type { Settings } from "./settings.ts"
import type { Snapshot } from "./snapshot.ts"
import { continued } from "./snapshot.ts"
import type { Threshold } from "./summary.ts"

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
   * - `carve`: the budget of the child is held in the parent from the start, and the rest is returned at its end.
   *   `make` fails with `BudgetExceeded` if it doesn't fit.
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
   * With `pause`, the call waits until `raise` makes room, or until the run ends and denies it with `RUN_ENDED`. It
   * holds nothing, and other calls continue. The status of the run is `paused`.
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
   * - `id` must be the id in the snapshot or absent, and `name` is the name in the snapshot by default. A snapshot has
   *   none of the other options.
   * - Without `budget`, the run has the budgets of the snapshot, raises included. Otherwise `budget` applies, with an
   *   amount for each unit that has a budget in the snapshot.
   * - Thresholds that were reached aren't reported again.
   * - A parent is restored from its own snapshot, which contains the snapshots of its children, and a child is restored
   *   from one of those. If the parent doesn't include the spend of a restored child, it is charged to the parent.
   */
  readonly restore?: Snapshot | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// validation
// ---------------------------------------------------------------------------------------------------------------------

/** Adds the defaults. Throws a `RangeError` if an option is out of range. */
export const validated = ({
  budget,
  id,
  limits,
  name,
  restore,
  share = "remaining",
  thresholds = defaultThresholds,
  uncovered = "deny",
  whenExhausted = "deny",
  whenHeld = "deny"
}: Options): Omit<Settings, "onThreshold" | "clock"> => {
  const budgets = budget === undefined || Predicate.isIterable(budget) ? budget : [budget]
  const units = new Set<Amount.Unit>()
  for (const amount of budgets ?? []) {
    if (!Amount.isAmount(amount)) throw new RangeError("budget: expected amounts as Amount.usd and the like make them")
    if (units.has(amount.unit))
      throw new RangeError(`budget: expected at most one for each unit, got two in ${amount.unit}`)
    units.add(amount.unit)
  }
  if (!Predicate.isIterable(thresholds)) {
    throw new RangeError(`thresholds: expected fractions greater than 0, got ${typeof thresholds}`)
  }
  for (const at of thresholds) {
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
    share,
    uncovered,
    limits: validate(limits),
    whenExhausted,
    whenHeldMs: whenHeld === "deny" ? undefined : waitOf(whenHeld.wait),
    thresholds: Array.from(new Set(thresholds)).toSorted((a, b) => a - b)
  }
}

const defaultThresholds: ReadonlyArray<number> = [0.8, 0.95]

const waitOf = (wait: Duration.Input): number => {
  const duration = Duration.fromInput(wait)
  const ms = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  if (!(ms >= 0)) throw new RangeError("whenHeld: expected a duration of at least 0")
  return ms
}
