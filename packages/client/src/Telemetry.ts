/**
 * The metrics of the client, as Effect `Metric`s.
 *
 * **Details**
 *
 * - Labels have few values: operations, decisions and outcomes. No label contains a tenant, an agent or a reservation.
 * - Each call has a span, such as `Cycles.reserve`, with ids and amounts as attributes.
 *
 * **Gotchas**
 *
 * Alert if `spendUnrecordedTotal` increases or if `spendUnjournaled` stays above 0.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

/**
 * Counts calls by `operation` and `outcome`: `ok`, the tag of the error, or `interrupted`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const callsTotal = Metric.counter("cycles_calls_total", {
  description: "Calls of the protocol by operation and outcome",
  incremental: true
})

/**
 * Counts reserves by `decision`: `ALLOW`, `ALLOW_WITH_CAPS`, `DENY` or `other`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const reservationsTotal = Metric.counter("cycles_reservations_total", {
  description: "Reservations by decision",
  incremental: true
})

/**
 * Counts settlements by `outcome`: `Committed`, `Released`, `Recovered`, `Joined`, `Pending` or `Rejected`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const settlementsTotal = Metric.counter("cycles_settlements_total", {
  description: "Settlements by outcome",
  incremental: true
})

/**
 * Counts dead letters: spend that no budget was charged for. Alert on any increase.
 *
 * @category metrics
 * @since 0.1.0
 */
export const spendUnrecordedTotal = Metric.counter("cycles_spend_unrecorded_total", {
  description: "Settlements that ended as dead letters",
  incremental: true
})

/**
 * Counts settlements that charged less than the actual amount, because of the overage policy.
 *
 * @category metrics
 * @since 0.1.0
 */
export const shortfallsTotal = Metric.counter("cycles_shortfalls_total", {
  description: "Settlements that charged less than was spent",
  incremental: true
})

/**
 * The number of settlements that are neither final nor in the journal. A crash would lose them. Alert if it stays above
 * 0.
 *
 * @category metrics
 * @since 0.1.0
 */
export const spendUnjournaled = Metric.gauge("cycles_spend_unjournaled", {
  description: "Unsettled spend that the journal does not hold"
})

/**
 * Counts the denials that a client in shadow mode didn't enforce, by `by`: `server`, `process` (the spend that this process has let
 * through would have used up the budget) or `run`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const shadowDenialsTotal = Metric.counter("cycles_shadow_denials_total", {
  description: "Calls that would have been denied, in shadow mode",
  incremental: true
})

/**
 * Counts guarded calls that a client in shadow mode let run unchecked, because the request is invalid or there is no usable
 * response from the server.
 *
 * @category metrics
 * @since 0.1.0
 */
export const shadowUncheckedTotal = Metric.counter("cycles_shadow_unchecked_total", {
  description: "Calls that could not be checked, in shadow mode",
  incremental: true
})

/**
 * Counts guarded calls that ran without a reservation, because the server could not be reached and `onUnreachable` is `allow`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const unreachableAllowedTotal = Metric.counter("cycles_unreachable_allowed_total", {
  description: "Calls that ran without a reservation, because the server could not be reached",
  incremental: true
})

/**
 * Counts heartbeats by `outcome`: `extended`, `failed` or `stopped`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const heartbeatsTotal = Metric.counter("cycles_heartbeats_total", {
  description: "Lease extensions by outcome",
  incremental: true
})

/**
 * Counts failed operations of the journal. Settlements continue, but don't survive a crash.
 *
 * @category metrics
 * @since 0.1.0
 */
export const journalErrorsTotal = Metric.counter("cycles_journal_errors_total", {
  description: "Failed operations of the settlement journal",
  incremental: true
})

/**
 * The number of pending records that the last scan of the journal found.
 *
 * @category metrics
 * @since 0.1.0
 */
export const journalPending = Metric.gauge("cycles_journal_pending", {
  description: "Settlements waiting in the journal"
})

/**
 * The number of open reservations of this process. A reservation is open until it is settled, or until its settlement is
 * left to a later scan of the journal.
 *
 * @category metrics
 * @since 0.1.0
 */
export const reservationsActive = Metric.gauge("cycles_reservations_active", {
  description: "Reservations that are not settled yet"
})
