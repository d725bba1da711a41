/**
 * Counting: what happens, into the metrics of `Telemetry`, by their bounded labels.
 */
import type * as Context from "effect/Context"
import type { Settlement } from "../../Settlement.ts"
import * as Telemetry from "../../Telemetry.ts"
import { counterBy } from "../transport/metrics.ts"

const knownDecisions: ReadonlySet<string> = new Set(["ALLOW", "ALLOW_WITH_CAPS", "DENY"])

// ---------------------------------------------------------------------------------------------------------------------
// what is counted
// ---------------------------------------------------------------------------------------------------------------------

/** Counts a failure of the journal. */
export const journalError = (context: Context.Context<never>): void =>
  Telemetry.journalErrorsTotal.updateUnsafe(1, context)

/** Counts a reservation that is held from now on (1), or no longer (-1). */
export const active = (change: 1 | -1, context: Context.Context<never>): void =>
  Telemetry.reservationsActive.modifyUnsafe(change, context)

/** Counts a decision. */
export const decision: (decision: string, context: Context.Context<never>) => void = (() => {
  const count = counterBy<string>(Telemetry.reservationsTotal, "decision")
  return (decision, context) => count(knownDecisions.has(decision) ? decision : "other", context)
})()

/** Counts spend that no budget will be charged for. */
export const unrecorded = (context: Context.Context<never>): void =>
  Telemetry.spendUnrecordedTotal.updateUnsafe(1, context)

/** Counts a settlement, and unrecorded spend among them. */
export const settlement: (settlement: Settlement, context: Context.Context<never>) => void = (() => {
  const count = counterBy<Settlement["_tag"]>(Telemetry.settlementsTotal, "outcome")
  return (settlement, context) => {
    count(settlement._tag, context)
    if (settlement._tag === "Rejected") unrecorded(context)
  }
})()

/** Counts a heartbeat. */
export const heartbeat: (outcome: "extended" | "failed" | "stopped", context: Context.Context<never>) => void =
  counterBy<"extended" | "failed" | "stopped">(Telemetry.heartbeatsTotal, "outcome")
