/**
 * Effects of collaborators (a journal, a callback of the caller's) that may never return, may die, and may ignore
 * interruption: the caller waits for a bounded time and gets an exit in every case.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"

/**
 * Runs an effect, and waits for it at most for a time; nothing if it took longer. It is then interrupted, but the
 * interruption isn't waited for.
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
