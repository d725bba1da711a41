/**
 * How a reservation ended: a value that tells the caller what was charged, what went back and what is still open.
 *
 * A settlement is never an error of the body that it settles: what was done has been done. Who wants a failure instead
 * says so by the option `onUnsettled: "fail"`.
 *
 * Source: rule 3 of ours; the amounts are those of CommitResponse, ReleaseResponse and EventCreateResponse.
 */
import { Amount } from "@effect-cycles/protocol/Amount"
import { Balance } from "@effect-cycles/protocol/Balance"
import * as Schema from "effect/Schema"
import { Code } from "./CyclesError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const spend = {
  reservationId: Schema.String,
  /** What was spent, as the body told it. */
  actual: Amount,
  /** Whether `actual` is the estimate, because no actual amount was told. */
  isEstimated: Schema.Boolean
}

/** How a reservation ended. */
export const Settlement = Schema.TaggedUnion({
  /** The spend was committed. */
  Charged: {
    ...spend,
    /** What the budget was charged: less than `actual` where the overage policy cut it. */
    charged: Amount,
    /** The part of `actual` that was not charged; zero where all of it was. */
    shortfall: Amount,
    /** What went back to the budget, where the server told. */
    returned: Schema.optional(Amount),
    balances: Schema.Array(Balance),
    /** Whether the charge is known from reading the reservation, since the answer to the commit was lost. */
    isReadBack: Schema.Boolean
  },
  /** Nothing was spent and the whole estimate went back. */
  Released: {
    reservationId: Schema.String,
    reason: Schema.String,
    returned: Schema.optional(Amount),
    balances: Schema.Array(Balance),
    /** False where no answer confirmed it: then the budget gets it back when the lease ends. */
    isConfirmed: Schema.Boolean
  },
  /** The lease had ended before the spend could be committed; it was charged as an event. */
  Recovered: {
    ...spend,
    eventId: Schema.String,
    charged: Amount,
    shortfall: Amount,
    balances: Schema.Array(Balance)
  },
  /** The charge is not confirmed yet. The record is in the journal and is tried again. */
  Pending: {
    ...spend,
    /** Why it is not settled yet. */
    because: Schema.String,
    /** Whether the journal holds the record; false where the journal is off or failed. */
    isJournaled: Schema.Boolean
  },
  /** The server will never charge it. The spend is among the dead letters, for somebody to put right. */
  Rejected: {
    ...spend,
    /** The server's error code, or what the client concluded. */
    code: Code,
    because: Schema.String
  },
  /** Nothing was reserved in the first place: the guard was a dry run. */
  Unreserved: {
    reason: Schema.Literals(["dry run"])
  }
})

/** How a reservation ended. */
export type Settlement = typeof Settlement.Type

/** The spend was committed. */
export type Charged = typeof Settlement.cases.Charged.Type

/** Nothing was spent and the whole estimate went back. */
export type Released = typeof Settlement.cases.Released.Type

/** The spend was charged as an event, after the lease had ended. */
export type Recovered = typeof Settlement.cases.Recovered.Type

/** The charge is not confirmed yet. */
export type Pending = typeof Settlement.cases.Pending.Type

/** The server will never charge it. */
export type Rejected = typeof Settlement.cases.Rejected.Type

/** Nothing was reserved. */
export type Unreserved = typeof Settlement.cases.Unreserved.Type

// ---------------------------------------------------------------------------------------------------------------------
// predicates and combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the books are closed: charged, recovered, released, or nothing was reserved. */
export const isSettled = (self: Settlement): boolean => self._tag !== "Pending" && self._tag !== "Rejected"

/** One result for each way a reservation can end. */
export const match: typeof Settlement.match = Settlement.match

/** The settlement in one line. */
export const format = (self: Settlement): string => {
  switch (self._tag) {
    case "Charged": {
      const short = self.shortfall.amount === 0n ? "" : ` of ${self.actual} (${self.shortfall} short)`
      return `charged ${self.charged}${short}`
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
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The body succeeded, but its spend could not be charged for sure. It is in `E` only where `onUnsettled: "fail"` asks for
 * it; the body has run, so running it again spends again.
 */
export class Unsettled extends Schema.TaggedError<Unsettled>()("Unsettled", {
  settlement: Settlement
}) {
  override get message(): string {
    return `The spend is not settled: ${format(this.settlement)}`
  }
}
