/**
 * The timer queue: any number of scheduled callbacks with one fiber, which sleeps until the earliest deadline. A fiber
 * or a timer for each callback would cost more than most callbacks.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { nowMs } from "../config/time.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A scheduled entry. It can be in one queue only. */
export interface Entry {
  /** The deadline, in milliseconds of the queue's monotonic clock. The queue sets it. */
  due: number
  /** The position in the queue, or -1 if it isn't scheduled. The queue sets it. */
  pos: number
}

/** An entry with its own callback. */
export interface Timer extends Entry {
  readonly expire: () => void
}

/** A queue of entries by deadline. */
export interface TimerQueue<A extends Entry> {
  /** Schedules an entry, or reschedules it. */
  readonly schedule: (entry: A, afterMs: number) => void
  /** Removes an entry if it is scheduled. */
  readonly cancel: (entry: A) => void
  /** The number of scheduled entries. */
  readonly size: () => number
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a queue. `onDue` must return quickly; a defect in it is logged. When the scope closes, the queue drops its
 * entries. With `outlivesScope` it continues while entries are scheduled.
 */
export const make = <A extends Entry>(
  onDue: (entry: A) => void,
  options?: { readonly outlivesScope?: boolean | undefined }
): Effect.Effect<TimerQueue<A>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const heap: Array<A> = []
    let sleeper: Fiber.Fiber<void> | undefined
    let wakesAt = Number.POSITIVE_INFINITY
    let isRunning = false
    let isClosed = false

    const stopSleeping = (): void => {
      const fiber = sleeper
      wakesAt = Number.POSITIVE_INFINITY
      sleeper = undefined
      fiber?.interruptUnsafe()
    }

    const sleep = (): void => {
      const [first] = heap
      if (first === undefined) return
      wakesAt = first.due
      const fiber = runFork(Effect.sleep(Math.min(longestSleepMs, Math.max(shortestSleepMs, wakesAt - nowMs(clock)))))
      sleeper = fiber
      fiber.addObserver(() => {
        if (sleeper === fiber) wake()
      })
    }

    const wake = (): void => {
      sleeper = undefined
      wakesAt = Number.POSITIVE_INFINITY
      isRunning = true
      try {
        for (let first = heap[0]; first !== undefined && first.due <= nowMs(clock); first = heap[0]) {
          remove(heap, first)
          try {
            onDue(first)
          } catch (defect) {
            runFork(Effect.ignoreCause(Effect.logError("A scheduled callback threw", defect)))
          }
        }
      } finally {
        isRunning = false
        sleep()
      }
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        if (options?.outlivesScope === true && heap.length > 0) return
        for (const entry of heap.splice(0)) entry.pos = -1
        stopSleeping()
      })
    )

    return {
      schedule: (entry, afterMs) => {
        if (isClosed && options?.outlivesScope !== true) return
        entry.due = nowMs(clock) + (afterMs > 0 ? afterMs : 0)
        put(heap, entry)
        if (isRunning || entry.due >= wakesAt) return
        stopSleeping()
        sleep()
      },
      cancel: (entry) => {
        remove(heap, entry)
        // A sleeping fiber would keep the process alive.
        if (isClosed && heap.length === 0) stopSleeping()
      },
      size: () => heap.length
    }
  })

/** Entries whose deadlines are within this time are handled together. */
const shortestSleepMs = 1

/** The longest delay of a JavaScript timer. */
const longestSleepMs = 2_147_483_647

// ---------------------------------------------------------------------------------------------------------------------
// a binary heap with removal from the middle
// ---------------------------------------------------------------------------------------------------------------------

const put = <A extends Entry>(heap: Array<A>, entry: A): void => {
  if (entry.pos < 0) place(heap, entry, heap.length)
  settle(heap, entry)
}

const remove = <A extends Entry>(heap: Array<A>, entry: A): void => {
  const { pos } = entry
  if (pos < 0 || heap[pos] !== entry) return
  entry.pos = -1
  const last = heap.pop()
  if (last === undefined || last === entry) return
  place(heap, last, pos)
  settle(heap, last)
}

const settle = <A extends Entry>(heap: Array<A>, entry: A): void => {
  up(heap, entry)
  down(heap, entry)
}

const place = <A extends Entry>(heap: Array<A>, entry: A, pos: number): void => {
  heap[pos] = entry
  entry.pos = pos
}

const up = <A extends Entry>(heap: Array<A>, entry: A): void => {
  let { pos } = entry
  while (pos > 0) {
    const parentPos = (pos - 1) >> 1
    const parent = heap[parentPos]
    if (parent === undefined || parent.due <= entry.due) break
    place(heap, parent, pos)
    pos = parentPos
  }
  place(heap, entry, pos)
}

const down = <A extends Entry>(heap: Array<A>, entry: A): void => {
  let { pos } = entry
  while (true) {
    const leftPos = 2 * pos + 1
    const left = heap[leftPos]
    if (left === undefined) break
    const right = heap[leftPos + 1]
    const child = right !== undefined && right.due < left.due ? right : left
    if (entry.due <= child.due) break
    const childPos = child.pos
    place(heap, child, pos)
    pos = childPos
  }
  place(heap, entry, pos)
}
