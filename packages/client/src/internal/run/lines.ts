/**
 * The lines of a run: the usage of the guarded calls directly within it, by action and unit. Child runs have separate
 * lines.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Amount from "@effect-cycles/protocol/Amount"
import type * as Clock from "effect/Clock"
import { nowMs } from "../config/time.ts"
import type { SnapshotLine } from "./snapshot.ts"
import type { Line } from "./summary.ts"

/** A guarded call. */
export interface Call {
  readonly action: Action
  readonly amount: Amount.Amount
  /** The number of the step that it belongs to. Default: the latest step. */
  readonly step?: number
}

/** An open call. */
export interface Open {
  /** The amount that it holds now. */
  readonly held: bigint
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

  /** Adds the lines of a snapshot. */
  restore(lines: ReadonlyArray<SnapshotLine>): void {
    for (const line of lines) this.of({ action: line.action, amount: Amount.zero(line.unit) }).restore(line)
  }

  /** The amount that open calls hold in a unit. */
  held(unit: Unit): bigint {
    let total = 0n
    for (const entry of this.#entries.values()) if (entry.unit === unit) total += entry.held
    return total
  }

  /** The lines for a snapshot. */
  snapshot(): ReadonlyArray<SnapshotLine> {
    return Array.from(this.#entries.values(), (entry) => entry.snapshot())
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
  readonly unit: Unit
  readonly #clock: Clock.Clock
  #denied = 0
  readonly #open = new Set<Open>()
  #estimated = 0n
  #charged = 0n
  #latencyMs = 0
  #maxLatencyMs = 0

  constructor({ kind, name }: Action, unit: Unit, clock: Clock.Clock) {
    this.#action = { kind, name }
    this.unit = unit
    this.#clock = clock
  }

  /** Counts an open call. Returns when it started, for `settle`. */
  open(call: Open, estimate: bigint): number {
    this.calls += 1
    this.#open.add(call)
    this.#estimated += estimate
    return nowMs(this.#clock)
  }

  /** There is no reservation for an open call in the end. */
  giveBack(call: Open, estimate: bigint): void {
    this.calls -= 1
    this.#open.delete(call)
    this.#estimated -= estimate
  }

  /** The settlement of an open call is decided: adds its spend and its time. */
  settle(call: Open, startedAtMs: number, actual: bigint): void {
    const elapsedMs = Math.max(0, Math.round(nowMs(this.#clock) - startedAtMs))
    this.#open.delete(call)
    this.charge(actual)
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
      unit: this.unit,
      calls: this.calls,
      denied: this.#denied,
      wouldDeny: this.wouldDeny,
      open: this.#open.size,
      estimated: this.#estimated,
      charged: this.#charged,
      uncertain: this.uncertain,
      latencyMs: this.#latencyMs,
      maxLatencyMs: this.#maxLatencyMs
    }
  }

  /** The amount that open calls hold. */
  get held(): bigint {
    let total = 0n
    for (const { held } of this.#open) total += held
    return total
  }

  /** Adds a line of a snapshot. */
  restore(line: SnapshotLine): void {
    this.calls += line.calls
    this.uncertain += line.uncertain
    this.wouldDeny += line.wouldDeny
    this.#denied += line.denied
    this.#estimated += BigInt(line.estimated)
    this.#charged += BigInt(line.charged)
    this.#latencyMs += line.latencyMs
    this.#maxLatencyMs = Math.max(this.#maxLatencyMs, line.maxLatencyMs)
  }

  /** The line for a snapshot. */
  snapshot(): SnapshotLine {
    const { open, ...line } = this.summary()
    return {
      ...line,
      action: this.#action,
      estimated: String(line.estimated),
      charged: String(line.charged + this.held),
      uncertain: line.uncertain + open
    }
  }
}
