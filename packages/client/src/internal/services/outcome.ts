/** Runs a job within its own run, and returns how it ended. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { CyclesError } from "../../CyclesError.ts"
import { BudgetExceeded } from "../../CyclesError.ts"
import { TypeId } from "../run/current.ts"
import type { Ledger } from "../run/ledger.ts"
import type { Options } from "../run/options.ts"
import type { Summary } from "../run/summary.ts"
import type { Cycles } from "./cycles.ts"
import type { Fails, Needs } from "./openRun.ts"
import { runInNew } from "./openRun.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

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
// outcome
// ---------------------------------------------------------------------------------------------------------------------

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
  Effect.gen(function* () {
    const { exit, run } = yield* runInNew(self, options)
    const ledger = run[TypeId]
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
