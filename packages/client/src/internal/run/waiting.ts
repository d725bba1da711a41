/**
 * Guarded calls that wait for room in a run: calls that don't fit because of held amounts (`whenHeld`), and calls that
 * are paused until the budget is raised (`whenExhausted: "pause"`).
 *
 * - Waiting calls hold nothing.
 * - Calls that wait for held amounts are admitted in order. A later call of the same unit waits behind them, even if it
 *   fits, so that small calls can't starve a large one. Paused calls don't stop others.
 * - A call is admitted in the step in which room becomes free, so no other call can take the room before it.
 */
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { BudgetExceeded } from "../../CyclesError.ts"
import { isBudgetExceeded } from "../../CyclesError.ts"
import { denialOf } from "./denial.ts"
import type { Call } from "./lines.ts"
import type { Settings } from "./settings.ts"
import type { Reference } from "./summary.ts"
import type { Ticket } from "./ticket.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Restores the interruptibility of the caller. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** A run that a call waits for. */
export interface Gate {
  readonly reference: Reference
  readonly waiting: Waiting
  readonly settings: Pick<Settings, "whenHeldMs" | "whenExhausted">
}

/** The room in the budget of a run. */
interface Room {
  readonly run: Gate
  /** The allocated amount without the charged amount. */
  readonly unspent: bigint
  /** The unspent amount without the held amount. */
  readonly left: bigint
}

/** Why a call can't start now, but maybe later. */
export interface Wait {
  readonly gate: Gate
  /** `held`: the budget has room, but other calls hold it. `paused`: the budget is too small, and may be raised. */
  readonly reason: "held" | "paused"
  /** The amount that the run had left. */
  readonly left: bigint
}

/** The run of a waiting call. */
export interface Origin {
  /** Whether the call can start. `waiter` is the call itself, if it waits already. */
  readonly judge: (call: Call, waiter: Waiter | undefined) => BudgetExceeded | Wait | undefined
  readonly start: (call: Call) => Ticket
  readonly countDenial: (call: Call, denial: BudgetExceeded) => void
  /** A call is paused (1), or no longer paused (-1). */
  readonly countPaused: (call: Call, gate: Gate, change: 1 | -1) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// decision
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Returns the denial of a call, or the run that it has to wait for, or nothing if every run has room. A pause comes
 * first, and otherwise the nearest run. `waiter` is the call itself, if it waits already.
 */
export const waitFor = (
  rooms: Iterable<Room>,
  call: Call,
  waiter: Waiter | undefined,
  isInside: boolean
): BudgetExceeded | Wait | undefined => {
  const { amount, unit } = call.amount
  let wait: Wait | undefined
  for (const { left, run, unspent } of rooms) {
    const isNext = waiter?.gate === run || isInside || !run.waiting.isBusy(unit)
    if (amount <= left && isNext) continue
    const { whenExhausted, whenHeldMs } = run.settings
    const isPaused = amount > unspent || waiter?.reason === "paused"
    const canWait = isPaused ? whenExhausted === "pause" : whenHeldMs !== undefined && !isInside
    if (!canWait) return noRoom(run, call, left)
    if (isPaused || wait === undefined) wait = { gate: run, reason: isPaused ? "paused" : "held", left }
  }
  return wait
}

const noRoom = (run: Gate, call: Call, left: bigint): BudgetExceeded =>
  denialOf(run.reference, "RUN_BUDGET_EXCEEDED", call, left)

// ---------------------------------------------------------------------------------------------------------------------
// waiting
// ---------------------------------------------------------------------------------------------------------------------

/** The calls that wait for one run, by unit. */
export class Waiting {
  readonly #queues = new Map<Unit, { readonly held: Set<Waiter>; readonly paused: Set<Waiter> }>()

