/**
 * The result of a reservation: the charged amount, the returned amount, or the reason why neither is certain yet.
 *
 * A settlement is a value, not an error of the body, because the body has already run. `onUnsettled: "fail"` turns a
 * `Pending` or `Rejected` settlement into the error `Unsettled`.
 *
 * **Example** (Formatting a settlement)
 *
 * ```ts
 * import { Amount, Settlement } from "effect-cycles"
 *
 * const settlement = new Settlement.Committed({
 *   reservationId: "rsv_1",
 *   actual: Amount.tokens(42),
 *   isEstimated: false,
 *   charged: Amount.tokens(42),
 *   shortfall: Amount.tokens(0),
 *   balances: [],
 *   isReadBack: false
 * })
 *
 * console.log(Settlement.format(settlement)) // committed 42 TOKENS
 * console.log(Settlement.isSettled(settlement)) // true
 * ```
 *
 * @see CommitResponse, ReleaseResponse and EventCreateResponse of the protocol
 * @since 0.1.0
 */
import type { Action } from "@effect-cycles/protocol/Action"
import { Amount } from "@effect-cycles/protocol/Amount"
import { Balance } from "@effect-cycles/protocol/Balance"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { Code } from "./CyclesError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const spend = {
  /** The id of the reservation. */
  reservationId: Schema.String,
  /** The spent amount. */
  actual: Amount,
  /** Whether `actual` is an estimate, because the actual amount is unknown. */
  isEstimated: Schema.Boolean
}

const charge = {
  ...spend,
  /** The amount that the server charged. Less than `actual` if the overage policy reduced it. */
  charged: Amount,
  /** The part of `actual` that wasn't charged. Zero if all of it was. */
  shortfall: Amount,
  /** The balances after the charge, if the server reported them. */
  balances: Schema.Array(Balance)
}

/**
 * The spend was committed.
 *
 * @category models
 * @since 0.1.0
 */
export class Committed extends Schema.TaggedClass<Committed>("effect-cycles/Settlement/Committed")("Committed", {
  ...charge,
  /** The amount that was returned to the budget, if the server reported it. */
  returned: Schema.optional(Amount),
  /** Whether `charged` was read from the reservation, because the response to the commit was lost. */
  isReadBack: Schema.Boolean
}) {}

/**
 * Nothing was committed, and the whole estimate was released. It may still be reserved if `isConfirmed` is false.
 *
 * @category models
 * @since 0.1.0
 */
export class Released extends Schema.TaggedClass<Released>("effect-cycles/Settlement/Released")("Released", {
  /** The id of the reservation. */
  reservationId: Schema.String,
  /** Why nothing was committed, as sent to the server. */
  reason: Schema.String,
  /** The amount that was returned to the budget, if the server reported it. */
  returned: Schema.optional(Amount),
  /** The balances after the release, if the server reported them. */
  balances: Schema.Array(Balance),
  /** Whether the server confirmed the release. If not, the estimate is returned when the lease ends, at the latest. */
  isConfirmed: Schema.Boolean
}) {}

/**
 * The reservation had ended before its spend was committed, so the spend was charged as an event.
 *
 * @category models
 * @since 0.1.0
 */
export class Recovered extends Schema.TaggedClass<Recovered>("effect-cycles/Settlement/Recovered")("Recovered", {
  ...charge,
  /** The server's id of the event. */
  eventId: Schema.String
}) {}

/**
 * The charge isn't confirmed yet. The client retries it in the background.
 *
 * @category models
 * @since 0.1.0
 */
export class Pending extends Schema.TaggedClass<Pending>("effect-cycles/Settlement/Pending")("Pending", {
  ...spend,
  /** Why the spend isn't settled yet. */
  because: Schema.String,
  /**
   * Whether the record is durable. If not, the client retries from memory, and the spend is lost if the process ends
   * before a retry succeeds.
   */
  isJournaled: Schema.Boolean
}) {}

