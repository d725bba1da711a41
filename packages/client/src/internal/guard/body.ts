/**
 * Runs the body of a guard in its own fiber, so that an interruption or a lost lease can't discard a result. An
 * interruption that arrives while the body is uninterruptible is delivered when the body becomes interruptible again,
 * or is dropped if the body ends first.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Restore } from "../run/waiting.ts"

/**
 * Runs the body of a guard and returns its exit. The caller makes it uninterruptible; `restore` makes the wait
 * interruptible.
 */
export const run = <A, E, R>(
  restore: Restore,
  body: Effect.Effect<A, E, R>,
  onLost: Deferred.Deferred<LeaseLost> | undefined
): Effect.Effect<Exit.Exit<A, E | LeaseLost>, never, R> =>
  Effect.flatMap(Effect.forkChild(body, { startImmediately: true }), (fiber) => {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return Effect.succeed(exit)
    return onLost === undefined ? waitFor(restore, fiber) : waitOrLose(restore, fiber, onLost)
  })

const waitFor = <A, E>(restore: Restore, fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.onInterrupt(restore(awaitExit(fiber)), () => stop(fiber)).pipe(
    Effect.catchCause((cause) => Effect.map(awaitExit(fiber), (exit) => afterInterrupt(exit, cause)))
  )

const waitOrLose = <A, E>(
  restore: Restore,
  fiber: Fiber.Fiber<A, E>,
  onLost: Deferred.Deferred<LeaseLost>
): Effect.Effect<Exit.Exit<A, E | LeaseLost>> =>
  Effect.flatMap(Effect.exit(restore(Effect.raceFirst(awaitExit(fiber), Deferred.await(onLost)))), (winner) =>
    Effect.andThen(
      stop(fiber),
      Effect.map(awaitExit(fiber), (exit): Exit.Exit<A, E | LeaseLost> => {
        if (Exit.isFailure(winner)) return afterInterrupt(exit, winner.cause)
        const isLost = !Exit.isExit(winner.value)
        return isLost && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.fail(winner.value) : exit
      })
    )
  )

/**
 * Returns the result of the body, if there is one, even if the caller was interrupted. Otherwise the cause is the
 * caller's interruption.
 */
const afterInterrupt = <A, E>(exit: Exit.Exit<A, E>, cause: Cause.Cause<never>): Exit.Exit<A, E> =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.failCause(cause) : exit

const awaitExit = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.callback((resume) => {
    const remove = fiber.addObserver((exit) => resume(Effect.succeed(exit)))
    return Effect.sync(remove)
  })

/**
 * Interrupts a fiber as soon as it is interruptible, and waits for its end. A fiber doesn't signal when it becomes
 * interruptible, so this polls every few milliseconds.
 */
const stop = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let timer: ReturnType<typeof setTimeout> | undefined
    fiber.addObserver(() => {
      clearTimeout(timer)
      resume(Effect.void)
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
