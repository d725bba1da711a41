/**
 * Does what falls due, however much there is of it, with one fiber: it sleeps until the first is due, and an earlier one
 * wakes it. A fiber or a timer for each would cost more than most of what waits for them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as DueHeap from "./dueHeap.ts"
import { nowMs } from "../config/time.ts"

/** Things that fall due; an entry is in at most one alarm. */
export interface Alarm<A extends DueHeap.Entry> {
  /** Lets an entry fall due so many milliseconds from now; one that is set already is moved. */
  readonly set: (entry: A, afterMs: number) => void
  /** Takes an entry out; nothing happens where it isn't in. */
  readonly clear: (entry: A) => void
}

/**
 * Starts the fiber, in the scope of the layer. It waits for what it does, so that has to be quick. A defect in it is logged,
 * and is in nobody else's way.
 */
export const make = <A extends DueHeap.Entry>(
  onDue: (entry: A) => Effect.Effect<unknown>
): Effect.Effect<Alarm<A>, never, Scope.Scope> => Effect.map(start(onDue), ({ alarm }) => alarm)

/**
 * The same for what outlives the layer: once the scope has closed, what is set, or still is, sleeps in a fiber of its own.
 */
export const makeOutliving = <A extends DueHeap.Entry>(
  onDue: (entry: A) => Effect.Effect<unknown>
): Effect.Effect<Alarm<A>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { alarm, clock, entries } = yield* start(onDue)
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const sleepers = new Map<A, Fiber.Fiber<unknown>>()
    let isClosed = false

    const sleep = (entry: A, afterMs: number): void => {
      sleepers.get(entry)?.interruptUnsafe()
      const due = Effect.suspend(() => {
        sleepers.delete(entry)
        return onDue(entry)
      })
      sleepers.set(entry, runFork(Effect.andThen(Effect.sleep(Math.max(0, afterMs)), due)))
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const entry of Array.from(entries())) {
          alarm.clear(entry)
          sleep(entry, entry.due - nowMs(clock))
        }
      })
    )

    return {
      set: (entry, afterMs) => (isClosed ? sleep(entry, afterMs) : alarm.set(entry, afterMs)),
      clear: (entry) => {
        alarm.clear(entry)
        if (!isClosed) return
        sleepers.get(entry)?.interruptUnsafe()
        sleepers.delete(entry)
      }
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// the fiber
// ---------------------------------------------------------------------------------------------------------------------

const start = <A extends DueHeap.Entry>(onDue: (entry: A) => Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const heap = DueHeap.make<A>()
    const clock = yield* Clock.Clock
    const earlier = Latch.makeUnsafe()
    let wakesAt = Number.POSITIVE_INFINITY

    const doAllDue: Effect.Effect<void> = Effect.suspend(() => {
      const entry = heap.peek()
      if (entry === undefined || entry.due > nowMs(clock)) return Effect.void
      heap.remove(entry)
      return Effect.andThen(
        Effect.catchCause(
          Effect.suspend(() => onDue(entry)),
          (cause) => Effect.logError("What fell due could not be done", cause)
        ),
        doAllDue
      )
    })

    const sleep = Effect.suspend(() => {
      const first = heap.peek()
      earlier.closeUnsafe()
      wakesAt = first?.due ?? Number.POSITIVE_INFINITY
      if (first === undefined) return earlier.await
      return Effect.timeoutOption(earlier.await, Math.max(shortestSleepMs, wakesAt - nowMs(clock)))
    })

    yield* Effect.forkScoped(Effect.forever(Effect.andThen(doAllDue, sleep)), { startImmediately: true })

    const alarm: Alarm<A> = {
      set: (entry, afterMs) => {
        entry.due = nowMs(clock) + afterMs
        heap.put(entry)
        if (entry.due < wakesAt) earlier.openUnsafe()
      },
      clear: heap.remove
    }
    return { alarm, clock, entries: heap.all }
  })

/** What falls due within this time goes together. */
const shortestSleepMs = 1
