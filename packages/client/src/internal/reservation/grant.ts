/** The parts of the response to a reserve that the body can read. A waiting call doesn't keep the others. */
import type { Balance } from "@effect-cycles/protocol/Balance"
import type { Caps } from "@effect-cycles/protocol/Caps"
import type { Decision } from "@effect-cycles/protocol/Decision"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"

/** A granted reserve. */
export interface Grant {
  readonly id: ReservationId | undefined
  readonly decision: Decision
  readonly caps: Caps | undefined
  readonly scopes: ReadonlyArray<string>
  readonly balances: ReadonlyArray<Balance>
}

/** The grant of a response. */
export const grantOf = ({
  affectedScopes,
  balances,
  caps,
  decision,
  reservationId
}: ReservationCreateResponse): Grant => ({
  id: reservationId,
  decision,
  caps,
  scopes: affectedScopes,
  balances: balances ?? none
})

const none: ReadonlyArray<Balance> = []
