/** The share of one guarded call in its run: held before the reserve, and charged when the settlement is decided. */
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Amount from "@effect-cycles/protocol/Amount"
import type { BudgetExceeded } from "../../CyclesError.ts"
import type { Asked, Ledger } from "./ledger.ts"

/** Checks and holds an estimate in a run and all runs around it, in one step. Returns the denial if one has no room. */
export const admit = (ledger: Ledger, asked: Asked): Ticket | BudgetExceeded =>
  ledger.check(asked) ?? new Ticket(ledger, asked)

/** The share of one guarded call in its run. */
export class Ticket {
  /** Whether the unit has no budget, and the run must warn about it. */
  readonly isFirstUncovered: boolean
  readonly #ledger: Ledger
  readonly #asked: Asked
  #held: bigint
  #isOpen = true
  #isUncertain = false
  #overrun: BudgetExceeded | undefined = undefined

  constructor(ledger: Ledger, asked: Asked) {
    this.#ledger = ledger
    this.#asked = asked
    this.#held = asked.amount.amount
    this.isFirstUncovered = ledger.markUncovered(this.#unit)
    ledger.hold(this.#unit, this.#held)
    ledger.countCall(1)
  }

  get #unit(): Unit {
    return this.#asked.amount.unit
  }

  /** The denial, if known spend exceeds the estimate and a run has no room for it. */
  get overrun(): BudgetExceeded | undefined {
    return this.#overrun
  }

  /** The call wasn't admitted by the server, or its caller was interrupted: returns the hold. */
  giveBack(isDenied: boolean): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#ledger.hold(this.#unit, -this.#held)
    this.#ledger.countCall(-1)
    if (isDenied) this.#ledger.countDenial()
  }

  /** Known spend: the hold grows with it, even if a run has no room, since it is already spent. */
  grow(total: bigint): void {
    const more = total - this.#held
    if (!this.#isOpen || more <= 0n) return
    this.#overrun ??= this.#ledger.checkOverrun({ ...this.#asked, amount: Amount.make(this.#unit, total) }, more)
    this.#held = total
    this.#ledger.hold(this.#unit, more)
  }

  /** The settlement is decided: returns the hold and charges the spend. */
  settle(actual: bigint): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#ledger.charge(this.#unit, actual, this.#held)
  }

  /** Charges spend that was recorded after the settlement was decided. */
  chargeLate(amount: bigint): void {
    this.#ledger.charge(this.#unit, amount)
  }

  /** Counts the call as uncertain until its charge is confirmed. */
  markCertain(isCertain: boolean): void {
    if (this.#isUncertain === !isCertain) return
    this.#isUncertain = !isCertain
    this.#ledger.countUncertain(isCertain ? -1 : 1)
  }
}
