/**
 * Activities of `effect/workflow` under a guard: one commit for each activity, however often its workflow is replayed.
 *
 * **Details**
 *
 * - The idempotency key is `Activity.idempotencyKey` of the name and the attempt, so every replay of an attempt has the
 *   same key, and `Activity.retry` has a new one for each attempt.
 * - The engine stores the spend with the result. A replay reads both from the engine: it sends no request, and adds the
 *   spend to the run of the workflow, so that the run has the same budget left as before.
 *
 * **Gotchas**
 *
 * - Make a run in a workflow body with `parent: "none"`. The engine may resume a workflow from a fiber whose current
 *   run belongs to an earlier execution of the body, and has ended.
 * - Don't wait for a `DurableClock` or a `DurableDeferred` inside an activity: the suspension interrupts the guard, and
 *   the body runs again.
 * - The error schema of the workflow has to contain the errors of the guard; see `GuardError`.
 * - A cluster may run an activity in another process, which doesn't have the run of the workflow. Its spend is added to
 *   the run afterwards, so only the budgets of the server limit it while it runs.
 * - If the process is killed during an attempt, the spend of the attempt isn't added to the run when the workflow
 *   resumes.
 *
 * @since 0.1.0
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Unit } from "@effect-cycles/protocol/Amount"
import { Amount } from "@effect-cycles/protocol/Amount"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Activity from "effect/workflow/Activity"
import type { WorkflowEngine, WorkflowInstance } from "effect/workflow/WorkflowEngine"
import { Cycles } from "../Cycles.ts"
import * as CyclesError from "../CyclesError.ts"
import type { Heartbeat } from "../Heartbeat.ts"
import { LeaseLost } from "../Heartbeat.ts"
import type { GuardOptions, OnRepeat } from "../internal/models/guardOptions.ts"
import { CurrentRun, CurrentStep, TypeId } from "../internal/run/current.ts"
import type { Ledger } from "../internal/run/ledger.ts"
import { chargeEvent } from "../internal/run/uncovered.ts"
import type { Reservation } from "../Reservation.ts"
import type { Settlement } from "../Settlement.ts"
import { Unsettled } from "../Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Every error that the guard of an activity adds. Add it to the error schema of the workflow.
 *
 * @category schemas
 * @since 0.1.0
 */
export const GuardError = Schema.Union([
  CyclesError.BudgetExceeded,
  CyclesError.ApiError,
  CyclesError.TransportError,
  CyclesError.ProtocolError,
  CyclesError.InvalidRequest,
  CyclesError.AlreadySettled,
  LeaseLost,
  Unsettled
])

/**
 * Every error that the guard of an activity adds.
 *
 * @category models
 * @since 0.1.0
 */
export type GuardError = typeof GuardError.Type

/**
 * The options of the guard of an activity: those of `Cycles.withCycles`, except the key, which the activity makes.
 *
 * @category options
 * @since 0.1.0
 */
export interface Guard<A, U extends Unit = Unit, R = never> extends Omit<
  GuardOptions<A, [], U, Heartbeat, "report" | "fail", string, R>,
  "idempotencyKey" | "onRepeat" | "action"
> {
  /**
   * The action: a kind such as `llm.completion` (at most 64 characters) and a name such as `openai:gpt-5` (at most
   * 256).
   */
  readonly action: Action
}

