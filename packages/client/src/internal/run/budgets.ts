/**
 * The budgets of one run: the allocated, spent and held amounts in each unit.
 *
 * An amount that is held or charged in a run is also held or charged in every run around it. The exception is a run
 * with `share: "carve"`: as long as it is open, its parent holds the whole unspent budget instead of the single holds.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { BudgetExceeded } from "../../CyclesError.ts"
import type { Book } from "./book.ts"
import { amountOf, budgetOf, carvedOf, emptyBook, sameSpend, takeReached } from "./book.ts"
import { denialOf } from "./denial.ts"
import type { Pace } from "./pace.ts"
import type { Settings } from "./settings.ts"
import type { SnapshotBudget } from "./snapshot.ts"
import type { BudgetSummary, Reference, Threshold } from "./summary.ts"
import type { Asked } from "./ticket.ts"
import type { Gate } from "./waiting.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The run that the budgets belong to. */
export interface Owner extends Gate {
  readonly reference: Reference
  readonly settings: Settings
  /** The milliseconds since the start of the run. */
  readonly elapsedMs: number
}

/** A budget that limits a run: its own, or the one of a run around it. */
export interface Ceiling {
  readonly run: Owner
  readonly allocated: bigint
  /** The allocated amount without the charged amount. */
  readonly unspent: bigint
  /** The unspent amount without the held amount. */
  readonly left: bigint
}

// ---------------------------------------------------------------------------------------------------------------------
// budgets
// ---------------------------------------------------------------------------------------------------------------------

/** The budgets of one run. Every method is synchronous. */
export class Budgets {
  readonly #run: Owner
  readonly #parent: Budgets | undefined
  /** The budgets of this run and of the runs around it. */
  readonly #chain: ReadonlyArray<Budgets>
  readonly #books = new Map<Amount.Unit, Book>()
  readonly #uncovered = new Set<Amount.Unit>()

  constructor(run: Owner, parent: Budgets | undefined) {
    this.#run = run
    this.#parent = parent
    this.#chain = parent === undefined ? [this] : [this, ...parent.#chain]
    for (const { amount, unit } of run.settings.budgets) this.#book(unit).allocated = amount
  }

  /** Continues from a snapshot, except in the runs around this one. */
  restore(budgets: ReadonlyArray<SnapshotBudget>, uncovered: ReadonlyArray<Amount.Unit>): void {
    for (const { charged, reached, unit } of budgets) {
      const book = this.#book(unit)
      book.charged = BigInt(charged)
      book.reached = this.#run.settings.thresholds.filter((at) => at <= reached).length
      book.pace.add(book.charged, 0)
    }
    for (const unit of uncovered) this.#uncovered.add(unit)
  }

