/**
 * The metrics of the client, each a `Metric` that can be read or exported as it is. Labels are bounded: operations,
 * decisions, outcomes and known units; no tenant, no agent, no reservation.
 *
 * Spans are `Cycles.reserve`, `Cycles.commit` and so on, one for each call, with ids and amounts as attributes.
 *
 * Source: ours. The names are part of the public interface and pinned by a test.
 */
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { Operation } from "./CyclesError.ts"
import { isCyclesError } from "./CyclesError.ts"
import type { Settlement } from "./Settlement.ts"

// ---------------------------------------------------------------------------------------------------------------------
// metrics
// ---------------------------------------------------------------------------------------------------------------------

/** Calls by `operation` and `outcome` (`ok`, the tag of the error, or `interrupted`). */
export const callsTotal = Metric.counter("cycles_calls_total", {
  description: "Calls of the protocol by operation and outcome",
  incremental: true
})

/** Guarded acts by `decision`: `ALLOW`, `ALLOW_WITH_CAPS`, `DENY`, or `other`. */
export const reservationsTotal = Metric.counter("cycles_reservations_total", {
  description: "Reservations by decision",
  incremental: true
})

/** Settlements by `outcome`: `Charged`, `Released`, `Recovered`, `Pending`, `Rejected`. */
export const settlementsTotal = Metric.counter("cycles_settlements_total", {
  description: "Settlements by outcome",
  incremental: true
})

/** Spend that no budget was charged for: one for each dead letter. Alert on any. */
export const spendUnrecordedTotal = Metric.counter("cycles_spend_unrecorded_total", {
  description: "Settlements that ended as dead letters",
  incremental: true
})

/** Heartbeats by `outcome`: `extended`, `failed`, `stopped`. */
export const heartbeatsTotal = Metric.counter("cycles_heartbeats_total", {
  description: "Lease extensions by outcome",
  incremental: true
})

/** Failures of the journal. Spend goes on to be settled, but does not survive a crash. */
export const journalErrorsTotal = Metric.counter("cycles_journal_errors_total", {
  description: "Failed operations of the settlement journal",
  incremental: true
})

/** Records that the last look into the journal found waiting. */
export const journalPending = Metric.gauge("cycles_journal_pending", {
  description: "Settlements waiting in the journal"
})

/** Reservations that this process holds now. */
export const reservationsActive = Metric.gauge("cycles_reservations_active", {
  description: "Reservations that are not settled yet"
})

// ---------------------------------------------------------------------------------------------------------------------
// counting
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
    counter = counterBy(callsTotal, "outcome", { operation })
    callCounters.set(operation, counter)
  }
  return counter
}

/** Counts a call by how it ended. */
export const countCall = (
  operation: Operation,
  exit: Exit.Exit<unknown, unknown>,
  context: Context.Context<never>
): void => callCounter(operation)(outcomeOf(exit), context)

/** Counts a failure of the journal. */
export const countJournalError = (context: Context.Context<never>): void => journalErrorsTotal.updateUnsafe(1, context)

/** Counts a reservation that is held from now on (1), or no longer (-1). */
export const countActive = (change: 1 | -1, context: Context.Context<never>): void =>
  reservationsActive.modifyUnsafe(change, context)

/** Counts a decision. */
export const countDecision: (decision: string, context: Context.Context<never>) => void = (() => {
  const count = counterBy<string>(reservationsTotal, "decision")
  return (decision, context) => count(knownDecisions.has(decision) ? decision : "other", context)
})()

/** Counts a settlement, and unrecorded spend among them. */
export const countSettlement: (settlement: Settlement, context: Context.Context<never>) => void = (() => {
  const count = counterBy<Settlement["_tag"]>(settlementsTotal, "outcome")
  return (settlement, context) => {
    count(settlement._tag, context)
    if (settlement._tag === "Rejected") spendUnrecordedTotal.updateUnsafe(1, context)
  }
})()

/** Counts a heartbeat. */
export const countHeartbeat: (outcome: "extended" | "failed" | "stopped", context: Context.Context<never>) => void =
  counterBy<"extended" | "failed" | "stopped">(heartbeatsTotal, "outcome")

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const knownDecisions: ReadonlySet<string> = new Set(["ALLOW", "ALLOW_WITH_CAPS", "DENY"])

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && isCyclesError(reason.error)) return reason.error._tag
  }
  return "interrupted"
}
