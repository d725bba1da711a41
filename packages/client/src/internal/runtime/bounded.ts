/**
 * Runs effects of collaborators, such as a journal or a callback, that may die, never return, or ignore interruption.
 * The caller waits for a limited time.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"

/**
 * Runs an effect and returns its exit, or nothing after the time limit. It then interrupts the effect without waiting
 * for the interruption.
 */
export const exitWithin = <A, E, R>(
  timers: TimerQueue<Timer>,
  limitMs: number,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.callback<Exit.Exit<A, E> | undefined>((resume) => {
      const fiber = Effect.runForkWith(context)(effect)
      const done = fiber.pollUnsafe()
      if (done !== undefined) return resume(Effect.succeed(done))
      const timer: Timer = {
        due: 0,
        pos: -1,
        expire: () => {
          resume(Effect.succeed<Exit.Exit<A, E> | undefined>(undefined))
          fiber.interruptUnsafe()
        }
      }
      timers.schedule(timer, limitMs)
      fiber.addObserver((exit) => {
        timers.cancel(timer)
        resume(Effect.succeed(exit))
      })
      return Effect.sync(() => {
        timers.cancel(timer)
        fiber.interruptUnsafe()
      })
    })
  )

/** Ends a stream that emits nothing within the time limit. It then interrupts the stream without waiting. */
export const pulledWithin = <A, E, R>(
  timers: TimerQueue<Timer>,
  limitMs: number,
  stream: Stream.Stream<A, E, R>
): Stream.Stream<A, E, R> =>
  Stream.transformPull(stream, (pull) =>
    Effect.succeed(Effect.flatMap(exitWithin(timers, limitMs, pull), (exit) => exit ?? Cause.done()))
  )
