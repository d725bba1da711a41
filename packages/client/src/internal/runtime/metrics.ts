/**
 * Counting: what happens, into the metrics of `Telemetry`, by their bounded labels.
 */
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { Operation } from "../../CyclesError.ts"
import { isCyclesError } from "../../CyclesError.ts"
import type { Settlement } from "../../Settlement.ts"
import * as Telemetry from "../../Telemetry.ts"

// ---------------------------------------------------------------------------------------------------------------------
// counters by label
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Counts one for a label. Each label has a counter of its own, made once: a metric that gets its attributes at each update
 * makes a new name for its series each time.
 */
const counterBy = <Label extends string>(
  metric: Metric.Metric<number, unknown>,
  name: string,
  attributes?: Readonly<Record<string, string>>
) => {
  const made = new Map<Label, Metric.Counter<number>>()
  return (label: Label, context: Context.Context<never>): void => {
    let labelled = made.get(label)
    if (labelled === undefined) {
      labelled = Metric.counter(metric.id, {
        description: metric.description,
        incremental: true,
        attributes: { ...attributes, [name]: label }
      })
      made.set(label, labelled)
    }
    labelled.updateUnsafe(1, context)
  }
}

const callCounters = new Map<Operation, ReturnType<typeof counterBy<string>>>()

const callCounter = (operation: Operation): ReturnType<typeof counterBy<string>> => {
  let counter = callCounters.get(operation)
  if (counter === undefined) {
    counter = counterBy(Telemetry.callsTotal, "outcome", { operation })
    callCounters.set(operation, counter)
  }
  return counter
}

const knownDecisions: ReadonlySet<string> = new Set(["ALLOW", "ALLOW_WITH_CAPS", "DENY"])

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && isCyclesError(reason.error)) return reason.error._tag
  }
  return "interrupted"
}

// ---------------------------------------------------------------------------------------------------------------------
// what is counted
// ---------------------------------------------------------------------------------------------------------------------

/** Counts a call by how it ended. */
export const call = (operation: Operation, exit: Exit.Exit<unknown, unknown>, context: Context.Context<never>): void =>
  callCounter(operation)(outcomeOf(exit), context)

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
