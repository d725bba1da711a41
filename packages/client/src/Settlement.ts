/**
 * How a reservation ended: the amount that was charged, the amount that was returned, and what is still open.
 *
 * A settlement is a value, not an error of the body: the body has run. `onUnsettled: "fail"` turns a settlement that
 * isn't certain into the error `Unsettled`.
 *
 * @see CommitResponse, ReleaseResponse and EventCreateResponse of the protocol
 */
import type { Action } from "@effect-cycles/protocol/Action"
import { Amount } from "@effect-cycles/protocol/Amount"
import { Balance } from "@effect-cycles/protocol/Balance"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Schema from "effect/Schema"
import { Code } from "./CyclesError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const spend = {
  reservationId: Schema.String,
  /** The amount that was spent. */
  actual: Amount,
  /** Whether `actual` is an estimate, because no actual amount is known. */
  isEstimated: Schema.Boolean
}

const charge = {
  ...spend,
  /** The amount that the budget was charged; less than `actual` if the overage policy reduced it. */
  charged: Amount,
  /** The part of `actual` that wasn't charged; zero if all of it was. */
  shortfall: Amount,
  balances: Schema.Array(Balance)
}

/** The spend was committed. */
export class Committed extends Schema.TaggedClass<Committed>("effect-cycles/Settlement/Committed")("Committed", {
  ...charge,
  /** The amount that was returned to the budget, if the server reported it. */
  returned: Schema.optional(Amount),
  /** Whether the charge is known from reading the reservation, because the response to the commit was lost. */
  isReadBack: Schema.Boolean
}) {}

/** Nothing was spent and the whole estimate was returned. */
export class Released extends Schema.TaggedClass<Released>("effect-cycles/Settlement/Released")("Released", {
  reservationId: Schema.String,
  reason: Schema.String,
  returned: Schema.optional(Amount),
  balances: Schema.Array(Balance),
  /** False if no response confirmed it: the budget is then returned when the lease ends. */
  isConfirmed: Schema.Boolean
}) {}

/** The lease had ended before the spend could be committed; it was charged as an event. */
export class Recovered extends Schema.TaggedClass<Recovered>("effect-cycles/Settlement/Recovered")("Recovered", {
  ...charge,
  eventId: Schema.String
}) {}

/** The charge isn't confirmed yet, and is retried. */
export class Pending extends Schema.TaggedClass<Pending>("effect-cycles/Settlement/Pending")("Pending", {
  ...spend,
  /** Why it isn't settled yet. */
  because: Schema.String,
  /** Whether the journal holds the record durably. If not, it is retried from memory until the process ends. */
  isJournaled: Schema.Boolean
}) {}

/** The server will never charge it. The spend is a dead letter, for a person to correct. */
export class Rejected extends Schema.TaggedClass<Rejected>("effect-cycles/Settlement/Rejected")("Rejected", {
  ...spend,
  /** The server's error code, or the client's own (`TOO_OLD`). */
  code: Code,
  because: Schema.String
}) {}

/** Nothing was reserved: the guard was a dry run. */
export class Unreserved extends Schema.TaggedClass<Unreserved>("effect-cycles/Settlement/Unreserved")("Unreserved", {
  reason: Schema.Literals(["dry run"])
}) {}

/** The spend was added to the reservation of an outer guard, which settles it. */
export class Joined extends Schema.TaggedClass<Joined>("effect-cycles/Settlement/Joined")("Joined", spend) {}

/** How a reservation ended. */
export type Settlement = Committed | Released | Recovered | Pending | Rejected | Unreserved | Joined

/** How a reservation ended. */
export const Settlement = Schema.Union([Committed, Released, Recovered, Pending, Rejected, Unreserved, Joined]).pipe(
  Schema.toTaggedUnion("_tag")
)

/** A settlement and the subject and action of its reservation; both are absent for records of an earlier run. */
export interface SettlementEvent {
  readonly settlement: Settlement
  readonly subject: Subject | undefined
  readonly action: Action | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// predicates and combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Whether nothing is left to do: every case except `Pending` and `Rejected`. */
export const isSettled = (self: Settlement): boolean => self._tag !== "Pending" && self._tag !== "Rejected"

/** Returns one result for each way in which a reservation can end. */
export const match: typeof Settlement.match = Settlement.match

/** The settlement in one line. */
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
 * The body succeeded, but it isn't certain that its spend was charged. Only with `onUnsettled: "fail"`. The body has
 * run: running it again spends again.
 */
export class Unsettled extends Schema.TaggedError<Unsettled>()("Unsettled", {
  settlement: Settlement
}) {
  override get message(): string {
    return `The spend is not settled: ${format(this.settlement)}`
  }
}
