/**
 * The ledger of one run: its budget, the spent amount and the held amount in each unit.
 *
 * Every method is synchronous. A check and the hold that follows it therefore are one step over all ancestors, and
 * parallel calls can't use the same room twice.
 *
 * An amount that is held or charged in a run is also held or charged in every run around it. The exception is a run
 * with `share: "carve"`: as long as it is open, its parent holds the whole unspent budget instead of the single holds.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type * as Amount from "@effect-cycles/protocol/Amount"
import type * as Clock from "effect/Clock"
import type * as Stream from "effect/Stream"
import type { BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import { isBudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import type { Book } from "./book.ts"
import { amountOf, budgetOf, emptyBook, sameSpend, takeReached, unspent } from "./book.ts"
import type { Request } from "./denial.ts"
import { denialOf } from "./denial.ts"
import type { Event } from "./events.ts"
import { Readers } from "./events.ts"
import type { Checked, Step, ToolCall } from "./limits.ts"
import type { Lender } from "./lender.ts"
import { Counters } from "./limits.ts"
import type { Call, Entry } from "./lines.ts"
import { Lines } from "./lines.ts"
import type { Snapshot } from "./snapshot.ts"
import { summaryOf } from "./snapshot.ts"
import type { Reference, Summary, Threshold } from "./summary.ts"
import type { Account, Asked, Share } from "./ticket.ts"
import { Ticket } from "./ticket.ts"
import type { Gate, Origin, Wait } from "./waiting.ts"
import { Waiter, Waiting } from "./waiting.ts"

/** The settings of a run, validated. */
export interface Settings {
  readonly id: string
  /** Whether the id is random, so that a repetition of the job has another one. */
  readonly isIdGenerated: boolean
  readonly name: string
  /** At most one for each unit. */
  readonly budgets: ReadonlyArray<Amount.Amount>
  readonly parent: Ledger | undefined
  readonly share: "remaining" | "carve"
  readonly uncovered: "deny" | "allow"
  /** How long a call waits for held amounts, in milliseconds. Absent if it is denied. */
  readonly whenHeldMs: number | undefined
  readonly whenExhausted: "deny" | "pause"
  readonly limits: Checked
  /** Ascending. */
  readonly thresholds: ReadonlyArray<number>
  readonly onThreshold: ((reached: Threshold) => void) | undefined
  readonly clock: Clock.Clock
  /** The state to continue from. */
  readonly restore: Snapshot | undefined
}

/** The ledger of one run. */
export class Ledger implements Account, Gate, Origin {
  readonly id: string
  readonly name: string
  readonly isIdGenerated: boolean
  /** The reservations that the run holds. */
  readonly lenders = new Map<Amount.Unit, Lender>()
  /** The calls that wait for this run. */
  readonly waiting = new Waiting()
  readonly whenHeldMs: number | undefined
  readonly #settings: Settings
  readonly #parent: Ledger | undefined
  /** This run and the runs around it. */
  readonly chain: ReadonlyArray<Ledger>
  readonly #books = new Map<Amount.Unit, Book>()
  readonly #children: Array<Ledger> = []
  readonly #uncovered = new Set<Amount.Unit>()
  readonly #reference: Reference
  readonly #readers: Readers
  readonly #lines: Lines
  readonly #counters: Counters
  readonly #startedAtMs: number
  /** The children in the snapshot that haven't been made again. */
  #earlier: ReadonlyArray<Snapshot> = []
  #denials = 0
  #wouldDeny = 0
  /** The number of paused calls in this run and its children. */
  #paused = 0
  #isEnded = false
  #endedAtMs: number | undefined = undefined
  #stoppedBy: string | undefined = undefined

