/** The charges and dead letters of a world, by the call that they belong to. */
import type { Disk } from "./disk.ts"
import { amountOf, keyOf } from "./disk.ts"
import type { Server } from "./server.ts"
import { ownerIn } from "./server.ts"

/** The charges and dead letters of one key. */
export interface Account {
  charged: number
  letters: number
  readonly details: Array<string>
}

/** Returns the accounts by the keys of the reserves. A call without a reservation has one by its own key. */
export const accountsOf = (disks: ReadonlyArray<Disk>, server: Server): Map<string, Account> => {
  const accounts = new Map<string, Account>()
  const of = (name: string): Account => {
    const known = accounts.get(name)
    if (known !== undefined) return known
    const made: Account = { charged: 0, letters: 0, details: [] }
    accounts.set(name, made)
    return made
  }
  for (const { actual, id, key, kind, owner, reservationId } of server.charges.values()) {
    const isReserved = reservationId !== undefined && server.reservations.has(reservationId)
    const account = of(isReserved ? server.callOf(reservationId) : ownerOf(key, owner))
    account.charged += actual
    account.details.push(`${kind} ${id} ${actual}`)
  }
  for (const { letters } of disks) {
    for (const { reason, record } of letters.values()) {
      const { commitBody, eventBody = commitBody, reservationId } = record
      const key = keyOf(record)
      const isJoined = eventBody.includes('"joined_reservation_id"')
      const isReserved = server.reservations.has(reservationId) && !isJoined
      const account = of(isReserved ? server.callOf(reservationId) : ownerOf(key, ownerIn(eventBody)))
      account.letters += amountOf(record)
      account.details.push(`dead letter ${amountOf(record)}: ${reason.slice(0, 60)}`)
    }
  }
  return accounts
}

const ownerOf = (key: string, owner: string | undefined): string =>
  key.includes("unreserved-") && owner !== undefined ? owner : key.replace(/^(commit|late\d+)-/, "")
