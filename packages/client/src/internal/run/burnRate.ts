/** How fast a run spends. */
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { durationWithin } from "../config/time.ts"
import type { Run } from "./current.ts"
import { TypeId } from "./current.ts"
import { bucketMs, maxWindowMs } from "./pace.ts"

/**
 * How fast a run spends in one unit.
 *
 * @category models
 * @since 0.1.0
 */
export interface BurnRate {
  /** The spend per minute in the window. */
  readonly perMinute: number
  /** The spend per minute from the start of the run to the start of the window. 0 if the window is longer than the run. */
  readonly baseline: number
  /**
   * The time until the budget is used up at the rate of the window: the least amount that this run or a run
   * around it has left, divided by `perMinute`. None if nothing was spent in the window, or if there is no budget in the
   * unit.
   */
  readonly exhaustedIn: Option.Option<Duration.Duration>
}

/**
 * Returns how fast a run and its children spend now, compared with before.
 *
 * **Details**
 *
 * - `window` is the time that counts as now, from 5 seconds to 1 hour. Default: 1 minute. It starts at a multiple of 5
 *   seconds after the start of the run, so it may be up to 5 seconds shorter.
 * - A run that is younger than the window is measured since its start, and at least over 5 seconds.
 * - Spend counts when a call ends. After the end of the run the result stays the same.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` if the window is out of range.
 *
 * **Example** (Stopping a run that suddenly spends ten times as much)
 *
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { Run } from "effect-cycles"
 *
 * // Fails if the run is out of control. Race it with the work.
 * export const watch = (run: Run.Run) =>
 *   Effect.gen(function* () {
 *     const { baseline, perMinute } = yield* Run.burnRate(run, "USD_MICROCENTS")
 *     if (baseline > 0 && perMinute > 10 * baseline) return yield* Effect.fail("out of control")
 *   }).pipe(Effect.repeat(Schedule.spaced("10 seconds")))
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const burnRate = (
  run: Run,
  unit: Unit,
  options?: { readonly window?: Duration.Input | undefined }
): Effect.Effect<BurnRate> =>
  Effect.sync(() => {
    const windowMs = durationWithin("window", options?.window ?? "1 minute", bucketMs, maxWindowMs)
    const ledger = run[TypeId]
    const { budgets, elapsedMs } = ledger
    const left = budgets.remaining(unit)
    const pace = budgets.paceOf(unit)
    const startMs = Math.max(0, Math.ceil((elapsedMs - windowMs) / bucketMs) * bucketMs)
    const { before, inWindow } = pace?.split(startMs) ?? { before: 0n, inWindow: 0n }
    const perMinute = (Number(inWindow) * minuteMs) / Math.max(elapsedMs - startMs, bucketMs)
    return {
      perMinute,
      baseline: startMs === 0 ? 0 : (Number(before) * minuteMs) / startMs,
      exhaustedIn:
        left === undefined || inWindow === 0n
          ? Option.none()
          : Option.some(Duration.millis(Math.floor((Number(left.amount) / perMinute) * minuteMs)))
    }
  })

const minuteMs = 60_000
