/**
 * The sweep: expiry of reservations and removal of old rows.
 */
import * as Accounting from "./accounting.ts"
import type { Context } from "./context.ts"
import type { Reservation } from "./model.ts"
import type { Store } from "./store.ts"

/**
 * Expires overdue reservations, returns their amounts to the budgets, and removes old rows. The batch size limits the delay of
 * the current request. Returns whether more rows may be due.
 */
export const sweep = ({ nowMs, store }: Pick<Context, "nowMs" | "store">): boolean => {
  const reservations = store.reservations.due(nowMs - 1, sweepBatchSize)
  for (const reservation of reservations) {
    if (reservation.status === "ACTIVE") expire(store, reservation)
    else store.reservations.remove(reservation.id)
  }
  const removedResponses = store.responses.forget(nowMs - 1, sweepBatchSize)
  return reservations.length === sweepBatchSize || removedResponses === sweepBatchSize
}

const sweepBatchSize = 1_000

const expire = (store: Store, reservation: Reservation): void => {
  Accounting.withoutHold(store, reservation).forEach(store.budgets.put)
  store.reservations.put({ ...reservation, status: "EXPIRED" })
}
