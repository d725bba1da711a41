/** The amounts of a run in one unit. */
import * as Amount from "@effect-cycles/protocol/Amount"
import { maxInt64 } from "@effect-cycles/protocol/Limits"
import { Pace } from "./pace.ts"
import type { BudgetSummary } from "./summary.ts"

/** The amounts of a run in one unit. */
export interface Book {
  allocated: bigint | undefined
  charged: bigint
  held: bigint
  /** The amount that the parent holds for a carved budget. Absent if nothing is carved, or if the run has ended. */
  carved: bigint | undefined
  /** The number of thresholds that have been reached. */
  reached: number
  readonly pace: Pace
}

/** A book without amounts. */
export const emptyBook = (): Book => ({
  allocated: undefined,
  charged: 0n,
  held: 0n,
  carved: undefined,
  reached: 0,
  pace: new Pace()
})

/** The units that measure the same spend. */
export const sameSpend: ReadonlyMap<Amount.Unit, Amount.Unit> = new Map([
  ["TOKENS", "USD_MICROCENTS"],
  ["USD_MICROCENTS", "TOKENS"]
])

/** Marks the thresholds that the spend has reached since the last time, and returns them. */
export const takeReached = (book: Book, thresholds: ReadonlyArray<number>): ReadonlyArray<number> => {
  if (book.allocated === undefined) return none
  const used = book.allocated === 0n ? Number.POSITIVE_INFINITY : Number(book.charged) / Number(book.allocated)
  const before = book.reached
  for (let at = thresholds[before]; at !== undefined && used >= at; at = thresholds[book.reached]) book.reached += 1
  return book.reached === before ? none : thresholds.slice(before, book.reached)
}

const none: ReadonlyArray<number> = []

/** The amount that the parent holds for a carved budget: the unspent rest, or the holds of open calls if larger. */
export const carvedOf = ({ allocated = 0n, charged, held }: Book): bigint =>
  allocated - charged > held ? allocated - charged : held

/** The amount in the range of an amount. */
export const amountOf = (unit: Amount.Unit, amount: bigint): Amount.Amount =>
  Amount.make(unit, amount < 0n ? 0n : amount > maxInt64 ? maxInt64 : amount)

/** The book as plain values. */
export const budgetOf = (unit: Amount.Unit, { allocated, charged, held }: Book): BudgetSummary => ({
  unit,
  allocated: allocated === undefined ? undefined : amountOf(unit, allocated),
  charged: amountOf(unit, charged),
  held: amountOf(unit, held),
  remaining: allocated === undefined ? undefined : amountOf(unit, allocated - charged - held)
})
