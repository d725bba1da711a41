/** The share of one guarded call in its run: held before the reserve, and charged when the settlement is decided. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Amount from "@effect-cycles/protocol/Amount"
import type { BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import { isBudgetExceeded } from "../../CyclesError.ts"
import type { Call, Entry } from "./lines.ts"

/** A request of a guarded call for room in a run. */
export interface Asked {
  readonly action: Action | undefined
  readonly amount: Amount.Amount
}

/** The operations of a ledger that a ticket uses. */
export interface Account {
  readonly budgets: {
    /** Marks a unit without a budget. Returns true the first time that it is used in this run. */
    readonly markUncovered: (unit: Unit) => boolean
  }
  /** The line of a call. */
  readonly lineOf: (call: Call) => Entry
  /** Returns the denial of spend that exceeds its estimate by `more`, and counts it. */
  readonly checkOverrun: (call: Call, more: bigint, isEnforced: boolean) => BudgetExceeded | undefined
  /** Holds an amount. A negative amount is returned. */
  readonly hold: (unit: Unit, amount: bigint) => void
  /** Returns the hold of a call, and charges its spend. The caller adds the spend to the line of the call. */
  readonly charge: (call: Call, amount: bigint, held?: bigint) => void
  /** Counts a denial. */
  readonly countDenial: (asked: Asked, denial: BudgetExceeded) => void
  /** Counts a denial of a call that runs all the same, in shadow mode. */
  readonly countWouldDeny: (asked: Asked, denial: CyclesError) => void
}

/** The methods of a ticket that the reservation of a call uses. */
export interface Share {
  readonly overrun: BudgetExceeded | undefined
  readonly grow: (total: bigint) => void
  readonly settle: (actual: bigint) => void
  readonly chargeLate: (amount: bigint) => void
  readonly markCertain: (isCertain: boolean) => void
}

/**
 * The share of one guarded call in its run. The ticket of a joined call takes its hold from the ticket of the guard
 * that it joins, the lender, and returns the rest at its end, so that the run counts each amount once.
 */
export class Ticket implements Share {
  /** Whether the unit has no budget, and the run must warn about it. */
  readonly isFirstUncovered: boolean
  readonly #account: Account
  readonly #call: Call
  /** Whether a denial stops the call. It doesn't in shadow mode. */
  readonly #isEnforced: boolean
  readonly #line: Entry
  readonly #startedAtMs: number
  readonly #lender: Ticket | undefined
  #held: bigint
  /** The known spend so far. */
  #known = 0n
  #isOpen = true
  #isUncertain = false
  #overrun: BudgetExceeded | undefined = undefined

  constructor(account: Account, call: Call, isEnforced: boolean, lender?: Ticket) {
    this.#account = account
    this.#isEnforced = isEnforced
    this.#lender = lender
    this.#call = call
    this.#held = call.amount.amount
    this.#line = account.lineOf(call)
    this.isFirstUncovered = account.budgets.markUncovered(this.#unit)
    account.hold(this.#unit, this.#held)
    lender?.lend(this.#held)
    this.#startedAtMs = this.#line.open(this, this.#held)
  }

  get #unit(): Unit {
    return this.#call.amount.unit
  }

  /** The amount that the call holds. */
  get held(): bigint {
    return this.#held
  }

  /** The denial, if known spend exceeds the estimate and a run has no room for it. */
  get overrun(): BudgetExceeded | undefined {
    return this.#overrun
  }

  /** The call wasn't admitted by the server, or its caller was interrupted: returns the hold. */
  giveBack(denial: CyclesError | undefined): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#return(this.#held)
    this.#line.giveBack(this, this.#call.amount.amount)
    if (denial === undefined) return this.#account.charge(this.#call, 0n, this.#held)
    this.#account.hold(this.#unit, -this.#held)
    if (this.#isEnforced && isBudgetExceeded(denial)) this.#account.countDenial(this.#call, denial)
    else this.#account.countWouldDeny(this.#call, denial)
  }

  /** Known spend: the hold grows with it, even if a run has no room, since it is already spent. */
  grow(total: bigint): void {
    if (!this.#isOpen) return
    this.#known = total
    const more = total - this.#held
    if (more <= 0n) return
    const rest = more - (this.#lender?.available(more) ?? 0n)
    if (rest > 0n) {
      this.#overrun ??= this.#account.checkOverrun(
        { ...this.#call, amount: Amount.make(this.#unit, total) },
        rest,
        this.#isEnforced
      )
    }
    this.#held = total
    this.#account.hold(this.#unit, more)
    this.#lender?.lend(more)
  }

  /** The settlement is decided: returns the hold and charges the spend. */
  settle(actual: bigint): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#line.settle(this, this.#startedAtMs, actual)
    const rest = this.#held - actual
    if (rest > 0n) this.#return(rest)
    this.#account.charge(this.#call, actual, this.#held)
    if (rest < 0n) this.#lender?.lend(-rest)
  }

  /** Charges spend that was recorded after the settlement was decided. */
  chargeLate(amount: bigint): void {
    this.#line.charge(amount)
    this.#account.charge(this.#call, amount)
  }

  /** Counts the call as uncertain until its charge is confirmed. */
  markCertain(isCertain: boolean): void {
    if (this.#isUncertain === !isCertain) return
    this.#isUncertain = !isCertain
    this.#line.uncertain += isCertain ? -1 : 1
  }

  // -------------------------------------------------------------------------------------------------------------------
  // joined calls
  // -------------------------------------------------------------------------------------------------------------------

  /** The amount, at most `amount`, that a joined call can take from the holds of this call and the calls around it. */
  available(amount: bigint): bigint {
    const free = this.#free
    if (free >= amount) return amount
    return free + (this.#lender?.available(amount - free) ?? 0n)
  }

  /** A joined call holds an amount: this call, and the calls around it, hold as much less. */
  lend(amount: bigint): void {
    const free = this.#free
    const lent = free < amount ? free : amount
    if (lent > 0n) {
      this.#held -= lent
      this.#account.hold(this.#unit, -lent)
    }
    if (lent < amount) this.#lender?.lend(amount - lent)
  }

  /** Returns an unspent amount to the nearest open call around this one. */
  #return(amount: bigint): void {
    let lender = this.#lender
    while (lender !== undefined && !lender.#isOpen) lender = lender.#lender
    if (lender === undefined) return
    lender.#held += amount
    lender.#account.hold(lender.#unit, amount)
  }

  /** The hold that known spend doesn't use. */
  get #free(): bigint {
    return this.#isOpen && this.#held > this.#known ? this.#held - this.#known : 0n
  }
}
