/**
 * The policies for a lease that can't be kept, and the error of the stricter ones.
 *
 * The `Cycles` layer extends every reservation by itself until its settlement ends.
 *
 * @see HEARTBEAT GUIDANCE of `extendReservation` in the protocol
 */
import * as Schema from "effect/Schema"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What to do when the lease of a running body can't be kept. */
export type Heartbeat =
  /** Log a warning and continue: the spend is then charged as an event. The default. */
  | "warn"
  /** Let the body end and settle its spend, then fail with `LeaseLost`. */
  | "failOnFinalize"
  /** Interrupt the body, settle what it has spent, and fail with `LeaseLost`. */
  | "cancel"

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The lease could not be kept while the body ran, so the budget may have been reserved by others.
 *
 * The spend of the body is settled all the same. Only with the policies `failOnFinalize` and `cancel`.
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  reservationId: Schema.String,
  /** The error code of the last response, or the client's reason. */
  reason: Schema.String
}) {
  override get message(): string {
    return `The lease of reservation ${this.reservationId} was lost: ${this.reason}`
  }
}
