/**
 * Running the body of a guard. It runs in a fiber of its own, so that neither an interrupt nor a lost lease can discard a
 * result that exists: an interrupt that arrives while the body is uninterruptible is delivered when the body becomes
 * interruptible again, and not at all if it ends first.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Restore } from "./acquire.ts"

/** Runs the body of a guard and returns how it ended. Run it uninterruptible; `restore` makes the wait interruptible. */
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

/** A result that exists counts, whatever happened to the caller; otherwise the caller's own interrupt is the cause. */
const afterInterrupt = <A, E>(exit: Exit.Exit<A, E>, cause: Cause.Cause<never>): Exit.Exit<A, E> =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Exit.failCause(cause) : exit

const awaitExit = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.callback((resume) => {
    const remove = fiber.addObserver((exit) => resume(Effect.succeed(exit)))
    return Effect.sync(remove)
  })

/**
 * Interrupts a fiber as soon as it is interruptible, and waits for its end. Whether it is can only be asked for: while the
 * body is uninterruptible, it is asked every few milliseconds.
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
      else timer = setTimeout(interrupt, askAgainMs)
    }
    interrupt()
  })

const askAgainMs = 5

/** Fibers carry this flag at run time. Without it, an interrupt is delivered at once, as it is to any fiber. */
const isInterruptible = (fiber: object): boolean => !("interruptible" in fiber) || fiber.interruptible !== false
