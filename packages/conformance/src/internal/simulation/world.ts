/**
 * Virtual time: one event loop for all simulated processes, with their clocks and schedulers.
 *
 * Nothing in it depends on real time. Fibers run when the loop selects their tasks, and time advances to the next timer
 * when no task is left. A killed process isn't run again: its fibers stop at the point that they have reached, without
 * finalizers.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Scheduler from "effect/Scheduler"
import { Trace } from "./trace.ts"

/** A scheduled callback. */
export interface Timer {
  readonly due: number
  /** Timers that are due at the same time run in this order. */
  readonly order: number
  readonly owner: Process | undefined
  run: (() => void) | undefined
}

/** The epoch time at which a world begins, in milliseconds. */
export const epochMs = Date.UTC(2026, 5, 1)

/** The event loop. Times are milliseconds since the start of the world. */
export class World {
  nowMs = 0
  /** The process whose task runs now. */
  current: Process | undefined = undefined
  readonly trace: Trace
  /** Promises that simulated code waits for. */
  promises = 0
  readonly #timers: Array<Timer> = []
  #orders = 0
  #ready: Array<Task> = []
  #later: Array<Task> = []

  constructor(isRecorded: boolean) {
    this.trace = new Trace(isRecorded)
  }

  /** Schedules a callback. It doesn't run if its process has been killed. */
  at(afterMs: number, run: () => void, owner?: Process): Timer {
    const timer: Timer = { due: this.nowMs + Math.max(0, afterMs), order: (this.#orders += 1), owner, run }
    if (owner !== undefined) owner.timers += 1
    push(this.#timers, timer)
    return timer
  }

  /** Cancels a callback. */
  cancel(timer: Timer): void {
    if (timer.run === undefined) return
    timer.run = undefined
    if (timer.owner !== undefined) timer.owner.timers -= 1
  }

  /** Queues a task of a fiber. */
  schedule(process: Process, run: () => void, priority: number): void {
    ;(priority > 0 ? this.#later : this.#ready).push({ process, run })
  }

  /**
   * Runs until a condition holds, or until a time. Returns false if that time was reached, or if nothing is left to do.
   */
  async run(isDone: () => boolean, limitMs: number): Promise<boolean> {
    while (true) {
      await this.#tasks()
      if (isDone()) return true
      const timer = pop(this.#timers)
      if (timer === undefined) return false
      if (timer.run === undefined) continue
      if (timer.due > limitMs) {
        push(this.#timers, timer)
        this.nowMs = limitMs
        return false
      }
      this.nowMs = timer.due
      const { owner, run } = timer
      this.cancel(timer)
      if (owner?.isDead !== true) this.#as(owner, run)
    }
  }

  async #tasks(): Promise<void> {
    while (true) {
      if (this.promises > 0) await this.#settle()
      if (this.#ready.length === 0) {
        if (this.#later.length === 0) return
        this.#ready = this.#later
        this.#later = []
      }
      const tasks = this.#ready
      this.#ready = []
      for (const { process, run } of tasks) {
        if (!process.isDead) this.#as(process, run)
        if (this.promises > 0) await this.#settle()
      }
    }
  }

  /** Lets promises continue, in microtasks only, so that their order is always the same. */
  async #settle(): Promise<void> {
    while (this.promises > 0) {
      this.promises = 0
      for (let turn = 0; turn < turns; turn += 1) await undefined
    }
  }

  #as(process: Process | undefined, run: () => void): void {
    this.current = process
    run()
  }
}

/** More turns than the longest chain of promises in the client needs. */
const turns = 24

interface Task {
  readonly process: Process
  readonly run: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// processes
// ---------------------------------------------------------------------------------------------------------------------

/** A process with its own clock and scheduler. */
export class Process {
  readonly name: string
  isDead = false
  /** When it was killed, in milliseconds of its monotonic clock. */
  diedAtMs = Number.POSITIVE_INFINITY
  /** The number of its scheduled callbacks. */
  timers = 0
  /** The number of its fibers that haven't ended. */
  fibers = 0
  /** How much its wall clock is ahead, in milliseconds. */
  wallOffsetMs: number
  /** Called when the process is killed. */
  readonly onKill = new Set<() => void>()
  readonly clock: Clock.Clock
  /** The services that make all effects of the process run in the world. */
  readonly context: Context.Context<never>
  readonly #world: World
  /** Its milliseconds in one millisecond of the world. */
  readonly rate: number

  constructor(world: World, name: string, options: { readonly rate: number; readonly wallOffsetMs: number }) {
    this.#world = world
    this.name = name
    this.rate = options.rate
    this.wallOffsetMs = options.wallOffsetMs
    this.clock = this.#makeClock()
    const dispatcher: Scheduler.SchedulerDispatcher = {
      scheduleTask: (task, priority) => world.schedule(this, task, priority),
      flush: () => {}
    }
    const count = {
      recordFiberStart: () => void (this.fibers += 1),
      recordFiberEnd: () => void (this.fibers -= 1)
    }
    this.context = Context.empty().pipe(
      Context.add(Clock.Clock, this.clock),
      Context.add(Scheduler.Scheduler, {
        executionMode: "async",
        shouldYield: (fiber) => fiber.currentOpCount >= opsBeforeYield,
        makeDispatcher: () => dispatcher
      }),
      Context.add(Metric.FiberRuntimeMetrics, count)
    )
  }

  /** Kills the process at the point that it has reached. */
  kill(): void {
    this.isDead = true
    this.diedAtMs = this.monotonicMs
    for (const onKill of this.onKill) onKill()
    this.onKill.clear()
  }

  /** The time of the world, in milliseconds. */
  get worldMs(): number {
    return this.#world.nowMs
  }

  /** The monotonic time, in milliseconds. */
  get monotonicMs(): number {
    return this.#world.nowMs * this.rate
  }

  /** The wall-clock time, in epoch milliseconds. */
  get wallMs(): number {
    return Math.floor(epochMs + this.monotonicMs + this.wallOffsetMs)
  }

  /** Schedules a callback after a time of its own clock. */
  after(ms: number, run: () => void): Timer {
    return this.#world.at(ms / this.rate, run, this)
  }

  #makeClock(): Clock.Clock {
    const monotonic = (): bigint => BigInt(Math.round(this.monotonicMs * 1_000)) * 1_000n
    const wallNanos = (): bigint => BigInt(this.wallMs) * 1_000_000n
    return {
      currentTimeMillisUnsafe: () => this.wallMs,
      currentTimeMillis: Effect.sync(() => this.wallMs),
      currentTimeNanosUnsafe: wallNanos,
      currentTimeNanos: Effect.sync(wallNanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => {
        const ms = Duration.toMillis(duration)
        if (ms === Number.POSITIVE_INFINITY) return Effect.never
        return Effect.callback((resume) => {
          const timer = this.after(ms, () => resume(Effect.void))
          return Effect.sync(() => this.#world.cancel(timer))
        })
      }
    }
  }
}

/** The same as Effect's default. */
const opsBeforeYield = 2_048

// ---------------------------------------------------------------------------------------------------------------------
// a binary heap
// ---------------------------------------------------------------------------------------------------------------------

const isBefore = (a: Timer, b: Timer): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)

const push = (heap: Array<Timer>, timer: Timer): void => {
  let at = heap.length
  heap.push(timer)
  while (at > 0) {
    const above = (at - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || !isBefore(timer, parent)) break
    heap[at] = parent
    at = above
  }
  heap[at] = timer
}

const pop = (heap: Array<Timer>): Timer | undefined => {
  const [first] = heap
  const last = heap.pop()
  if (first === undefined || last === undefined || first === last) return first
  let at = 0
  while (true) {
    const left = 2 * at + 1
    const leftTimer = heap[left]
    if (leftTimer === undefined) break
    const rightTimer = heap[left + 1]
    const isRight = rightTimer !== undefined && isBefore(rightTimer, leftTimer)
    const child = isRight ? rightTimer : leftTimer
    if (!isBefore(child, last)) break
    heap[at] = child
    at = isRight ? left + 1 : left
  }
  heap[at] = last
  return first
}
