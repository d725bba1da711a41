/**
 * Policies for a lost lease, and the error of the two stricter ones.
 *
 * The client extends the lease of every reservation in the background until its settlement ends. A lease is lost if the
 * server refuses to extend it, or if no extension succeeds before it ends.
 *
 * @see HEARTBEAT GUIDANCE of extendReservation in the protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a guard does if it loses its lease while the body runs.
 *
 * **Example** (Interrupting a body without a lease)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * export const step = Effect.succeed("done").pipe(
 *   Cycles.withCycles({
 *     action: { kind: "tool.search", name: "web" },
 *     estimate: Amount.usd("0.01"),
 *     heartbeat: "cancel"
 *   }),
 *   Effect.catchTag("LeaseLost", (error) => Effect.succeed(`stopped: ${error.reason}`))
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type Heartbeat =
  /**
   * Logs a warning and lets the body continue. If its spend can't be committed, it is charged as an event. The default.
   */
  | "warn"
  /** Lets the body end, settles its spend, and then fails with `LeaseLost`. */
  | "failOnFinalize"
  /** Interrupts the body, settles its spend, and fails with `LeaseLost`. */
  | "cancel"

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The lease was lost while the body ran, so the server may have given the reserved budget to other calls.
 *
 * The spend of the body is settled all the same. Only the policies `failOnFinalize` and `cancel` fail with this error.
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  /** The id of the reservation. */
  reservationId: Schema.String,
  /** The error code of the last response, or the reason of the client. */
  reason: Schema.String
}) {
  override get message(): string {
    return `The lease of reservation ${this.reservationId} was lost: ${this.reason}`
  }
}