  /** Whether calls wait for held amounts in this unit. */
  isBusy(unit: Unit): boolean {
    return (this.#queues.get(unit)?.held.size ?? 0) > 0
  }

  add(waiter: Waiter): void {
    const { unit } = waiter.call.amount
    const queue = this.#queues.get(unit) ?? { held: new Set(), paused: new Set() }
    this.#queues.set(unit, queue)
    queue[waiter.reason].add(waiter)
  }

  remove(waiter: Waiter): void {
    const { unit } = waiter.call.amount
    const queue = this.#queues.get(unit)
    if (queue === undefined) return
    queue.held.delete(waiter)
    queue.paused.delete(waiter)
    if (queue.held.size + queue.paused.size === 0) this.#queues.delete(unit)
  }

  /** Admits the calls for which there is room now. */
  wake(unit: Unit): void {
    const queue = this.#queues.get(unit)
    if (queue === undefined) return
    for (const waiter of Array.from(queue.paused)) waiter.attempt()
    for (const waiter of queue.held) if (!waiter.attempt()) break
  }

  /** Admits or denies all calls that no longer have to wait. */
  wakeAll(): void {
    for (const unit of Array.from(this.#queues.keys())) this.wake(unit)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// waiter
// ---------------------------------------------------------------------------------------------------------------------

/** A call that waits. */
export class Waiter {
  readonly call: Call
  readonly #origin: Origin
  readonly #waitMs: number | undefined
  readonly #done = Deferred.makeUnsafe<Ticket | BudgetExceeded>()
  #wait: Wait
  #result: Ticket | BudgetExceeded | undefined = undefined

  constructor(origin: Origin, call: Call, wait: Wait) {
    this.call = call
    this.#origin = origin
    this.#wait = wait
    this.#waitMs = wait.reason === "held" ? wait.gate.settings.whenHeldMs : undefined
    this.#enter()
  }

  get reason(): Wait["reason"] {
    return this.#wait.reason
  }

  /** The run that the call waits for. */
  get gate(): Gate {
    return this.#wait.gate
  }

  /** Admits, denies or moves the call, if possible. Returns whether it has left its place. */
  attempt(): boolean {
    if (this.#result !== undefined) return true
    const next = this.#origin.judge(this.call, this)
    if (next === undefined) {
      this.#leave()
      this.#finish(this.#origin.start(this.call))
      return true
    }
    if (isBudgetExceeded(next)) {
      this.#leave()
      this.#deny(next)
      return true
    }
    if (next.gate === this.gate && next.reason === this.reason) {
      this.#wait = next
      return false
    }
    this.#leave()
    this.#wait = next
    this.#enter()
    return true
  }

  /** Waits for the room or for the denial. An interruption leaves nothing held. */
  result(restore: Restore): Effect.Effect<Ticket | BudgetExceeded> {
    const done = Deferred.await(this.#done)
    const limited =
      this.#waitMs === undefined
        ? done
        : Effect.raceFirst(
            done,
            Effect.andThen(
              Effect.sleep(this.#waitMs),
              Effect.suspend(() => this.#expire())
            )
          )
    return Effect.onInterrupt(restore(limited), () => Effect.sync(() => this.#cancel()))
  }

  /** The time is up. A call that has been paused in the meantime keeps waiting. */
  #expire(): Effect.Effect<never> {
    if (this.#result === undefined && this.reason === "held") {
      const { gate } = this
      this.#leave()
      this.#deny(noRoom(gate, this.call, this.#wait.left))
      gate.waiting.wake(this.call.amount.unit)
    }
    return Effect.never
  }

  #cancel(): void {
    const result = this.#result
    if (result === undefined) {
      const { gate } = this
      this.#leave()
      this.#result = noRoom(gate, this.call, this.#wait.left)
      gate.waiting.wake(this.call.amount.unit)
    } else if (!isBudgetExceeded(result)) result.giveBack(undefined)
  }

  #enter(): void {
    this.gate.waiting.add(this)
    if (this.reason === "paused") this.#origin.countPaused(this.call, this.gate, 1)
  }

  #leave(): void {
    this.gate.waiting.remove(this)
    if (this.reason === "paused") this.#origin.countPaused(this.call, this.gate, -1)
  }

  #deny(denial: BudgetExceeded): void {
    this.#origin.countDenial(this.call, denial)
    this.#finish(denial)
  }

  #finish(result: Ticket | BudgetExceeded): void {
    this.#result = result
    Deferred.doneUnsafe(this.#done, Effect.succeed(result))
  }
}
