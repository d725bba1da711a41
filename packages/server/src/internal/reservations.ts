/**
 * What a caller may do with a reservation at an instant: whose it is, whether it can still be settled, and the time of its
 * settlement. What a settlement does is in `ledger.ts`.
 *
 * Source: AUTH & TENANCY and ERROR SEMANTICS of the protocol.
 */
import type { Caller, Context } from "./context.ts"
import type { Reservation } from "./model.ts"
import { forbidden, notFound, ErrorResponse } from "./errorResponse.ts"

/** A reservation of the caller's. */
export const ownedReservation = (
  context: Pick<Context, "store">,
  caller: Caller | "admin",
  id: string
): Reservation => {
  const reservation = context.store.reservations.get(id)
  if (reservation === undefined) throw notFound(id)
  if (caller !== "admin" && reservation.tenantId !== caller.tenant.id) {
    throw forbidden("Reservation is owned by another tenant")
  }
  return reservation
}

/** Refuses to settle what has ended, or is past its grace. */
export const checkSettleable = (reservation: Reservation, nowMs: number): void => {
  if (reservation.status === "EXPIRED") throw reservationExpired()
  if (reservation.status !== "ACTIVE") throw reservationFinalized()
  if (nowMs > reservation.expiresAtMs + reservation.graceMs) throw reservationExpired()
}

/**
 * The instant of a settlement. Those of one tenant in the same millisecond are told apart by one or two, so that windows
 * over their times can be drawn between them.
 */
export const nextSettlementTime = (context: Context, tenantId: string): number => {
  const last = context.lastSettled.get(tenantId) ?? 0
  const at = last >= context.nowMs ? Math.min(last + 1, context.nowMs + 2) : context.nowMs
  context.lastSettled.set(tenantId, at)
  return at
}

/** The refusal of what has expired. */
export const reservationExpired = (): ErrorResponse =>
  new ErrorResponse(410, "RESERVATION_EXPIRED", "Provided reservation has already expired")

/** The refusal of what has been settled. */
export const reservationFinalized = (): ErrorResponse =>
  new ErrorResponse(409, "RESERVATION_FINALIZED", "Reservation finalized: Reservation already finalized")
