/** The charges and dead letters of a world, by the call that they belong to. */
import type { DeadLetter, JournalRecord } from "effect-cycles/SettlementJournal"
import type { Disk } from "./disk.ts"
import { amountOf, keyOf } from "./disk.ts"
import type { Server } from "./server.ts"
import { ownerIn } from "./observer.ts"

/** The charges and dead letters of one key. */
export interface Account {
  charged: number
  letters: number
  /** The sum of the decided amounts that the journals have kept; `undefined` if a write has met a fault. */
  written: number | undefined
  /** The same, if records with equal amounts under one key are different spend. */
  mostWritten: number
  /** Whether a dead letter was too old to be sent again. It may have been charged before. */
  hasOld: boolean
  readonly details: Array<string>
}

/** Whether a record was too old to be sent again. */
export const isOld = ({ reason }: DeadLetter): boolean => reason.startsWith("TOO_OLD")

/** Returns the accounts by the keys of the reserves. A call without a reservation has one by its own key. */
export const accountsOf = (disks: ReadonlyArray<Disk>, server: Server): Map<string, Account> => {
  const accounts = new Map<string, Account>()
  const of = (name: string): Account => {
    const known = accounts.get(name)
    if (known !== undefined) return known
    const made: Account = { charged: 0, letters: 0, written: 0, mostWritten: 0, hasOld: false, details: [] }
    accounts.set(name, made)
    return made
  }
  for (const { actual, id, key, kind, owner, reservationId } of server.charges.values()) {
    const isReserved = reservationId !== undefined && server.reservations.has(reservationId)
    const account = of(isReserved ? server.callOf(reservationId) : ownerOf(key, owner))
    account.charged += actual
    account.details.push(`${kind} ${id} ${actual}`)
  }
  const ofRecord = (record: JournalRecord): Account => {
    const { commitBody, eventBody = commitBody, reservationId } = record
    const isJoined = eventBody.includes('"joined_reservation_id"')
    const isReserved = server.reservations.has(reservationId) && !isJoined
    return of(isReserved ? server.callOf(reservationId) : ownerOf(keyOf(record), ownerIn(eventBody)))
  }
  for (const { letters } of disks) {
    for (const letter of letters.values()) {
      const { reason, record } = letter
      const account = ofRecord(record)
      account.hasOld ||= isOld(letter)
      account.letters += amountOf(record)
      account.details.push(`dead letter ${amountOf(record)}: ${reason.slice(0, 60)}`)
    }
  }
  // Several records with one key and one amount may be the same spend.
  const written = new Map<string, JournalRecord>()
  for (const { promised } of disks) {
    for (const [id, { decided, isDisturbed }] of promised) {
      for (const record of decided.values()) {
        const account = ofRecord(record)
        account.mostWritten += amountOf(record)
        if (isDisturbed) account.written = undefined
        written.set(`${id} ${keyOf(record)} ${amountOf(record)}`, record)
      }
      if (isDisturbed && server.reservations.has(id)) of(server.callOf(id)).written = undefined
    }
  }
  for (const record of written.values()) {
    const account = ofRecord(record)
    if (account.written !== undefined) account.written += amountOf(record)
  }
  return accounts
}

const ownerOf = (key: string, owner: string | undefined): string =>
  key.includes("unreserved-") && owner !== undefined ? owner : key.replace(/^(commit|late\d+)-/, "")
