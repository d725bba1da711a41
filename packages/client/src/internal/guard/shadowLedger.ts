/**
 * The amounts that a client in shadow mode has let through, by scope and unit. A dry run reserves nothing, so that the
 * server's balances never shrink: without this ledger ten dry runs of 1,000 would all be allowed by a budget of 3,000.
 *
 * It belongs to one client of one process, and starts empty. A scope enters it with the first balance that the server
 * returns, so its size is bounded by the number of budgets.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Balance } from "@effect-cycles/protocol/Balance"
import { maxInt64 } from "@effect-cycles/protocol/Limits"

/** The balance that has no room for an amount. */
export interface Shortage {
  readonly scope: string
  /** The balance of the server, less what this client has let through. */
  readonly remaining: Amount.SignedAmount
}

/** The amounts that a client in shadow mode has let through. */
export class ShadowLedger {
  readonly #used = new Map<string, bigint>()

  /** Returns the balance with the least room, if it has no room for the amount. */
  shortageOf(amount: Amount.Amount, balances: ReadonlyArray<Balance>): Shortage | undefined {
    let least: { readonly scope: string; readonly left: bigint } | undefined
    for (const { remaining, scopePath } of balances) {
      if (remaining.unit !== amount.unit) continue
      const left = remaining.amount - (this.#used.get(idOf(scopePath, amount.unit)) ?? 0n)
      if (least === undefined || left < least.left) least = { scope: scopePath, left }
    }
    if (least === undefined || least.left >= amount.amount) return undefined
    return { scope: least.scope, remaining: Amount.makeSigned(amount.unit, clamp(least.left)) }
  }

  /**
   * Uses up an amount of each balance. Returns the effect of a settlement: the difference of the actual amount is used
   * up too.
   */
  use(amount: Amount.Amount, balances: ReadonlyArray<Balance>): (more: bigint) => void {
    const ids = balances.flatMap(({ remaining, scopePath }) =>
      remaining.unit === amount.unit ? [idOf(scopePath, amount.unit)] : []
    )
    const add = (more: bigint): void => {
      for (const id of ids) this.#used.set(id, (this.#used.get(id) ?? 0n) + more)
    }
    add(amount.amount)
    return add
  }

  /** Uses up an amount of the scopes that the server has returned a balance of. */
  useOf(amount: Amount.Amount, scopes: ReadonlyArray<string>): void {
    for (const scope of scopes) {
      const id = idOf(scope, amount.unit)
      const used = this.#used.get(id)
      if (used !== undefined) this.#used.set(id, used + amount.amount)
    }
  }
}

const idOf = (scope: string, unit: Amount.Unit): string => `${unit} ${scope}`

const clamp = (amount: bigint): bigint => (amount < -maxInt64 ? -maxInt64 : amount > maxInt64 ? maxInt64 : amount)
