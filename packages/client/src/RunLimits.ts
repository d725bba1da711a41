/**
 * Counts steps and tool calls in the current run, for guards of models and tools. `@effect-cycles/ai` counts by itself;
 * use this module to count the calls of another library.
 *
 * **Details**
 *
 * - The limits are the option `limits` of `Run.make`, `Run.outcome` and `Cycles.withBudget`.
 * - A check and its count are one synchronous step over the current run and all runs around it, so parallel calls
 *   can't exceed a limit.
 * - Without a run, everything is allowed and nothing is counted.
 *
 * **Example** (Counting the steps of your own client)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Run, RunLimits } from "effect-cycles"
 *
 * const ask = (prompt: string) =>
 *   Effect.gen(function* () {
 *     const step = yield* RunLimits.takeStep({ kind: "llm.completion", name: "openai:gpt-5" })
 *     return step.isLast() ? `The last response to ${prompt}` : `A response to ${prompt}`
 *   })
 *
 * export const program = Effect.gen(function* () {
 *   const outcome = yield* Run.outcome(Effect.forEach(["one", "two", "three"], ask), { limits: { steps: 2 } })
 *   yield* Console.log(outcome._tag === "Stopped" ? outcome.by.code : outcome._tag)
 * })
 * ```
 *
 * @since 0.1.0
 */
import type { Action } from "@effect-cycles/protocol/Action"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Mode } from "./CyclesConfig.ts"
import type { BudgetExceeded } from "./CyclesError.ts"
import { CurrentRun, CurrentStep, TypeId } from "./internal/run/current.ts"
import type { Step } from "./internal/run/limits.ts"
import { report } from "./internal/runtime/unenforced.ts"

export type {
  /** A counted call of a language model. */
  Step
} from "./internal/run/limits.ts"

/**
 * The options of a count.
 *
 * @category options
 * @since 0.1.0
 */
export interface CountOptions {
  /**
   * The mode of the client that guards the call, as in `Cycles.mode`. In `shadow` nothing is denied: a call beyond a
   * limit is logged and counted as a denial that isn't enforced. Default `enforce`.
   */
  readonly mode?: Mode | undefined
}

/**
 * Counts a call of a language model as a step. Call it right before the reserve, and `Step.giveBack` if the provider
 * isn't asked in the end.
 *
 * **Details**
 *
 * In shadow mode no step is the last one.
 *
 * **Errors**
 *
 * `BudgetExceeded` with the code `RUN_STEPS_EXCEEDED`, or `RUN_ENDED` if the run or a run around it has ended.
 *
 * @category limits
 * @since 0.1.0
 */
export const takeStep = (action: Action, options?: CountOptions): Effect.Effect<Step, BudgetExceeded> =>
  Effect.flatMap(CurrentRun, (run) => {
    if (run === undefined) return Effect.succeed(uncounted)
    const isEnforced = options?.mode !== "shadow"
    const step = run[TypeId].takeStep(action, isEnforced)
    if (!("_tag" in step)) return Effect.succeed(isEnforced ? step : { ...step, isLast: () => false })
    return isEnforced ? Effect.fail(step) : Effect.as(report("run", step), uncounted)
  })

/**
 * Counts a call of a tool, by its name and its encoded parameters. Call it right before the tool runs.
 *
 * Parameters that have no JSON, such as cyclic ones, are never counted as repeated.
 *
 * **Errors**
 *
 * `BudgetExceeded` with the code `RUN_TOOL_CALLS_EXCEEDED` or `RUN_REPEATED_CALL`, or `RUN_ENDED` if the run or a run
 * around it has ended.
 *
 * @category limits
 * @since 0.1.0
 */
export const takeToolCall = (
  tool: string,
  params: unknown,
  options?: CountOptions
): Effect.Effect<void, BudgetExceeded> =>
  Effect.flatMap(CurrentRun, (run) => {
    const isEnforced = options?.mode !== "shadow"
    const denial = run?.[TypeId].takeToolCall({ tool, params }, isEnforced)
    if (denial === undefined) return Effect.void
    return isEnforced ? Effect.fail(denial) : report("run", denial)
  })

/**
 * Marks the guarded calls and the charged events (`Cycles.event`) of an effect as calls of a step. The number of the
 * step is in the metadata `step` of their reservations, and in the events of the run. Other calls belong to the latest
 * step of their run.
 *
 * @category limits
 * @since 0.1.0
 */
export const withinStep: {
  (step: Step): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, step: Step): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, step: Step): Effect.Effect<A, E, R> =>
  Effect.provideService(self, CurrentStep, step.number)
)

/** The step of a call without a run. */
const uncounted: Step = {
  number: 0,
  isLast: () => false,
  allowMore: () => undefined,
  countToolCall: () => undefined,
  giveBack: () => undefined
}