  constructor(settings: Settings) {
    this.#settings = settings
    this.whenHeldMs = settings.whenHeldMs
    this.#parent = settings.parent
    this.chain = settings.parent === undefined ? [this] : [this, ...settings.parent.chain]
    this.id = settings.id
    this.name = settings.name
    this.isIdGenerated = settings.isIdGenerated
    this.#reference = { id: settings.id, name: settings.name }
    this.#readers = new Readers(this.#reference)
    this.#lines = new Lines(settings.clock)
    this.#startedAtMs = nowMs(settings.clock) - (settings.restore?.elapsedMs ?? 0)
    this.#counters = new Counters(
      this.#reference,
      settings.limits,
      this.#parent === undefined ? undefined : this.#parent.#counters
    )
    for (const { amount, unit } of settings.budgets) this.#book(unit).allocated = amount
    if (settings.restore !== undefined) this.#restore(settings.restore)
  }

  /** Continues from a snapshot, except in the runs around this one. */
  #restore(snapshot: Snapshot): void {
    for (const { charged, reached, unit } of snapshot.budgets) {
      const book = this.#book(unit)
      book.charged = BigInt(charged)
      book.reached = this.#settings.thresholds.filter((at) => at <= reached).length
      book.pace.add(book.charged, 0)
    }
    this.#lines.restore(snapshot.lines)
    this.#counters.restore(snapshot.counts)
    this.#denials = snapshot.denials
    this.#wouldDeny = snapshot.wouldDeny
    this.#earlier = snapshot.children
    for (const unit of snapshot.uncovered) this.#uncovered.add(unit)
  }

  /** Whether a child continues from a snapshot whose spend this run includes, because it was restored as well. */
  #includes(child: Ledger): boolean {
    return child.#settings.restore !== undefined && this.#earlier.some(({ id }) => id === child.id)
  }

  /**
   * The id for the metadata of a reserve. A repeated request must be the same as the first one, so a request with a
   * caller-supplied key doesn't contain a random id.
   */
  idFor(isKeyCallerSupplied: boolean): string | undefined {
    return isKeyCallerSupplied && this.isIdGenerated ? undefined : this.id
  }

  /** Adds the run to its parent, and holds a carved budget there. Returns a denial if the parent has no room for it. */
  open(): BudgetExceeded | undefined {
    const parent = this.#parent
    if (parent === undefined) return undefined
    const { budgets, restore, share } = this.#settings
    const isIncluded = parent.#includes(this)
    if (share === "carve") {
      for (const given of budgets) {
        const amount = isIncluded ? amountOf(given.unit, unspent(this.#book(given.unit))) : given
        const asked: Asked = { action: undefined, amount }
        const denial = parent.#ended(asked) ?? parent.#withoutRoom(asked)
        if (denial !== undefined) {
          parent.countDenial(asked, denial)
          return denial
        }
      }
      for (const { unit } of budgets) {
        const book = this.#book(unit)
        book.carved = unspent(book)
        parent.#move(unit, book.carved, 0n)
      }
    }
    if (isIncluded) parent.#earlier = parent.#earlier.filter(({ id }) => id !== this.id)
    else if (restore !== undefined) {
      for (const [unit, { charged }] of this.#books) parent.#move(unit, 0n, charged)
      parent.#counters.add(restore.counts)
    }
    parent.#children.push(this)
    return undefined
  }

  /** Ends the run: it denies from now on, and returns the unspent part of a carved budget. */
  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#endedAtMs = nowMs(this.#settings.clock)
    for (const [unit, book] of this.#books) {
      if (book.carved === undefined) continue
      const { carved } = book
      book.carved = undefined
      // The parent keeps the holds of the calls that are still open.
      if (this.#parent !== undefined) this.#parent.#move(unit, book.held - carved, 0n)
    }
    this.#wakeWithin()
    for (const run of this.chain) run.waiting.wakeAll()
    if (this.#parent !== undefined) this.#parent.#emit(() => ({ _tag: "Ended", run: this.#reference }))
    this.#readers.end()
  }

  /** Denies the calls that wait in this run and its children. */
  #wakeWithin(): void {
    this.waiting.wakeAll()
    for (const child of this.#children) child.#wakeWithin()
  }

  /** The number of steps, children included. */
  get steps(): number {
    return this.#counters.steps
  }

  /** Marks that a denial ended the job of this run. */
  markStopped(by: BudgetExceeded): void {
    this.#stoppedBy = by.code
  }

  /** Whether a denial is one of the server, of this run, or of a run around or inside it. */
  isConcernedBy({ run }: BudgetExceeded): boolean {
    return run === undefined || this.chain.some(({ id }) => id === run.id) || this.#hasChild(run.id)
  }

  #hasChild(id: string): boolean {
    return this.#children.some((child) => child.id === id || child.#hasChild(id))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // checks
  // -------------------------------------------------------------------------------------------------------------------

  /** Returns the denial of a guarded call, and counts it. */
  check(call: Call): BudgetExceeded | undefined {
    const denial = this.refusalOf(call)
    if (denial !== undefined) this.countDenial(call, denial)
    return denial
  }

  /** Returns the denial of a guarded call, and doesn't count it. */
  refusalOf(asked: Asked): BudgetExceeded | undefined {
    return this.#ended(asked) ?? this.#uncoveredDenial(asked) ?? this.#withoutRoom(asked)
  }

  /** Returns the denial of spend that exceeds its estimate by `more`, and doesn't count it. */
  overrunOf(asked: Asked, more: bigint): BudgetExceeded | undefined {
    return this.#withoutRoom(asked, more)
  }

  /**
   * Checks and holds an estimate in this run and all runs around it, in one step. Returns the denial of a call, or the
   * call that waits for room. A call inside an open guard doesn't wait for held amounts: it may wait for its own guard.
   */
  admit(call: Call, isInside: boolean): Ticket | BudgetExceeded | Waiter {
    const wait = this.#judge(call, undefined, isInside)
    if (wait === undefined) return this.start(call)
    if (!isBudgetExceeded(wait)) return new Waiter(this, call, wait)
    this.countDenial(call, wait)
    return wait
  }

  /** Whether a waiting call can start. */
  judge(call: Call, waiter: Waiter | undefined): BudgetExceeded | Wait | undefined {
    return this.#judge(call, waiter, false)
  }

  #judge(call: Call, waiter: Waiter | undefined, isInside: boolean): BudgetExceeded | Wait | undefined {
    const refusal = this.#ended(call) ?? this.#uncoveredDenial(call)
    if (refusal !== undefined) return refusal
    const { amount, unit } = call.amount
    let wait: Wait | undefined
    for (const { left, run, unspent } of this.#ceilings(unit)) {
      const isNext = waiter?.gate === run || isInside || !run.waiting.isBusy(unit)
      if (amount <= left && isNext) continue
      const denial = run.#deny("RUN_BUDGET_EXCEEDED", call, left)
      const isPaused = amount > unspent || waiter?.reason === "paused"
      const canWait = isPaused ? run.#settings.whenExhausted === "pause" : run.whenHeldMs !== undefined && !isInside
      if (!canWait) return denial
      if (isPaused || wait === undefined) wait = { gate: run, reason: isPaused ? "paused" : "held", denial }
    }
    return wait
  }

  /** Holds the estimate of a call that may start. */
  start(call: Call): Ticket {
    return this.ticketOf(call, this)
  }

  /** Counts the paused calls in this run, and in the runs around it up to the one that has no room. */
  countPaused(call: Call, gate: Gate, change: 1 | -1): void {
    for (const run of this.chain) {
      run.#paused += change
      if (run === gate) break
    }
    const { action, amount } = call
    this.#emit(() => ({ _tag: change === 1 ? "Paused" : "Resumed", run: this.#reference, action, amount }))
  }

  /** Holds an estimate without a check. A joined call takes it from the ticket of the guard that it joins. */
  ticketOf(call: Call, account: Account, lender?: Share): Ticket {
    const ticket = new Ticket(account, call, lender instanceof Ticket ? lender : undefined)
    this.#emit(() => ({ _tag: "Opened", run: this.#reference, step: this.#counters.steps, ...call }))
    return ticket
  }

  /** Counts a step in this run and all runs around it. Returns the denial of a call, and counts it. */
  takeStep(action: Action, isEnforced: boolean): Step | BudgetExceeded {
    const asked: Request = { action, amount: undefined }
    const taken = this.#ended(asked) ?? this.#counters.takeStep(action)
    if ("_tag" in taken) this.#countDenied(asked, taken, isEnforced)
    return taken
  }

  /** Counts a tool call in this run and all runs around it. Returns the denial of the call, and counts it. */
  takeToolCall(call: ToolCall, isEnforced: boolean): BudgetExceeded | undefined {
    const action: Action = { kind: "tool.call", name: call.tool.slice(0, 256) }
    const asked: Request = { action, amount: undefined }
    const denial = this.#ended(asked) ?? this.#counters.takeToolCall(action, call)
    if (denial !== undefined) this.#countDenied(asked, denial, isEnforced)
    return denial
  }

  #countDenied(asked: Request, denial: BudgetExceeded, isEnforced: boolean): void {
    if (isEnforced) this.countDenial(asked, denial)
    else this.countWouldDeny(asked, denial)
  }

  /**
   * Admits a call that joins a guard. The run of that guard, and the runs around it, hold the amount already. Returns
   * nothing if a run below them has no room.
   */
  join(call: Call, guard: { readonly run: Ledger | undefined; readonly ticket: Share | undefined }) {
    const denial = this.#ended(call) ?? this.#uncoveredDenial(call) ?? this.#withoutRoom(call, undefined, guard.run)
    return denial === undefined ? this.ticketOf(call, this, guard.ticket) : undefined
  }

  /** Returns the denial of spend that exceeds its estimate by `more`, and counts it. */
  checkOverrun(call: Call, more: bigint): BudgetExceeded | undefined {
    const denial = this.#withoutRoom(call, more)
    if (denial !== undefined) this.countDenial(call, denial)
    return denial
  }

  /** Marks a unit without a budget. Returns true the first time that it is used in this run. */
  markUncovered(unit: Amount.Unit): boolean {
    if (this.#uncovered.has(unit)) return false
    for (const run of this.chain) if (run.#books.get(unit)?.allocated !== undefined) return false
    for (const run of this.chain) run.#uncovered.add(unit)
    return true
  }

  /** The denial by the nearest run that has ended. */
  #ended(asked: Request): BudgetExceeded | undefined {
    for (const run of this.chain) if (run.#isEnded) return run.#deny("RUN_ENDED", asked, undefined)
    return undefined
  }

  /**
   * The denial of a call in tokens if the chain has budgets in dollars only, and the reverse: both measure the same
   * spend, so that the budget would be ignored.
   */
  #uncoveredDenial(asked: Asked): BudgetExceeded | undefined {
    const other = sameSpend.get(asked.amount.unit)
    if (other === undefined) return undefined
    let denying: Ledger | undefined
    for (const run of this.chain) {
      if (run.#books.get(asked.amount.unit)?.allocated !== undefined) return undefined
      if (denying !== undefined || run.#settings.uncovered === "allow") continue
      if (run.#books.get(other)?.allocated !== undefined) denying = run
    }
    return denying === undefined ? undefined : denying.#deny("RUN_UNCOVERED", asked, undefined)
  }

  /** The denial by the nearest run that has less than the amount left. */
  #withoutRoom(asked: Asked, amount = asked.amount.amount, upTo?: Ledger): BudgetExceeded | undefined {
    const { unit } = asked.amount
    for (const { left, run } of this.#ceilings(unit)) {
      if (run === upTo) return undefined
      if (amount > left) return run.#deny("RUN_BUDGET_EXCEEDED", asked, left)
    }
    return undefined
  }

  #deny(code: string, asked: Request, left: bigint | undefined): BudgetExceeded {
    return denialOf(this.#reference, code, asked, left)
  }

  /** The runs with a budget that limits this one. Above a carved budget the room is already held. */
  *#ceilings(unit: Amount.Unit): Iterable<{ readonly run: Ledger; readonly left: bigint; readonly unspent: bigint }> {
    for (const run of this.chain) {
      const book = run.#books.get(unit)
      if (book?.allocated === undefined) continue
      const unspent = book.allocated - book.charged
      yield { run, left: unspent - book.held, unspent }
      if (book.carved !== undefined) return
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // changes
  // -------------------------------------------------------------------------------------------------------------------

  /** The line of a call. */
  lineOf(call: Call): Entry {
    return this.#lines.of(call)
  }

  /** Counts a denial of a call, or of a carved budget. */
  countDenial({ action, amount }: Request, denial: BudgetExceeded): void {
    this.#denials += 1
    if (action !== undefined && amount !== undefined) this.lineOf({ action, amount }).deny()
    this.#emit(() => ({ _tag: "Denied", run: this.#reference, action, amount, denial }))
  }

  /** Counts a denial of a call that ran all the same, in shadow mode. */
  countWouldDeny({ action, amount }: Request, denial: CyclesError): void {
    this.#wouldDeny += 1
    if (action !== undefined && amount !== undefined) this.lineOf({ action, amount }).wouldDeny += 1
    this.#emit(() => ({ _tag: "WouldDeny", run: this.#reference, action, amount, denial }))
  }

  /** Holds an amount. A negative amount is returned. */
  hold(unit: Amount.Unit, amount: bigint): void {
    this.#move(unit, amount, 0n)
    if (amount < 0n) this.#wake(unit)
  }

  /** Room may have become free in this run and in the runs around it. */
  #wake(unit: Amount.Unit): void {
    for (const run of this.chain) run.waiting.wake(unit)
  }

  /** Returns the hold of a call, and charges its spend. */
  charge(call: Call, amount: bigint, held = 0n): void {
    const { unit } = call.amount
    this.#move(unit, -held, amount)
    this.lineOf(call).charge(amount)
    const { action, step = this.#counters.steps } = call
    this.#emit(() => ({ _tag: "Charged", run: this.#reference, step, action, amount: amountOf(unit, amount) }))
    if (amount > 0n) for (const run of this.chain) run.#announce(unit)
    this.#wake(unit)
  }

  /** Charges an event, which is a call without an estimate. */
  chargeEvent(call: Call): void {
    this.lineOf(call).calls += 1
    this.charge(call, call.amount.amount)
  }

  /** Raises the budget of this run. Returns a denial if it is carved, and the runs around it have no room. */
  raise(by: Amount.Amount): BudgetExceeded | undefined {
    const { amount, unit } = by
    const book = this.#books.get(unit)
    if (book?.allocated === undefined) throw new RangeError(`The run ${this.name} has no budget in ${unit} to raise`)
    if (book.carved !== undefined && this.#parent !== undefined) {
      const more = unspent({ ...book, allocated: book.allocated + amount }) - book.carved
      const asked: Asked = { action: undefined, amount: by }
      const denial = this.#parent.#ended(asked) ?? this.#parent.#withoutRoom(asked, more)
      if (denial !== undefined) return denial
    }
    book.allocated += amount
    this.#move(unit, 0n, 0n)
    this.#wake(unit)
    return undefined
  }

  /** Changes this run and the runs around it. */
  #move(unit: Amount.Unit, held: bigint, charged: bigint): void {
    const book = this.#book(unit)
    book.held += held
    book.charged += charged
    if (charged > 0n) book.pace.add(charged, this.#elapsedMs)
    if (this.#parent === undefined) return
    if (book.carved === undefined) return this.#parent.#move(unit, held, charged)
    const carved = unspent(book)
    const more = carved - book.carved
    book.carved = carved
    this.#parent.#move(unit, more, charged)
  }

  #announce(unit: Amount.Unit): void {
    const { onThreshold, thresholds } = this.#settings
    const book = this.#books.get(unit)
    if (book?.allocated === undefined || this.#isEnded) return
    const { allocated, charged } = book
    for (const at of takeReached(book, thresholds)) {
      const reached: Threshold = {
        at,
        charged: amountOf(unit, charged),
        allocated: amountOf(unit, allocated),
        run: this.#reference
      }
      onThreshold?.(reached)
      this.#emit(() => ({ _tag: "Threshold", ...reached }))
    }
  }

  /**
   * Sends an event to the readers of this run and of all runs around it. A waiting reader runs immediately, so this is the last
   * step of a change.
   */
  #emit(make: () => Event): void {
    let event: Event | undefined
    for (const run of this.chain) if (!run.#isEnded && !run.#readers.isEmpty) run.#readers.publish((event ??= make()))
  }

  #book(unit: Amount.Unit): Book {
    const known = this.#books.get(unit)
    if (known !== undefined) return known
    const book = emptyBook()
    this.#books.set(unit, book)
    return book
  }

  // -------------------------------------------------------------------------------------------------------------------
  // queries
  // -------------------------------------------------------------------------------------------------------------------

  /** The least amount left in the runs that limit this one; nothing if no run has a budget in the unit. */
  remaining(unit: Amount.Unit): Amount.Amount | undefined {
    let least: bigint | undefined
    for (const { left } of this.#ceilings(unit)) if (least === undefined || left < least) least = left
    return least === undefined ? undefined : amountOf(unit, least)
  }

  /** The least share of its budget that a run that limits this one has left; nothing if no run has a budget in the unit. */
  remainingShare(unit: Amount.Unit): number | undefined {
    let least: number | undefined
    for (const { left, run } of this.#ceilings(unit)) {
      const allocated = run.#books.get(unit)?.allocated ?? 0n
      const share = left > 0n && allocated > 0n ? Number(left) / Number(allocated) : 0
      if (least === undefined || share < least) least = share
    }
    return least
  }

  /** The spent amount. */
  spent(unit: Amount.Unit): Amount.Amount {
    return amountOf(unit, this.#books.get(unit)?.charged ?? 0n)
  }

  /** When the run spent, what it has left, and the time since its start until its end. */
  paceOf(unit: Amount.Unit) {
    return { pace: this.#books.get(unit)?.pace, left: this.remaining(unit), elapsedMs: this.#elapsedMs }
  }

  get #elapsedMs(): number {
    return (this.#endedAtMs ?? nowMs(this.#settings.clock)) - this.#startedAtMs
  }

  /** The events from now on. */
  get events(): Stream.Stream<Event> {
    return this.#readers.stream
  }

  /** The held amount. */
  held(unit: Amount.Unit): Amount.Amount {
    return amountOf(unit, this.#books.get(unit)?.held ?? 0n)
  }

  /** The state of the run and its children. */
  summary(): Summary {
    return {
      id: this.id,
      name: this.name,
      status: this.#isEnded ? "ended" : this.#paused > 0 ? "paused" : "running",
      elapsedMs: Math.round(this.#elapsedMs),
      budgets: Array.from(this.#books, ([unit, book]) => budgetOf(unit, book)),
      lines: this.#lines.summary(),
      calls: this.#lines.total("calls"),
      denials: this.#denials,
      wouldDeny: this.#wouldDeny,
      uncertain: this.#lines.total("uncertain"),
      steps: this.#counters.steps,
      toolCalls: this.#counters.toolCalls,
      stoppedBy: this.#stoppedBy,
      uncovered: Array.from(this.#uncovered),
      children: [...this.#earlier.map(summaryOf), ...this.#children.map((child) => child.summary())]
    }
  }

  /** The state to continue from. */
  snapshot(): Snapshot {
    const { id, isIdGenerated, name, thresholds } = this.#settings
    return {
      version: 1,
      id,
      isIdGenerated,
      name,
      elapsedMs: Math.round(this.#elapsedMs),
      budgets: Array.from(this.#books, ([unit, { allocated, charged, reached }]) => ({
        unit,
        ...(allocated === undefined ? {} : { allocated: String(allocated) }),
        charged: String(charged + this.#openIn(unit)),
        reached: thresholds[reached - 1] ?? 0
      })),
      lines: this.#lines.snapshot(),
      denials: this.#denials,
      wouldDeny: this.#wouldDeny,
      uncovered: Array.from(this.#uncovered),
      counts: this.#counters.snapshot(),
      children: [...this.#earlier, ...this.#children.map((child) => child.snapshot())]
    }
  }

  /** The amount that the open calls of the run and its children hold. Unspent carved budgets aren't included. */
  #openIn(unit: Amount.Unit): bigint {
    return this.#children.reduce((total, child) => total + child.#openIn(unit), this.#lines.held(unit))
  }
}
