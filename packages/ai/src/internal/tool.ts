/**
 * One call of a guarded tool: reserved, run, charged by its result; or refused in words for the model.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { Cycles } from "effect-cycles/Cycles"
import type { BudgetExceeded, AlreadySettled } from "effect-cycles/CyclesError"
import { Reservation } from "effect-cycles/Reservation"
import type { Active } from "effect-cycles/Reservation"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import type * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { fromBudget } from "../CyclesAiError.ts"
import type { Budget } from "./budget.ts"
import { assumeResult, assumeSuccess } from "./assume.ts"

/** Runs a tool with its parameters, held to its budget. `handle` is the toolkit's own. */
export const run = <T extends Tool.Any, E, R, E2, R2>(
  cycles: Cycles,
  tool: T,
  budget: Budget<T>,
  params: Tool.Parameters<T>,
  idempotencyKey: string | undefined,
  handle: Effect.Effect<Stream.Stream<Tool.HandlerResult<T>, E, R>, E2, R2>
): Stream.Stream<Tool.HandlerResult<T>, AiError.AiError | E | E2, R | R2> =>
  Stream.unwrap(
    Effect.suspend(() =>
      cycles.reserve({
        ...budget,
        action: budget.action ?? { kind: "tool.call", name: tool.name },
        estimate: typeof budget.estimate === "function" ? budget.estimate(params) : budget.estimate,
        idempotencyKey
      })
    ).pipe(
      Effect.matchEffect({
        onFailure: (error) =>
          error._tag === "BudgetExceeded" || error._tag === "AlreadySettled"
            ? Effect.succeed(Stream.succeed(denied(tool, error)))
            : Effect.fail(fromBudget(`${tool.name}.handle`, error)),
        onSuccess: (reservation) => {
          const watched = watch(reservation)
          return Effect.map(Effect.provideService(handle, Reservation, watched.reservation), (results) =>
            Stream.tap(Stream.provideService(results, Reservation, watched.reservation), (result) =>
              result.preliminary || result.isFailure
                ? Effect.void
                : charge(tool, budget, reservation, watched.isRecorded(), result.result)
            )
          )
        }
      })
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// after
// ---------------------------------------------------------------------------------------------------------------------

/** Charges a call that succeeded. What a function of the user's throws is told after the estimate has been charged. */
const charge = <T extends Tool.Any>(
  tool: T,
  budget: Budget<T>,
  reservation: Active<Amount.Unit, LeaseLost>,
  isRecorded: boolean,
  result: unknown
): Effect.Effect<void, AiError.AiError> =>
  Effect.suspend(() => {
    const { actual } = budget
    // What the handler recorded is charged by the scope.
    if (actual === undefined && isRecorded) return Effect.void
    const estimated = commit(tool, reservation, reservation.estimate, true)
    if (actual === undefined) return estimated
    try {
      assumeSuccess<T>(tool, result)
      return commit(tool, reservation, typeof actual === "function" ? actual(result) : actual, false)
    } catch (thrown) {
      return Effect.andThen(estimated, Effect.die(thrown))
    }
  })

const commit = (
  tool: Tool.Any,
  reservation: Active<Amount.Unit, LeaseLost>,
  actual: Amount.Amount,
  isEstimated: boolean
): Effect.Effect<void, AiError.AiError> =>
  Effect.asVoid(reservation.commit({ actual, isEstimated, metrics: { modelVersion: tool.name.slice(0, 128) } })).pipe(
    Effect.catchTag("UnitMismatch", (mismatch) => Effect.die(mismatch)),
    Effect.mapError((error) => fromBudget(`${tool.name}.handle`, error))
  )

/** The reservation as the handler sees it, and whether the handler recorded anything. */
const watch = (reservation: Reservation): { readonly reservation: Reservation; readonly isRecorded: () => boolean } => {
  let isRecorded = false
  const noting = <A, E>(recording: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      isRecorded = true
      return recording
    })
  return {
    isRecorded: () => isRecorded,
    reservation: {
      ...reservation,
      record: (options) => noting(reservation.record(options)),
      add: (amount) => noting(reservation.add(amount))
    }
  }
}

/** What the model is told where the budget refuses: in the form of a denied approval, which providers pass on. */
const denied = <T extends Tool.Any>(tool: T, error: BudgetExceeded | AlreadySettled): Tool.HandlerResult<T> => {
  const reason =
    error._tag === "BudgetExceeded"
      ? `The budget doesn't allow this call of ${tool.name} (${error.code})`
      : `This call of ${tool.name} has run before`
  const result: unknown = { type: "execution-denied", reason } satisfies typeof Tool.ExecutionFailure.Type
  assumeResult<T>(tool, result)
  return { result, encodedResult: result, isFailure: true, failureOrigin: "handler", preliminary: false }
}
