/** The share of a call in shadow mode, in its run and in the shadow ledger. */
import type { BudgetExceeded } from "../../CyclesError.ts"
import type { Share, Ticket } from "../run/ticket.ts"

/**
 * The share of a call in its run and in the shadow ledger. It never stops a stream.
 *
 * A joined call takes its estimate from the share of the guard that it joins, the lender. Only its spend is used up,
 * with the balances of the lender.
 */
export class ShadowShare implements Share {
  readonly overrun = undefined
  /** The hold of the call in its run. Absent without a run. */
  readonly ticket: Ticket | undefined
  readonly #estimate: bigint
  /** Uses up more of the balances. Absent if the server didn't return any. */
  readonly #use: ((more: bigint) => void) | undefined
  readonly #lender: ShadowShare | undefined
  /** The part of the estimate that joined calls neither hold nor have spent. */
  #left: bigint
  #known = 0n

  constructor(
    estimate: bigint,
    ticket: Ticket | undefined,
    use: ((more: bigint) => void) | undefined,
    lender?: ShadowShare
  ) {
    this.ticket = ticket
    this.#estimate = estimate
    this.#left = estimate
    this.#use = use
    this.#lender = lender
    lender?.lend(estimate)
  }

  /** The denial of spend that exceeds the estimate, which enforcement would have stopped. */
  get unenforced(): BudgetExceeded | undefined {
    return this.ticket?.overrun
  }

  /** Whether a joined call has room. */
  hasRoom(amount: bigint): boolean {
    return amount <= this.#left - this.#known
  }

  /** A joined call holds an amount, or returns a negative one. */
  lend(amount: bigint): void {
    this.#left -= amount
  }

  grow(total: bigint): void {
    this.#known = total
    this.ticket?.grow(total)
  }

  settle(actual: bigint): void {
    this.ticket?.settle(actual)
    this.#lender?.lend(actual - this.#estimate)
    this.#spend(this.#lender === undefined ? actual - this.#estimate : actual)
  }

  chargeLate(amount: bigint): void {
    this.ticket?.chargeLate(amount)
    this.#spend(amount)
  }

  #spend(more: bigint): void {
    if (this.#lender === undefined) this.#use?.(more)
    else this.#lender.#spend(more)
  }

  /** Nothing is charged, so nothing is uncertain. */
  markCertain(): void {}
}
