/**
 * Time limits of calls that are under way.
 *
 * `Effect.timeout` forks two fibers and sets a timer for each call, a tenth of what a guarded call costs. Here a call runs
 * in one fiber, and one alarm of the layer knows when the first of all limits ends.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Alarm from "./alarm.ts"
import type * as DueHeap from "./dueHeap.ts"

/** Bounds effects in time. */
export interface Deadlines {
  /**
   * Runs an effect in a fiber of its own, for so many milliseconds at most. Then it is interrupted and the result is the
   * failure `late`; nobody waits for the end of the interrupted fiber.
   */
  readonly bound: <A, E>(effect: Effect.Effect<A, E>, limit: Limit<E>) => Effect.Effect<A, E>
}

/** What an effect is bound by. */
export interface Limit<E> {
  /** The context that the effect runs with. */
  readonly context: Context.Context<never>
  readonly limitMs: number
  readonly late: () => E
  /** Called once with the end of it, before that is handed on. */
  readonly onEnd: (exit: Exit.Exit<unknown, E>) => void
}

interface Deadline extends DueHeap.Entry {
  readonly expire: () => void
}

/** Makes the time limits of a layer. */
export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.map(
  Alarm.make<Deadline>((deadline) => Effect.sync(deadline.expire)),
  (alarm): Deadlines => ({ bound: (effect, options) => bound(alarm, effect, options) })
)

const bound = <A, E>(
  alarm: Alarm.Alarm<Deadline>,
  effect: Effect.Effect<A, E>,
  { context, late, limitMs, onEnd }: Limit<E>
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    let isOver = false
    const end = (exit: Exit.Exit<A, E>): void => {
      if (isOver) return
      isOver = true
      alarm.clear(deadline)
      onEnd(exit)
      resume(exit)
    }
    const deadline: Deadline = {
      due: 0,
      pos: -1,
      expire: () => {
        end(Exit.fail(late()))
        fiber.interruptUnsafe()
      }
    }
    const fiber = Effect.runForkWith(context)(effect)
    alarm.set(deadline, limitMs)
    fiber.addObserver(end)
    return Effect.suspend(() => {
      end(Exit.interrupt())
      return Fiber.interrupt(fiber)
    })
  })
