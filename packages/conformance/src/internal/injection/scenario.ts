/** One run of the suite as data, so that it can be printed and repeated. */
import type { OnCrash, OnFailure, Settle } from "effect-cycles/CyclesConfig"
import type { Fault } from "./faults.ts"

/** How the body ends. Not every ending exists in every form. */
export type Ending =
  | "success"
  | "failure"
  | "defect"
  /** The caller is interrupted while the body runs. */
  | "interrupt"
  /** The caller is interrupted while the body is uninterruptible, and the body succeeds. */
  | "uninterruptible"
  /** The caller times out. */
  | "timeout"
  /** A detached fiber records more after the settlement. */
  | "late"
  /** Longer than the lease, so that extensions are needed. */
  | "long"
  /** By hand: the scope closes around the open reservation. */
  | "close"
  /** By hand: the reservation is released. */
  | "release"
  /** In a stream: the consumer takes two of three elements. */
  | "take"

/** How the client is used, and which faults are injected. */
export interface Scenario {
  readonly form: "effect" | "stream" | "byHand" | "event"
  readonly ending: Ending
  /** Whether the body records spend before it ends. */
  readonly records: boolean
  readonly settle: Settle
  readonly onFailure: OnFailure
  readonly onCrash: OnCrash
  /** Whether the caller supplies the key, and repeats the call under it in the same process and in the next one. */
  readonly hasKey: boolean
  /** Whether the layer closes as soon as the callers have their results. */
  readonly closesEarly: boolean
  /** The seconds between the end of the first process and the start of the next one. */
  readonly restartAfter: number
  readonly faults: ReadonlyArray<Fault>
}

/** The reserved amount. */
export const estimate = 1_000

/** The recorded amount. */
export const recorded = 300

/** The actual amount. */
export const actual = 700

/** The amount that is recorded late, as a total. */
export const lateTotal = 900

/** The usage of one element of a stream. Its cost is twice that. */
export const perElement = 50
