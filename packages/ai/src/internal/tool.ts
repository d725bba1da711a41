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
import * as Observe from "./observe.ts"
import * as Denial from "./denial.ts"
import { Spend } from "./toolSpend.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** An element of the guarded stream. */
type Element<T extends Tool.Any> =
  | { readonly _tag: "Opened"; readonly reservation: Reservation }
  | { readonly _tag: "Result"; readonly result: Tool.HandlerResult<T> }

/** Every error of a guard. */
type GuardError = CyclesError | AlreadySettled | LeaseLost

/** Every error of a pull of the guarded stream. */
type PullError = GuardError | HandlerFailed

/** Stands for a failure of the handler, which may have the type of a guard's error. */
class HandlerFailed {
  readonly _tag = "HandlerFailed"
}

/** One call, as the caller of `run` describes it. */
export interface Call<T extends Tool.Any, E, R> {
  readonly tool: T
  readonly budget: Budget<T>
  readonly params: Tool.Parameters<T>
  readonly key: Effect.Effect<string | undefined>
  /** The results of the inner toolkit. */
  readonly results: Stream.Stream<Tool.HandlerResult<T>, E, R>
}

/** The state of a call. */
interface State<E> {
  /** Opened when the caps are obeyed. A guarded stream may be pulled ahead, so the handler waits for it. */
  readonly start: Latch.Latch
  /** Present as soon as the handler starts. */
  spend: Spend | undefined
  /** The cause with which the handler failed. */
  failure: Cause.Cause<E> | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Runs one call of a tool under its budget. */
export const run = <T extends Tool.Any, E, R>(
  cycles: Cycles,
  call: Call<T, E, R>
): Stream.Stream<Tool.HandlerResult<T>, AiError.AiError | E, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { tool } = call
      const { action, actual, approval: _, estimate, subject, ...lease } = call.budget
      const state: State<E> = { start: yield* Latch.make(), spend: undefined, failure: undefined }
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer((exit) => Scope.close(scope, state.spend === undefined ? Exit.void : stopped(exit)))

      const guarded = cycles.withCyclesStream(bodyOf(call, state), {
        ...lease,
        action: action ?? { kind: "tool.call", name: tool.name.slice(0, 256) },
        estimate: typeof estimate === "function" ? estimate(call.params) : estimate,
        subject,
        idempotencyKey: yield* call.key,
        // A stream without usage that ends with nothing recorded is released.
        usage: () => undefined
      })
      const pull = yield* Scope.provide(Stream.toPull(guarded), scope)
      /** The cause of a failed pull: the error of the guard, or else the cause of the handler. */
      const causeOf = (cause: Cause.Cause<PullError>): Cause.Cause<AiError.AiError | E> => {
        const error = guardErrorOf(cause)
        if (error !== undefined) return Cause.fail(fromBudget(`${tool.name}.handle`, error, "CyclesToolkit"))
        return state.failure ?? withoutFails(cause)
      }

      const opened = yield* Effect.catchCause(open(pull), (cause) => {
        const error = guardErrorOf(cause)
        return error?._tag === "BudgetExceeded" || error?._tag === "AlreadySettled"
          ? Effect.succeed(error)
          : Effect.failCause(causeOf(cause))
      })
      if ("_tag" in opened) return Stream.succeed(Denial.denied(tool, opened))
      const refusal = yield* obey(tool, opened.caps)
      if (refusal !== undefined) {
        yield* Scope.close(scope, Exit.void)
        return Stream.succeed(Denial.refused(tool, refusal))
      }
      yield* state.start.open

      /** The stream ends after its final result, unless it fails because its lease was lost. */
      const end: Effect.Effect<void, AiError.AiError | E> = Pull.matchEffect(pull, {
        onSuccess: () => end,
        onFailure: (cause) => Effect.failCause(causeOf(cause)),
        onDone: () => Scope.close(scope, Exit.void)
      })
      const settle = Effect.fnUntraced(function* (final: Tool.HandlerResult<T>) {
        if (final.isFailure) return yield* Scope.close(scope, Exit.fail(new HandlerFailed()))
        const problem = yield* (state.spend ?? new Spend(opened)).record(tool, actual, final.result)
        yield* end
        if (problem !== undefined) return yield* Effect.die(problem.thrown)
      })

      let isSettled = false
      const next: Pull.Pull<
        NonEmptyReadonlyArray<Tool.HandlerResult<T>>,
        AiError.AiError | E
      > = Effect.uninterruptibleMask((restore) =>
        isSettled
          ? Cause.done()
          : Pull.matchEffect(restore(pull), {
              onSuccess: (elements) => {
                const results = Arr.flatMap(elements, (element) => (element._tag === "Opened" ? [] : [element.result]))
                if (!Arr.isReadonlyArrayNonEmpty(results)) return next
                const last = Arr.lastNonEmpty(results)
                isSettled = !last.preliminary
                return isSettled ? Effect.as(settle(last), results) : Effect.succeed(results)
              },
              onFailure: (cause) => Effect.failCause(causeOf(cause)),
              onDone: () => Cause.done()
            })
      )
      return Stream.fromPull(Effect.succeed(next))
    })
  )

/** The body of the guard: the reservation, and then the results up to the final one. */
const bodyOf = <T extends Tool.Any, E, R>(
  call: Call<T, E, R>,
  state: State<E>
): Stream.Stream<Element<T>, HandlerFailed, R | Reservation> => {
  const opened = Effect.map(Reservation, (reservation): Element<T> => ({ _tag: "Opened", reservation }))
  const results = Effect.gen(function* () {
    const spend = new Spend(yield* Reservation)
    yield* state.start.await
    state.spend = spend
    return Stream.takeUntil(call.results, (result) => !result.preliminary)
  })
  return Stream.concat(
    Stream.fromEffect(opened),
    Stream.unwrap(results).pipe(
      Stream.map((result): Element<T> => ({ _tag: "Result", result })),
      Stream.catchCause((cause) => {
        state.failure = cause
        return Stream.failCause(Cause.map(cause, () => new HandlerFailed()))
      })
    )
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// before the handler
// ---------------------------------------------------------------------------------------------------------------------

/** Waits for the reservation, the first element of the guarded stream. */
const open = <T extends Tool.Any>(
  pull: Pull.Pull<NonEmptyReadonlyArray<Element<T>>, PullError>
): Effect.Effect<Reservation, PullError> =>
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
    const report = (cap: Observe.CapName, detail: Record<string, unknown>) =>
      Observe.cap(Option.getOrUndefined(span), cap, { tool: tool.name, ...detail })
    const refusal = Denial.refusalOf(tool, caps)
    if (refusal !== undefined) {
      yield* report(refusal.cap, { refused: true })
      return refusal
    }
    yield* Caps.cooldown([caps], Option.getOrUndefined(span), undefined, { tool: tool.name })
    return undefined
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The exit of a call whose handler has started: a caller that stops early interrupts it. */
const stopped = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> =>
  Exit.isSuccess(exit) ? Exit.interrupt() : exit

const guardErrorOf = (cause: Cause.Cause<PullError>): GuardError | undefined => {
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason) && reason.error._tag !== "HandlerFailed") return reason.error
  }
  return undefined
}

/** The defects and interruptions of a cause. */
const withoutFails = (cause: Cause.Cause<unknown>): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.flatMap((reason) => (Cause.isFailReason(reason) ? [] : [reason])))