  #book(unit: Amount.Unit): Book {
    const known = this.#books.get(unit)
    if (known !== undefined) return known
    const book = emptyBook()
    this.#books.set(unit, book)
    return book
  }

  // -------------------------------------------------------------------------------------------------------------------
  // room
  // -------------------------------------------------------------------------------------------------------------------

  /** The budgets that limit this run, from the nearest on. Above a carved budget the room is already held. */
  *ceilings(unit: Amount.Unit): Iterable<Ceiling> {
    for (const budgets of this.#chain) {
      const book = budgets.#books.get(unit)
      if (book?.allocated === undefined) continue
      const { allocated, carved, charged, held } = book
      yield { run: budgets.#run, allocated, unspent: allocated - charged, left: allocated - charged - held }
      if (carved !== undefined) return
    }
  }

  /** The denial by the nearest run that has less than the amount left. The runs from `upTo` on aren't asked. */
  withoutRoom(asked: Asked, amount = asked.amount.amount, upTo?: Owner): BudgetExceeded | undefined {
    for (const { left, run } of this.ceilings(asked.amount.unit)) {
      if (run === upTo) return undefined
      if (amount > left) return denialOf(run.reference, "RUN_BUDGET_EXCEEDED", asked, left)
    }
    return undefined
  }

  /**
   * The denial of a call in tokens if the chain has budgets in dollars only, and the reverse: both measure the same
   * spend, so that the budget would be ignored.
   */
  withoutBudget(asked: Asked): BudgetExceeded | undefined {
    const { unit } = asked.amount
    const other = sameSpend.get(unit)
    if (other === undefined) return undefined
    let denying: Owner | undefined
    for (const budgets of this.#chain) {
      if (budgets.#has(unit)) return undefined
      if (denying !== undefined || budgets.#run.settings.uncovered === "allow") continue
      if (budgets.#has(other)) denying = budgets.#run
    }
    return denying === undefined ? undefined : denialOf(denying.reference, "RUN_UNCOVERED", asked, undefined)
  }

  #has(unit: Amount.Unit): boolean {
    return this.#books.get(unit)?.allocated !== undefined
  }

  /** Marks a unit without a budget. Returns true the first time that it is used in this run. */
  markUncovered(unit: Amount.Unit): boolean {
    if (this.#uncovered.has(unit) || this.#chain.some((budgets) => budgets.#has(unit))) return false
    for (const budgets of this.#chain) budgets.#uncovered.add(unit)
    return true
  }

  // -------------------------------------------------------------------------------------------------------------------
  // changes
  // -------------------------------------------------------------------------------------------------------------------

  /** Holds and charges amounts in this run and in the runs around it. A negative hold is returned. */
  move(unit: Amount.Unit, held: bigint, charged: bigint): void {
    const book = this.#book(unit)
    book.held += held
    book.charged += charged
    if (charged > 0n) book.pace.add(charged, this.#run.elapsedMs)
    if (this.#parent === undefined) return
    if (book.carved === undefined) return this.#parent.move(unit, held, charged)
    const before = book.carved
    book.carved = carvedOf(book)
    this.#parent.move(unit, book.carved - before, charged)
  }

  /** Holds the unspent budgets in the parent, which has room for them. */
  carve(): void {
    for (const [unit, book] of this.#books) {
      if (book.allocated === undefined) continue
      book.carved = carvedOf(book)
      this.#parent?.move(unit, book.carved, 0n)
    }
  }

  /** Returns the carved budgets to the parent, except the holds of the calls that are still open. */
  returnCarved(): void {
    for (const [unit, book] of this.#books) {
      if (book.carved === undefined) continue
      const { carved } = book
      book.carved = undefined
      this.#parent?.move(unit, book.held - carved, 0n)
    }
  }

  /** Charges the spend to the parent, which doesn't include it yet. */
  chargeParent(): void {
    for (const [unit, { charged }] of this.#books) this.#parent?.move(unit, 0n, charged)
  }

  /** The amount in the unit of a raise that the parent must hold in addition; nothing if the budget isn't carved. */
  raiseOfCarved({ amount, unit }: Amount.Amount): bigint | undefined {
    const book = this.#raisable(unit)
    return book.carved === undefined
      ? undefined
      : carvedOf({ ...book, allocated: book.allocated + amount }) - book.carved
  }

  /** Raises the budget of this run. */
  raise({ amount, unit }: Amount.Amount): void {
    this.#raisable(unit).allocated += amount
    this.move(unit, 0n, 0n)
  }

  #raisable(unit: Amount.Unit): Book & { allocated: bigint } {
    const book = this.#books.get(unit)
    if (book === undefined || !isAllocated(book)) {
      throw new RangeError(`The run ${this.#run.reference.name} has no budget in ${unit} to raise`)
    }
    return book
  }

  /** The thresholds that the spend of this run has reached since the last time. */
  takeReached(unit: Amount.Unit): ReadonlyArray<Threshold> {
    const book = this.#books.get(unit)
    if (book === undefined || !isAllocated(book)) return []
    const { allocated, charged } = book
    return takeReached(book, this.#run.settings.thresholds).map((at) => ({
      at,
      charged: amountOf(unit, charged),
      allocated: amountOf(unit, allocated),
      run: this.#run.reference
    }))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // queries
  // -------------------------------------------------------------------------------------------------------------------

  /** The least amount left in the runs that limit this one; nothing if no run has a budget in the unit. */
  remaining(unit: Amount.Unit): Amount.Amount | undefined {
    let least: bigint | undefined
    for (const { left } of this.ceilings(unit)) if (least === undefined || left < least) least = left
    return least === undefined ? undefined : amountOf(unit, least)
  }

  /** The least share of the budgets that limit this run that is left; nothing if no run has a budget in the unit. */
  remainingShare(unit: Amount.Unit): number | undefined {
    let least: number | undefined
    for (const { allocated, left } of this.ceilings(unit)) {
      const share = left > 0n && allocated > 0n ? Number(left) / Number(allocated) : 0
      if (least === undefined || share < least) least = share
    }
    return least
  }

  /** The amount that the parent has to hold for the budget if it is carved. */
  toCarve(unit: Amount.Unit): Amount.Amount {
    return amountOf(unit, carvedOf(this.#book(unit)))
  }

  /** The spent amount. */
  spent(unit: Amount.Unit): Amount.Amount {
    return amountOf(unit, this.#books.get(unit)?.charged ?? 0n)
  }

  /** The held amount. */
  held(unit: Amount.Unit): Amount.Amount {
    return amountOf(unit, this.#books.get(unit)?.held ?? 0n)
  }

  /** When the run spent. */
  paceOf(unit: Amount.Unit): Pace | undefined {
    return this.#books.get(unit)?.pace
  }

  /** The units that were used without a budget. */
  get uncovered(): ReadonlyArray<Amount.Unit> {
    return Array.from(this.#uncovered)
  }

  /** The budgets as plain values. */
  summary(): ReadonlyArray<BudgetSummary> {
    return Array.from(this.#books, ([unit, book]) => budgetOf(unit, book))
  }

  /** The budgets for a snapshot. `openIn` returns the estimates of the open calls, which count as spent. */
  snapshot(openIn: (unit: Amount.Unit) => bigint): ReadonlyArray<SnapshotBudget> {
    return Array.from(this.#books, ([unit, { allocated, charged, reached }]) => ({
      unit,
      ...(allocated === undefined ? {} : { allocated: String(allocated) }),
      charged: String(charged + openIn(unit)),
      reached: this.#run.settings.thresholds[reached - 1] ?? 0
    }))
  }
}

const isAllocated = (book: Book): book is Book & { allocated: bigint } => book.allocated !== undefined
