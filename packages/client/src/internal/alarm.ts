/**
 * Does what falls due, however much there is of it, with one fiber: it sleeps until the first is due, and an earlier one
 * wakes it. A fiber or a timer for each would cost more than most of what waits for them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as DueHeap from "./dueHeap.ts"
import { nowMs } from "./time.ts"

/** Things that fall due; an entry is in at most one alarm. */
export interface Alarm<A extends DueHeap.Entry> {
  /** Lets an entry fall due so many milliseconds from now; one that is set already is moved. */
  readonly set: (entry: A, afterMs: number) => void
  /** Takes an entry out; nothing happens where it isn't in. */
  readonly clear: (entry: A) => void
}

/** Starts the fiber, in the scope of the layer. It waits for what it does, so that has to be quick. */
export const make = <A extends DueHeap.Entry>(
  onDue: (entry: A) => Effect.Effect<unknown>
): Effect.Effect<Alarm<A>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const heap = DueHeap.make<A>()
    const clock = yield* Clock.Clock
    const earlier = Latch.makeUnsafe()
    let wakesAt = Number.POSITIVE_INFINITY

    const doAllDue: Effect.Effect<void> = Effect.suspend(() => {
      const entry = heap.peek()
      if (entry === undefined || entry.due > nowMs(clock)) return Effect.void
      heap.remove(entry)
      return Effect.andThen(onDue(entry), doAllDue)
    })

    const sleep = Effect.suspend(() => {
      const first = heap.peek()
      earlier.closeUnsafe()
      wakesAt = first?.due ?? Number.POSITIVE_INFINITY
      if (first === undefined) return earlier.await
      return Effect.timeoutOption(earlier.await, Math.max(shortestSleepMs, wakesAt - nowMs(clock)))
    })

    yield* Effect.forkScoped(Effect.forever(Effect.andThen(doAllDue, sleep)), { startImmediately: true })

    return {
      set: (entry, afterMs) => {
        entry.due = nowMs(clock) + afterMs
        heap.put(entry)
        if (entry.due < wakesAt) earlier.openUnsafe()
      },
      clear: heap.remove
    }
  })

/** What falls due within this time goes together. */
const shortestSleepMs = 1
