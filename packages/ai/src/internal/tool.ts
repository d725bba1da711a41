/**
 * One call of a guarded tool: reserves, obeys the caps of the reservation, runs the handler, and settles.
 *
 * The call is a guarded stream in its own scope. Its first element is the reservation. `run` pulls the stream, and the
 * exit with which it closes the scope decides the settlement:
 *
 * - before the handler starts: the reservation is released, whatever `onFailure` says
 * - after a successful result: the spend is recorded first, so that an interruption can't discard it
 * - after a returned failure: the same as after a thrown one, by `onFailure`
 * - if the caller stops early: the same as after an interruption, by `onFailure`
 */
import type * as CapsModel from "@effect-cycles/protocol/Caps"
import type { Cycles } from "effect-cycles/Cycles"
import type { AlreadySettled, CyclesError } from "effect-cycles/CyclesError"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import { Reservation } from "effect-cycles/Reservation"
import type * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { fromBudget } from "../CyclesAiError.ts"
import type { Budget } from "./budget.ts"
import * as Caps from "./caps.ts"
import * as Denial from "./denial.ts"
import { Spend } from "./spend.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** An element of the guarded stream. */
type Element<T extends Tool.Any> =
  | { readonly _tag: "Opened"; readonly reservation: Reservation }
  | { readonly _tag: "Result"; readonly result: Tool.HandlerResult<T> }

/** Every error of a guard. */
type GuardError = CyclesError | AlreadySettled | LeaseLost

/** Stands for a failure of the handler, which may have the type of a guard's error. */
class HandlerFailed {
  readonly _tag = "HandlerFailed"
}

/** One call, as the caller of `run` describes it. */
export interface Call<T extends Tool.Any, E, R, E2, R2> {
  readonly tool: T
  readonly budget: Budget<T>
  readonly params: Tool.Parameters<T>
  readonly key: Effect.Effect<string | undefined>
  /** The call of the inner toolkit. */
  readonly handle: Effect.Effect<Stream.Stream<Tool.HandlerResult<T>, E, R>, E2, R2>
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Runs one call of a tool under its budget. */
export const run = <T extends Tool.Any, E, R, E2, R2>(
  cycles: Cycles,
  call: Call<T, E, R, E2, R2>
): Stream.Stream<Tool.HandlerResult<T>, AiError.AiError | E | E2, R | R2> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { tool } = call
      const { action, actual, approval: _, estimate, subject, ...lease } = call.budget
      const scope = yield* Scope.make()
      const start = yield* Latch.make()
      let spend: Spend | undefined
      let failure: Cause.Cause<E | E2> | undefined
      yield* Effect.addFinalizer((exit) => Scope.close(scope, spend === undefined ? Exit.void : stopped(exit)))

      const results = Stream.unwrap(
        Effect.gen(function* () {
          const reservation = yield* Reservation
          yield* start.await
          spend = new Spend(reservation)
          return Stream.unwrap(call.handle).pipe(
            Stream.takeUntil((result) => !result.preliminary),
            Stream.provideService(Reservation, spend.reservation)
          )
        })
      ).pipe(
        Stream.map((result): Element<T> => ({ _tag: "Result", result })),
        Stream.catchCause((cause) => {
          failure = cause
          return Stream.failCause(Cause.map(cause, () => new HandlerFailed()))
        })
      )
      const opened = Stream.fromEffect(
        Effect.map(Reservation, (reservation): Element<T> => ({ _tag: "Opened", reservation }))
      )
      const guarded = cycles.withCyclesStream(Stream.concat(opened, results), {
        ...lease,
        action: action ?? { kind: "tool.call", name: tool.name.slice(0, 256) },
        estimate: typeof estimate === "function" ? estimate(call.params) : estimate,
        subject,
        idempotencyKey: yield* call.key,
        // Without usage, a stream that ends with nothing recorded is released.
        usage: () => undefined
      })
      const pull = yield* Scope.provide(Stream.toPull(guarded), scope)

      /** The cause of a failed pull: the error of the guard, or else the cause of the handler. */
      const causeOf = (cause: Cause.Cause<GuardError | HandlerFailed>): Cause.Cause<AiError.AiError | E | E2> => {
        const error = guardErrorOf(cause)
        if (error !== undefined) return Cause.fail(fromBudget(`${tool.name}.handle`, error))
        return failure ?? withoutFails(cause)
      }

