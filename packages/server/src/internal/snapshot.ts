/**
 * What the page shows: the budgets, the live reservations and the latest denials of all tenants.
 */
import type { Server } from "./call.ts"
import type { Reservation } from "./model.ts"
import { remaining } from "./model.ts"

/** Reads the state at a time in epoch milliseconds. Amounts are decimal texts. */
export const snapshot = (server: Server, store: string, nowMs: number): object => {
  const budgets = Array.from(server.store.budgets.all())
  const reservations = liveReservations(server)
  return {
    store,
    budgetCount: budgets.length,
    budgets: budgets
      .toSorted((a, b) => compare(a.scope, b.scope) || compare(a.unit, b.unit))
      .slice(0, maxBudgets)
      .map((budget) => ({
        scope: budget.scope,
        unit: budget.unit,
        status: budget.status,
        allocated: String(budget.allocated),
        spent: String(budget.spent),
        reserved: String(budget.reserved),
        debt: String(budget.debt),
        remaining: String(remaining(budget)),
        overdraftLimit: String(budget.overdraftLimit),
        isOverLimit: budget.isOverLimit
      })),
    reservationCount: reservations.length,
    reservations: reservations
      .toSorted((a, b) => a.expiresAtMs - b.expiresAtMs)
      .slice(0, maxReservations)
      .map(({ action, amount, expiresAtMs, scopePath, unit }) => ({
        scope: scopePath,
        action: nameOf(action),
        unit,
        amount: String(amount),
        expiresAtMs
      })),
    denials: server.activity
      .denials()
      .filter(({ atMs }) => nowMs - atMs < denialLifetimeMs)
      .map(({ action, amount, atMs, code, message, scope, unit }) => ({
        atMs,
        scope,
        action: nameOf(action),
        unit,
        amount: String(amount),
        code,
        message
      }))
  }
}

const [maxBudgets, maxReservations, denialLifetimeMs] = [200, 100, 24 * 60 * 60_000]

const nameOf = ({ kind, name }: Reservation["action"]): string => `${kind} ${name}`

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The active reservations among the latest of each tenant. A full scan would cost more with every reservation of the ledger. */
const liveReservations = (server: Server): ReadonlyArray<Reservation> => {
  const live: Array<Reservation> = []
  const tenants = Array.from(server.store.tenants.all())
  const scanned = Math.max(50, Math.ceil(maxScanned / Math.max(1, tenants.length)))
  for (const { id } of tenants) {
    let count = 0
    for (const reservation of server.store.reservations.byCreation(id, "desc")) {
      if (reservation.status === "ACTIVE") live.push(reservation)
      count += 1
      if (count >= scanned) break
    }
  }
  return live
}

const maxScanned = 2_000
