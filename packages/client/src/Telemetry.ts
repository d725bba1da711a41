/**
 * The metrics of the client, each a `Metric` that can be read or exported as it is. Labels are bounded: operations,
 * decisions, outcomes and known units; no tenant, no agent, no reservation.
 *
 * Spans are `Cycles.reserve`, `Cycles.commit` and so on, one for each call, with ids and amounts as attributes.
 *
 * Source: ours. The names are part of the public interface and pinned by a test.
 */
import * as Metric from "effect/Metric"

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

/** Settlements by `outcome`: `Committed`, `Released`, `Recovered`, `Pending`, `Rejected`. */
export const settlementsTotal = Metric.counter("cycles_settlements_total", {
  description: "Settlements by outcome",
  incremental: true
})

/** Spend that no budget was charged for: one for each dead letter. Alert on any. */
export const spendUnrecordedTotal = Metric.counter("cycles_spend_unrecorded_total", {
  description: "Settlements that ended as dead letters",
  incremental: true
})

/** Settlements whose overage policy left a part of the spend uncharged. */
export const shortfallsTotal = Metric.counter("cycles_shortfalls_total", {
  description: "Settlements that charged less than was spent",
  incremental: true
})

/** Spend that is neither settled nor in the journal: it would be lost with the process. Alert if it stays above 0. */
export const spendUnjournaled = Metric.gauge("cycles_spend_unjournaled", {
  description: "Unsettled spend that the journal does not hold"
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
