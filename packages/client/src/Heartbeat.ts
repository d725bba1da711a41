/**
 * What happens while a lease has to be kept alive: the policy of the user's choice, and the error of the stricter ones.
 *
 * The beats themselves need no call: every reservation is extended by the `Cycles` layer until its settlement ends.
 *
 * Source: HEARTBEAT GUIDANCE of `extendReservation`; the policies are ours.
 */
import * as Schema from "effect/Schema"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What to do when the lease of a running body can't be kept. */
export type Policy =
  /** Log it and go on: the spend is then charged as an event. The default. */
  | "warn"
  /** Let the body end and settle its spend, then fail with `LeaseLost`. */
  | "failOnFinalize"
  /** Stop the body, settle what it had spent, and fail with `LeaseLost`. */
  | "cancel"

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The lease could not be kept alive while the body ran, so that the budget may have been given to others.
 *
 * What the body had spent is settled all the same. It is in `E` only under the policies `failOnFinalize` and `cancel`.
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  reservationId: Schema.String,
  /** The code of the server's last answer, or what the client concluded. */
  reason: Schema.String
}) {
  override get message(): string {
    return `The lease of reservation ${this.reservationId} was lost: ${this.reason}`
  }
}
