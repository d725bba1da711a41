/**
 * The latest denials of a server, for its page. They are in memory and end with the process.
 */
import type { BudgetRequest } from "./context.ts"

/** A call that was refused because of a budget, a policy or a rule. */
export interface Denial {
  /** In epoch milliseconds. */
  readonly atMs: number
  readonly scope: string
  readonly action: BudgetRequest["action"]
  readonly unit: string
  readonly amount: bigint
  /** The error code or the reason code. */
  readonly code: string
  /** The message of the error response. Empty for a decision, which has only a code. */
  readonly message: string
}

/** Collects denials. */
export interface Activity {
  readonly deny: (denial: Denial) => void
  /** The latest denials, the newest first. */
  readonly denials: () => ReadonlyArray<Denial>
}

/** Creates an activity that keeps the latest denials. */
export const make = (): Activity => {
  const latest: Array<Denial> = []
  return {
    deny: (denial) => {
      latest.unshift(denial)
      if (latest.length > maxDenials) latest.pop()
    },
    denials: () => latest
  }
}

const maxDenials = 50
