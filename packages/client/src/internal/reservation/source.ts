/** The source of the budget of a guarded call, and the call's recorded spend. */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as Effect from "effect/Effect"
import type { Unreserved } from "../../Settlement.ts"
import type { Draw, Owner } from "./shared.ts"

/** The source of the budget of a guarded call. */
export type Source<O extends Owner> =
  | { readonly _tag: "Reservation"; readonly id: ReservationId }
  /** The server can't be reached: the call runs, and an event with this id and key stem charges its spend later. */
  | { readonly _tag: "Unreachable"; readonly id: ReservationId; readonly stem: string }
  /** A part of the reservation of an outer guard, or of a run. `id` is the id of that reservation. */
  | { readonly _tag: "Joined"; readonly id: ReservationId; readonly draw: Draw<O> }
  /** No budget: the call runs, and its spend isn't charged. */
  | {
      readonly _tag: "Unreserved"
      readonly reason: Unreserved["reason"]
      /** Runs when the settlement is decided. */
      readonly atEnd?: Effect.Effect<void> | undefined
    }

/** The source of a call without budget. */
export const unreserved = (reason: Unreserved["reason"], atEnd?: Effect.Effect<void>): Source<never> => ({
  _tag: "Unreserved",
  reason,
  atEnd
})

/** The id of spend in the journal, and the stem of its keys. */
export interface Account {
  readonly id: ReservationId
  readonly stem: string
}

/** The recorded total. */
export interface Recorded {
  readonly amount: Amount.Amount
  readonly isEstimated: boolean
}

/** The decided settlement. */
export interface Decided {
  readonly by: "commit" | "release"
  /** The settled amount plus late spend. */
  settled: bigint
  /** How often spend was recorded late. */
  lateCount: number
  /** Whether the spend of a joined call went into the reservation around it. */
  isDrawn: boolean
}

/** Spend that was recorded after the settlement was decided, above the settled amount. */
export interface Late {
  readonly amount: Amount.Amount
  /** 1 for the first late spend of a reservation, and so on. */
  readonly ordinal: number
}