      const reservation = yield* Effect.catchCause(open(pull), (cause) => {
        const error = guardErrorOf(cause)
        return error?._tag === "BudgetExceeded" || error?._tag === "AlreadySettled"
          ? Effect.succeed(error)
          : Effect.failCause(causeOf(cause))
      })
      if ("_tag" in reservation) return Stream.succeed(Denial.denied(tool, reservation))

      const refusal = yield* obey(tool, reservation.caps)
      if (refusal !== undefined) {
        yield* Scope.close(scope, Exit.void)
        return Stream.succeed(Denial.refused(tool, refusal))
      }
      yield* start.open

      /** Settles a successful call: the stream ends after its final result, and reports here that its lease was lost. */
      const settle: Effect.Effect<void, AiError.AiError | E | E2> = Pull.matchEffect(pull, {
        onSuccess: () => settle,
        onFailure: (cause) => Effect.failCause(causeOf(cause)),
        onDone: () => Scope.close(scope, Exit.void)
      })
      const finish = (last: Tool.HandlerResult<T>): Effect.Effect<void, AiError.AiError | E | E2> =>
        Effect.gen(function* () {
          if (last.preliminary || spend === undefined) return
          if (last.isFailure) return yield* Scope.close(scope, Exit.fail(new HandlerFailed()))
          const problem = yield* spend.record(tool, actual, last.result)
          yield* settle
          if (problem !== undefined) return yield* Effect.die(problem.thrown)
        })
      let isFinished = false
      const next: Pull.Pull<
        NonEmptyReadonlyArray<Tool.HandlerResult<T>>,
        AiError.AiError | E | E2
      > = Effect.uninterruptibleMask((restore) =>
        isFinished
          ? Cause.done()
          : Pull.matchEffect(restore(pull), {
              onSuccess: (elements) => {
                const chunk = Arr.flatMap(elements, (element) => (element._tag === "Opened" ? [] : [element.result]))
                if (!Arr.isReadonlyArrayNonEmpty(chunk)) return next
                const last = Arr.lastNonEmpty(chunk)
                isFinished = !last.preliminary
                return isFinished ? Effect.as(finish(last), chunk) : Effect.succeed(chunk)
              },
              onFailure: (cause) => Effect.failCause(causeOf(cause)),
              onDone: () => Cause.done()
            })
      )
      return Stream.fromPull(Effect.succeed(next))
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// before the handler
// ---------------------------------------------------------------------------------------------------------------------

/** Waits for the reservation, the first element of the guarded stream. */
const open = <T extends Tool.Any>(
  pull: Pull.Pull<NonEmptyReadonlyArray<Element<T>>, GuardError | HandlerFailed>
): Effect.Effect<Reservation, GuardError | HandlerFailed> =>
  Pull.matchEffect(pull, {
    onSuccess: ([first]) =>
      first._tag === "Opened" ? Effect.succeed(first.reservation) : Effect.die("The guard emitted no reservation"),
    onFailure: (cause) => Effect.failCause(cause),
    onDone: () => Effect.die("The guard emitted no reservation")
  })

/** Obeys the caps of the reservation. Returns the cap that refuses the call, or waits for the cooldown. */
const obey = (tool: Tool.Any, caps: CapsModel.Caps | undefined): Effect.Effect<Denial.RefusedBy | undefined> =>
  Effect.gen(function* () {
    if (caps === undefined) return undefined
    const span = yield* Effect.option(Effect.currentSpan)
    const report = (cap: Caps.CapName, detail: Record<string, unknown>) =>
      Caps.tell(Option.getOrUndefined(span), cap, { tool: tool.name, ...detail })
    const refusal = Denial.refusalOf(tool, caps)
    if (refusal !== undefined) {
      yield* report(refusal.cap, { refused: true })
      return refusal
    }
    const { cooldownMs } = caps
    if (cooldownMs === undefined || cooldownMs === 0) return undefined
    yield* report("cooldown_ms", { wait: cooldownMs })
    yield* Effect.sleep(cooldownMs)
    return undefined
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The exit of a call whose handler has started: a caller that stops early interrupts it. */
const stopped = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> =>
  Exit.isSuccess(exit) ? Exit.interrupt() : exit

const guardErrorOf = (cause: Cause.Cause<GuardError | HandlerFailed>): GuardError | undefined => {
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason) && reason.error._tag !== "HandlerFailed") return reason.error
  }
  return undefined
}

/** The defects and interruptions of a cause. */
const withoutFails = (cause: Cause.Cause<unknown>): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.flatMap((reason) => (Cause.isFailReason(reason) ? [] : [reason])))
