/**
 * Runs the body of a guard in its own fiber, so that an interruption or a lost lease can't discard a result. An
 * interruption that arrives while the body is uninterruptible is delivered when the body becomes interruptible again,
 * or is dropped if the body ends first.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Restore } from "../run/waiting.ts"

/**
 * Starts the body of a guard. The fiber isn't a child of the caller's, because `exitOf` always waits for its end; a
 * parent would need more memory for each call that waits.
 */
export const start = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R> =>
  Effect.forkDetach(body, { startImmediately: true })

/**
 * Waits for the end of a body and returns its exit. The caller makes it uninterruptible; `restore` makes the wait
 * interruptible.
 */
export const exitOf = <A, E>(
  restore: Restore,
  fiber: Fiber.Fiber<A, E>,
  onLost: Deferred.Deferred<LeaseLost> | undefined
): Effect.Effect<Exit.Exit<A, E | LeaseLost>> => {
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return Effect.succeed(exit)
  return onLost === undefined ? waitFor(restore, fiber) : waitOrLose(restore, fiber, onLost)
}

const waitFor = <A, E>(restore: Restore, fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  // Unlike `Fiber.join`, it doesn't remove its observer when it is interrupted, because the fiber is then stopped.
  Effect.matchCauseEffect(restore(Effect.callback<A, E>((resume) => void fiber.addObserver(resume))), {
    onSuccess: succeeded,
    // The cause of the body, or of the caller's interruption.
    onFailure: (cause) => Effect.map(stop(fiber), (exit) => afterInterrupt(exit, cause))
  })

const succeeded = <A>(value: A): Effect.Effect<Exit.Exit<A>> => Effect.succeed(Exit.succeed(value))

const waitOrLose = <A, E>(
  restore: Restore,
  fiber: Fiber.Fiber<A, E>,
  onLost: Deferred.Deferred<LeaseLost>
): Effect.Effect<Exit.Exit<A, E | LeaseLost>> =>
  Effect.flatMap(Effect.exit(restore(Effect.raceFirst(Fiber.await(fiber), Deferred.await(onLost)))), (winner) =>
    Effect.map(stop(fiber), (exit): Exit.Exit<A, E | LeaseLost> => {
      if (Exit.isFailure(winner)) return afterInterrupt(exit, winner.cause)
      const isLost = !Exit.isExit(winner.value)
      return isLost && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.fail(winner.value) : exit
    })
  )

/**
 * Returns the result of the body, if there is one, even if the caller was interrupted. Otherwise the cause is the
 * caller's interruption.
 */
const afterInterrupt = <A, E>(exit: Exit.Exit<A, E>, cause: Cause.Cause<E>): Exit.Exit<A, E> =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.failCause(cause) : exit

/**
 * Interrupts a fiber as soon as it is interruptible, waits for its end, and returns its exit. A fiber doesn't signal
 * when it becomes interruptible, so this polls every few milliseconds.
 */
const stop = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.callback((resume) => {
    let timer: ReturnType<typeof setTimeout> | undefined
    fiber.addObserver((exit) => {
      clearTimeout(timer)
      resume(Effect.succeed(exit))
    })
    const interrupt = (): void => {
      if (fiber.pollUnsafe() !== undefined) return
      if (isInterruptible(fiber)) fiber.interruptUnsafe()
      else timer = setTimeout(interrupt, pollMs)
    }
    interrupt()
  })

const pollMs = 5

/** Fibers have this property at run time only. Without it, the interruption is sent at once. */
const isInterruptible = (fiber: object): boolean => !("interruptible" in fiber) || fiber.interruptible !== false
