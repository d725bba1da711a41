/** Updates the metrics in `Telemetry`, with a bounded set of labels. A defect in a metric is ignored. */
import type * as Context from "effect/Context"
import type { Settlement } from "../../Settlement.ts"
import * as Telemetry from "../../Telemetry.ts"
import { counterBy } from "../transport/metrics.ts"

const safely = (update: () => void): void => {
  try {
    update()
  } catch {
    // Metrics must not change what they measure.
  }
}

const knownDecisions: ReadonlySet<string> = new Set(["ALLOW", "ALLOW_WITH_CAPS", "DENY"])

const decisions = counterBy<string>(Telemetry.reservationsTotal, "decision")

const shadowDenials = counterBy<"server" | "process" | "run">(Telemetry.shadowDenialsTotal, "by")

const settlements = counterBy<Settlement["_tag"]>(Telemetry.settlementsTotal, "outcome")

const heartbeats = counterBy<"extended" | "failed" | "stopped">(Telemetry.heartbeatsTotal, "outcome")

// ---------------------------------------------------------------------------------------------------------------------
// updates
// ---------------------------------------------------------------------------------------------------------------------

/** Counts a failure of the journal. */
export const journalError = (context: Context.Context<never>): void =>
  safely(() => Telemetry.journalErrorsTotal.updateUnsafe(1, context))

/** Sets the number of records that a scan of the journal found. */
export const journalPending = (count: number, context: Context.Context<never>): void =>
  safely(() => Telemetry.journalPending.updateUnsafe(count, context))

/** Counts a reservation that this process has opened (1) or settled (-1). */
export const active = (change: 1 | -1, context: Context.Context<never>): void =>
  safely(() => Telemetry.reservationsActive.modifyUnsafe(change, context))

/** Counts a decision. */
export const decision = (decision: string, context: Context.Context<never>): void =>
  safely(() => decisions(knownDecisions.has(decision) ? decision : "other", context))

/** Counts a denial in shadow mode. */
export const shadowDenial = (by: "server" | "process" | "run", context: Context.Context<never>): void =>
  safely(() => shadowDenials(by, context))

/** Counts a call that isn't checked in shadow mode. */
export const shadowUnchecked = (context: Context.Context<never>): void =>
  safely(() => Telemetry.shadowUncheckedTotal.updateUnsafe(1, context))

/** Counts a call that runs although the server can't be reached. */
export const unreachableAllowed = (context: Context.Context<never>): void =>
  safely(() => Telemetry.unreachableAllowedTotal.updateUnsafe(1, context))

/** Counts a dead letter. */
export const unrecorded = (context: Context.Context<never>): void =>
  safely(() => Telemetry.spendUnrecordedTotal.updateUnsafe(1, context))

/** Sets the number of settlements that are neither final nor in the journal. */
export const unjournaled = (count: number, context: Context.Context<never>): void =>
  safely(() => Telemetry.spendUnjournaled.updateUnsafe(count, context))

/** Counts a settlement and its shortfall. */
export const settlement = (settlement: Settlement, context: Context.Context<never>): void => {
  safely(() => settlements(settlement._tag, context))
  if (settlement._tag === "Rejected") unrecorded(context)
  if ((settlement._tag === "Committed" || settlement._tag === "Recovered") && settlement.shortfall.amount > 0n) {
    safely(() => Telemetry.shortfallsTotal.updateUnsafe(1, context))
  }
}

/** Counts a heartbeat. */
export const heartbeat = (outcome: "extended" | "failed" | "stopped", context: Context.Context<never>): void =>
  safely(() => heartbeats(outcome, context))
