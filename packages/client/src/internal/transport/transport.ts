/**
 * One HTTP exchange: waits for a slot in the bulkhead, sends the request, and ends with a response, at its deadline, or
 * when it is abandoned. Even if the transport throws or hangs, an exchange ends once and releases its slot.
 */
import type * as CyclesTransport from "@effect-cycles/protocol/CyclesTransport"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import { nowMs } from "../config/time.ts"
import type { Bulkhead, Priority } from "./bulkhead.ts"
import type { Timer, TimerQueue } from "./timerQueue.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The services that all exchanges of a client share. */
export interface Shared {
  readonly transport: CyclesTransport.CyclesTransport
  readonly bulkhead: Bulkhead
  readonly timers: TimerQueue<Timer>
}

/** The request of an exchange, and the callback for its end. */
export interface Job {
  readonly priority: Priority
  /** The time limit, including the time in the queue. */
  readonly limitMs: number
  readonly clock: Clock.Clock
  readonly context: () => Context.Context<never>
  /** Builds the request when the exchange has a slot. */
  readonly request: () => CyclesTransport.TransportRequest
  /** Called once. A defect in it is ignored. */
  readonly ended: (end: End) => void
}

/** The end of an exchange. */
export type End =
  /** The transport called back. A custom transport may violate the types. */
  | {
      readonly _tag: "Done"
      readonly exit: Exit.Exit<CyclesTransport.TransportResponse, CyclesTransport.TransportFailure>
      readonly rttMs: number
    }
  | { readonly _tag: "TimedOut"; readonly wasSent: boolean }
  /** The transport threw, or building the request did. */
  | { readonly _tag: "Threw"; readonly defect: unknown; readonly wasSent: boolean }
  | { readonly _tag: "Abandoned" }

// ---------------------------------------------------------------------------------------------------------------------
// start
// ---------------------------------------------------------------------------------------------------------------------

/** Starts an exchange. Returns a function that abandons it. */
export const start = (shared: Shared, job: Job): (() => void) => {
  const exchange = new Exchange(shared, job)
  exchange.begin()
  return () => exchange.abandon()
}

class Exchange implements Timer {
  due = 0
  pos = -1
  #isOver = false
  #hasSlot = false
  #isSent = false
  #sentAtMs = 0
  /** Removes the exchange from the queue or, after it is sent, abandons it. */
  #cancel = nothing
  readonly #shared: Shared
  readonly #job: Job

  constructor(shared: Shared, job: Job) {
    this.#shared = shared
    this.#job = job
  }

  begin(): void {
    const { bulkhead, timers } = this.#shared
    timers.schedule(this, this.#job.limitMs)
    const withdraw = bulkhead.acquire(this.#job.priority, nowMs(this.#job.clock), () => this.#granted())
    if (!this.#hasSlot && !this.#isOver) this.#cancel = withdraw
  }

  expire(): void {
    this.#end({ _tag: "TimedOut", wasSent: this.#isSent })
  }

  abandon(): void {
    this.#end(abandoned)
  }

  #granted(): void {
    this.#hasSlot = true
    const { transport } = this.#shared
    const { clock, context } = this.#job
    this.#sentAtMs = nowMs(clock)
    this.#cancel = nothing
    try {
      const request = this.#job.request()
      this.#isSent = true
      const cancel = transport.start(request, context, (exit) => this.#done(exit))
      if (!this.#isOver && typeof cancel === "function") this.#cancel = cancel
    } catch (defect) {
      this.#end({ _tag: "Threw", defect, wasSent: this.#isSent })
    }
  }

  #done(exit: Exit.Exit<CyclesTransport.TransportResponse, CyclesTransport.TransportFailure>): void {
    if (this.#isOver) return
    this.#cancel = nothing
    this.#end({ _tag: "Done", exit, rttMs: nowMs(this.#job.clock) - this.#sentAtMs })
  }

  #end(end: End): void {
    if (this.#isOver) return
    this.#isOver = true
    const { bulkhead, timers } = this.#shared
    const { clock, ended, priority } = this.#job
    timers.cancel(this)
    try {
      this.#cancel()
    } catch {
      // The result is ignored even if the transport can't abandon the exchange.
    }
    this.#cancel = nothing
    if (this.#hasSlot) bulkhead.release(priority, nowMs(clock))
    try {
      ended(end)
    } catch {
      // `ended` reports defects of its callbacks itself.
    }
  }
}

const nothing = (): void => {}

const abandoned: End = { _tag: "Abandoned" }
