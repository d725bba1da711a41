/** The settings of a run, validated. */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type * as Clock from "effect/Clock"
import type { Checked } from "./limits.ts"
import type { Snapshot } from "./snapshot.ts"
import type { Threshold } from "./summary.ts"

/** The settings of a run, validated. */
export interface Settings {
  readonly id: string
  /** Whether the id is random, so that a repetition of the job has another one. */
  readonly isIdGenerated: boolean
  readonly name: string
  /** At most one for each unit. */
  readonly budgets: ReadonlyArray<Amount.Amount>
  readonly share: "remaining" | "carve"
  readonly uncovered: "deny" | "allow"
  /** How long a call waits for held amounts, in milliseconds. Absent if it is denied. */
  readonly whenHeldMs: number | undefined
  /** Whether a call that exceeds the rest of the budget is denied, or waits for a raise. */
  readonly whenExhausted: "deny" | "pause"
  readonly limits: Checked
  /** Ascending. */
  readonly thresholds: ReadonlyArray<number>
  readonly onThreshold: ((reached: Threshold) => void) | undefined
  readonly clock: Clock.Clock
  /** The state to continue from. */
  readonly restore: Snapshot | undefined
}
