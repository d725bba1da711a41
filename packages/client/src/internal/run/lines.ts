/** The lines of a run: what its own guarded calls have used, for each action and unit. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount, Unit } from "@effect-cycles/protocol/Amount"
import type * as Clock from "effect/Clock"
import { nowMs } from "../config/time.ts"
import type { Line } from "./summary.ts"

/** A guarded call. */
export interface Call {
  readonly action: Action
  readonly amount: Amount
  /** The number of the step that it belongs to. Default: the latest step. */
  readonly step?: number
}

/** The lines of one run, in the order of their first calls. */
export class Lines {
  readonly #clock: Clock.Clock
  readonly #entries = new Map<string, Entry>()

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** The line of a call. Tags of the action don't matter. */
  of({ action, amount }: Call): Entry {
    const key = `${action.kind}\n${action.name}\n${amount.unit}`
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const entry = new Entry(action, amount.unit, this.#clock)
    this.#entries.set(key, entry)
    return entry
  }

  /** The sum of a column. */
  total(column: "calls" | "uncertain"): number {
    let total = 0
    for (const entry of this.#entries.values()) total += entry[column]
    return total
  }

  /** The lines as plain values. */
  summary(): ReadonlyArray<Line> {
    return Array.from(this.#entries.values(), (entry) => entry.summary())
  }
}

/** The totals of one line. */
export class Entry {
  calls = 0
  uncertain = 0
  wouldDeny = 0
  readonly #action: Action
  readonly #unit: Unit
  readonly #clock: Clock.Clock
  #denied = 0
  #open = 0
  #estimated = 0n
  #charged = 0n
  #latencyMs = 0
  #maxLatencyMs = 0

  constructor({ kind, name }: Action, unit: Unit, clock: Clock.Clock) {
    this.#action = { kind, name }
    this.#unit = unit
    this.#clock = clock
  }

  /** Counts an open call. Returns when it started, for `settle`. */
  open(estimate: bigint): number {
    this.calls += 1
    this.#open += 1
    this.#estimated += estimate
    return nowMs(this.#clock)
  }

  /** There is no reservation for an open call in the end. */
  giveBack(estimate: bigint): void {
    this.calls -= 1
    this.#open -= 1
    this.#estimated -= estimate
  }

  /** The settlement of an open call is decided. */
  settle(startedAtMs: number): void {
    const elapsedMs = Math.max(0, Math.round(nowMs(this.#clock) - startedAtMs))
    this.#open -= 1
    this.#latencyMs += elapsedMs
    if (elapsedMs > this.#maxLatencyMs) this.#maxLatencyMs = elapsedMs
  }

  /** Adds spend. */
  charge(amount: bigint): void {
    this.#charged += amount
  }

  /** Counts a denial. */
  deny(): void {
    this.#denied += 1
  }

  /** The line as a plain value. */
  summary(): Line {
    return {
      action: this.#action,
      unit: this.#unit,
      calls: this.calls,
      denied: this.#denied,
      wouldDeny: this.wouldDeny,
      open: this.#open,
      estimated: this.#estimated,
      charged: this.#charged,
      uncertain: this.uncertain,
      latencyMs: this.#latencyMs,
      maxLatencyMs: this.#maxLatencyMs
    }
  }
}