/**
 * The server will never charge the spend. It is a dead letter, which must be corrected by hand.
 *
 * @category models
 * @since 0.1.0
 */
export class Rejected extends Schema.TaggedClass<Rejected>("effect-cycles/Settlement/Rejected")("Rejected", {
  ...spend,
  /** The server's error code, or a code of the client, such as `TOO_OLD`. */
  code: Code,
  /** Why the spend can't be charged. */
  because: Schema.String
}) {}

/**
 * Nothing was reserved.
 *
 * @category models
 * @since 0.1.0
 */
export class Unreserved extends Schema.TaggedClass<Unreserved>("effect-cycles/Settlement/Unreserved")("Unreserved", {
  /**
   * Why nothing was reserved and nothing is charged: the guard was a dry run; the client is in shadow mode; the server
   * could not be reached, and the call spent nothing.
   */
  reason: Schema.Literals(["dry run", "shadow", "unreachable"])
}) {}

/**
 * The spend was added to the reservation of an outer guard, which settles it.
 *
 * @category models
 * @since 0.1.0
 */
export class Joined extends Schema.TaggedClass<Joined>("effect-cycles/Settlement/Joined")("Joined", spend) {}

/**
 * The result of a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type Settlement = Committed | Released | Recovered | Pending | Rejected | Unreserved | Joined

/** The union without its functions. A bundle contains those only if the program uses `Settlement` or `match`. */
const AnySettlement = Schema.Union([Committed, Released, Recovered, Pending, Rejected, Unreserved, Joined])

/**
 * The schema of a settlement.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Settlement = AnySettlement.pipe(Schema.toTaggedUnion("_tag"))

/**
 * A settlement, with the subject and action of its reservation.
 *
 * @category models
 * @since 0.1.0
 */
export interface SettlementEvent {
  /** The settlement. */
  readonly settlement: Settlement
  /** The subject. Absent for a record that an earlier run wrote. */
  readonly subject: Subject | undefined
  /** The action. Absent for a record that an earlier run wrote. */
  readonly action: Action | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// predicates and combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether the settlement is final and nothing is lost: true for every case except `Pending` and `Rejected`.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isSettled = (self: Settlement): boolean => self._tag !== "Pending" && self._tag !== "Rejected"

/**
 * Matches on the `_tag` of a settlement, with one function for each case.
 *
 * @category pattern matching
 * @since 0.1.0
 */
export const match: typeof Settlement.match = Struct.get(Settlement, "match")

/**
 * Formats a settlement as one line of text.
 *
 * @category converting
 * @since 0.1.0
 */
export const format = (self: Settlement): string => {
  switch (self._tag) {
    case "Committed": {
      const short = self.shortfall.amount === 0n ? "" : ` of ${self.actual} (${self.shortfall} short)`
      return `committed ${self.charged}${short}`
    }
    case "Released":
      return `released${self.returned === undefined ? "" : ` ${self.returned}`} (${self.reason})`
    case "Recovered":
      return `recovered ${self.charged} as event ${self.eventId}`
    case "Pending":
      return `pending ${self.actual}: ${self.because}`
    case "Rejected":
      return `rejected ${self.actual}: ${self.code}`
    case "Unreserved":
      return `nothing reserved (${self.reason})`
    case "Joined":
      return `added ${self.actual} to reservation ${self.reservationId}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The body succeeded, but its settlement is `Pending` or `Rejected`. Only guards with `onUnsettled: "fail"` fail with
 * this error.
 *
 * **Gotchas**
 *
 * The body has already run. Running the guard again spends again.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unsettled extends Schema.TaggedError<Unsettled>()("Unsettled", {
  /** The settlement, `Pending` or `Rejected`. */
  settlement: AnySettlement
}) {
  override get message(): string {
    return `The spend is not settled: ${format(this.settlement)}`
  }
}