/**
 * The options of `make`. `A` and `E` are the types of the schemas.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<A, E, R, U extends Unit, R2, SuccessR, ErrorR> {
  /** The name of the activity, different from all others of its workflow. */
  readonly name: string
  /** The schema of the result. Default: `Schema.Void`. */
  readonly success?: Schema.Codec<A, unknown, SuccessR, SuccessR> | undefined
  /** The schema of the errors of `execute`. The errors of the guard are added. Default: `Schema.Never`. */
  readonly error?: Schema.Codec<E, unknown, ErrorR, ErrorR> | undefined
  /** The body. */
  readonly execute: Effect.Effect<NoInfer<A>, NoInfer<E>, R>
  /** The options of the guard. */
  readonly cycles: Guard<NoInfer<A>, U, R2>
  /**
   * Whether the body runs again if an earlier run of the activity has settled its reservation, but the engine has no
   * result of it. Default `ifReleased`: it runs again if nothing was charged. See `GuardOptions.onRepeat`.
   */
  readonly onRepeat?: OnRepeat | undefined
  /** When an interrupted body runs again. Default: that of `Activity.make`. */
  readonly interruptRetryPolicy?: Schedule.Schedule<unknown, Cause.Cause<unknown>> | undefined
  /** The annotations of the activity. Default: none. */
  readonly annotations?: Context.Context<never> | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a guarded activity. Run it in a workflow, as an effect.
 *
 * **Errors**
 *
 * The errors of `execute`, and those of the guard: `GuardError`. The engine stores an error as it stores a result, so a
 * denial stays a denial when the workflow is replayed. `Activity.retry` makes another attempt.
 *
 * **Example** (A workflow whose model call is paid for once)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Amount, Run } from "effect-cycles"
 * import { CyclesActivity } from "effect-cycles/workflow"
 * import { Workflow } from "effect/workflow"
 *
 * const Draft = CyclesActivity.make({
 *   name: "Draft",
 *   success: Schema.Struct({ text: Schema.String, tokens: Schema.Int }),
 *   execute: Effect.succeed({ text: "Hello Ada", tokens: 420 }),
 *   cycles: {
 *     action: { kind: "llm.completion", name: "openai:gpt-5" },
 *     estimate: Amount.tokens(2_000),
 *     actual: (draft) => Amount.tokens(draft.tokens)
 *   }
 * })
 *
 * export const Letter = Workflow.make("Letter", {
 *   payload: { id: Schema.String },
 *   idempotencyKey: ({ id }) => id,
 *   success: Schema.String,
 *   error: CyclesActivity.GuardError
 * })
 *
 * export const LetterLayer = Letter.toLayer(
 *   Effect.fnUntraced(function* () {
 *     const run = yield* Run.make({ name: "letter", budget: Amount.tokens(20_000), parent: "none" })
 *     const draft = yield* Run.within(Draft, run)
 *     return draft.text
 *   }, Effect.scoped)
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export function make<
  A = void,
  E = never,
  R = never,
  U extends Unit = Unit,
  R2 = never,
  SuccessR = never,
  ErrorR = never
>(
  options: Options<A, E, R, U, R2, SuccessR, ErrorR>
): Effect.Effect<
  A,
  E | GuardError,
  | Exclude<R, Reservation | Scope.Scope | WorkflowEngine | WorkflowInstance>
  | Cycles
  | R2
  | SuccessR
  | ErrorR
  | WorkflowEngine
  | WorkflowInstance
>
export function make<A, E, R, U extends Unit, R2, SuccessR, ErrorR>(
  options: Options<A, E, R, U, R2, SuccessR, ErrorR>
): unknown {
  const { cycles, name, onRepeat = "ifReleased" } = options
  const success: Schema.Codec<unknown, unknown, SuccessR, SuccessR> = options.success ?? Schema.Void
  const error: Schema.Codec<unknown, unknown, ErrorR, ErrorR> = options.error ?? Schema.Never
  const execute = Effect.gen(function* () {
    const invocation = (yield* CurrentInvocation) ?? { run: undefined, spend: [], isCharged: false }
    const run = (yield* CurrentRun)?.[TypeId]
    const idempotencyKey = yield* Activity.idempotencyKey(name, { includeAttempt: true })
    const onSettled = (settlement: Settlement) => {
      if ("actual" in settlement) invocation.spend.push(settlement.actual)
      return cycles.onSettled === undefined ? Effect.void : cycles.onSettled(settlement)
    }
    invocation.isCharged ||= run !== undefined && run === invocation.run
    const guarded = (yield* Cycles).withCycles(options.execute, { ...cycles, idempotencyKey, onRepeat, onSettled }, [])
    const { spend } = invocation
    return yield* Effect.mapBoth(guarded, {
      onSuccess: (value) => ({ value, spend }),
      onFailure: (error) => ({ error, spend })
    })
  })
  const activity = Activity.make({
    name,
    success: Schema.Struct({ value: success, spend: Spend }),
    error: Schema.Struct({ error: Schema.Union([GuardError, error]), spend: Spend }),
    execute,
    interruptRetryPolicy: options.interruptRetryPolicy,
    annotations: options.annotations
  })
  return Effect.gen(function* () {
    const run = (yield* CurrentRun)?.[TypeId]
    const invocation: Invocation = { run, spend: [], isCharged: false }
    const end = yield* Effect.result(Effect.provideService(activity, CurrentInvocation, invocation))
    const { spend } = Result.isSuccess(end) ? end.success : end.failure
    if (run !== undefined && !invocation.isCharged) {
      const step = (yield* CurrentStep) ?? run.steps
      for (const amount of spend) yield* chargeEvent(run, { action: cycles.action, amount, step })
    }
    return Result.isSuccess(end) ? end.success.value : yield* Effect.fail(end.failure.error)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const Spend = Schema.Array(Amount)

/** One evaluation of an activity. */
interface Invocation {
  /** The run of the workflow. */
  readonly run: Ledger | undefined
  /** The spend of all attempts of this evaluation. */
  readonly spend: Array<Amount>
  /** Whether the body was guarded within the run of the workflow, which is therefore charged already. */
  isCharged: boolean
}

/** The evaluation in this process. Absent if another process runs the activity. */
const CurrentInvocation = Context.Reference<Invocation | undefined>("effect-cycles/workflow/CurrentInvocation", {
  defaultValue: () => undefined
})
