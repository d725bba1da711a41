/**
 * One exchange with a server, bounded in time and number: it waits for a place, goes out, and ends with what came back, when
 * its time is over, or when it is abandoned. Whatever the transport does, an exchange ends once and gives its place back.
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

/** What all exchanges of a client share. */
export interface Shared {
  readonly transport: CyclesTransport.CyclesTransport
  readonly bulkhead: Bulkhead
  readonly timers: TimerQueue<Timer>
}

/** What is sent, and who learns how it ended. */
export interface Job {
  readonly priority: Priority
  /** Counts from the start, the time in the queue included. */
  readonly limitMs: number
  readonly clock: Clock.Clock
  readonly context: () => Context.Context<never>
  /** Builds the request once there is a place for it. */
  readonly request: () => CyclesTransport.TransportRequest
  /** Called once. A defect in it is ignored. */
  readonly ended: (end: End) => void
}

/** How an exchange ended. */
export type End =
  /** The transport called back. The types promise more than a transport of the user's may keep. */
  | {
      readonly _tag: "Done"
      readonly exit: Exit.Exit<CyclesTransport.TransportResponse, CyclesTransport.TransportFailure>
      readonly rttMs: number
    }
  | { readonly _tag: "TimedOut"; readonly wasSent: boolean }
  /** The transport, or the building of the request, threw. */
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
  #hasPlace = false
  #isSent = false
  #sentAtMs = 0
  /** Withdraws the exchange from the queue or, once it is sent, abandons it. */
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
    if (!this.#hasPlace && !this.#isOver) this.#cancel = withdraw
  }

  expire(): void {
    this.#end({ _tag: "TimedOut", wasSent: this.#isSent })
  }

  abandon(): void {
    this.#end(abandoned)
  }

  #granted(): void {
    this.#hasPlace = true
    const { bulkhead, transport } = this.#shared
    const { clock, context, priority } = this.#job
    this.#sentAtMs = nowMs(clock)
    if (this.#isOver) return bulkhead.release(priority, this.#sentAtMs)
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
      // A transport that can't abandon an exchange is still not heard any more.
    }
    this.#cancel = nothing
    if (this.#hasPlace) bulkhead.release(priority, nowMs(clock))
    try {
      ended(end)
    } catch {
      // Nothing is left to do; `ended` reports what its own callbacks throw.
    }
  }
}

const nothing = (): void => {}

const abandoned: End = { _tag: "Abandoned" }
