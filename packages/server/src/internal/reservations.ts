/**
 * Checks of a reservation before a command: its owner, and whether it can be settled. Also the time of a settlement.
 *
 * @see AUTH & TENANCY and ERROR SEMANTICS in cycles-protocol-v0.yaml
 */
import type { Caller, Context } from "./context.ts"
import type { Reservation } from "./model.ts"
import { forbidden, notFound, ErrorResponse } from "./errorResponse.ts"

/** Returns a reservation of the caller, or throws a 404 or 403. The admin key has access to all reservations. */
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

/** Throws unless the reservation is active and within its grace period. */
export const checkSettleable = (reservation: Reservation, nowMs: number): void => {
  if (reservation.status === "EXPIRED") throw reservationExpired()
  if (reservation.status !== "ACTIVE") throw reservationFinalized()
  if (nowMs > reservation.expiresAtMs + reservation.graceMs) throw reservationExpired()
}

/**
 * The time of a settlement, in epoch milliseconds. Settlements of one tenant within the same millisecond get increasing times,
 * at most 2 ms ahead of the clock, so that time filters of a list can separate them.
 */
export const nextSettlementTime = (context: Context, tenantId: string): number => {
  const last = context.lastSettled.get(tenantId) ?? 0
  const at = last >= context.nowMs ? Math.min(last + 1, context.nowMs + 2) : context.nowMs
  context.lastSettled.set(tenantId, at)
  return at
}

/** 410: the reservation has expired. */
export const reservationExpired = (): ErrorResponse =>
  new ErrorResponse(410, "RESERVATION_EXPIRED", "Provided reservation has already expired")

/** 409: the reservation has been settled. */
export const reservationFinalized = (): ErrorResponse =>
  new ErrorResponse(409, "RESERVATION_FINALIZED", "Reservation finalized: Reservation already finalized")
