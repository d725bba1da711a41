/**
 * The ledger of one run: it admits or denies guarded calls, and counts calls, steps and spend.
 *
 * Every method is synchronous. A check and the hold that follows it therefore are one step over all ancestors, and
 * parallel calls can't use the same room twice.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type * as Amount from "@effect-cycles/protocol/Amount"
import type * as Stream from "effect/Stream"
import type { BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import { isBudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import { amountOf } from "./book.ts"
import type { Owner } from "./budgets.ts"
import { Budgets } from "./budgets.ts"
import type { Request } from "./denial.ts"
import { denialOf } from "./denial.ts"
import type { Event } from "./events.ts"
import { Readers } from "./events.ts"
import type { Lender } from "./lender.ts"
import type { Step, ToolCall } from "./limits.ts"
import { Counters } from "./limits.ts"
import type { Call, Entry } from "./lines.ts"
import { Lines } from "./lines.ts"
import type { Settings } from "./settings.ts"
import type { Snapshot } from "./snapshot.ts"
import { summaryOf } from "./snapshot.ts"
import type { Reference, Summary } from "./summary.ts"
import type { Account, Asked, Share } from "./ticket.ts"
import { Ticket } from "./ticket.ts"
import type { Gate, Origin, Wait } from "./waiting.ts"
import { Waiter, waitFor, Waiting } from "./waiting.ts"

/** The ledger of one run. */
export class Ledger implements Account, Origin, Owner {
  readonly settings: Settings
  readonly budgets: Budgets
  readonly reference: Reference
  /** This run and the runs around it. */
  readonly chain: ReadonlyArray<Ledger>
  /** The reservations that the run holds. */
  readonly lenders = new Map<Amount.Unit, Lender>()
  /** The calls that wait for this run. */
  readonly waiting = new Waiting()
  readonly #parent: Ledger | undefined
  readonly #children: Array<Ledger> = []
  readonly #counters: Counters
  readonly #lines: Lines
  readonly #readers: Readers
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

  constructor(settings: Settings, parent: Ledger | undefined) {
    this.reference = { id: settings.id, name: settings.name }
    this.chain = parent === undefined ? [this] : [this, ...parent.chain]
    this.settings = settings
    this.#parent = parent
    this.budgets = new Budgets(this, parent?.budgets)
    this.#counters = new Counters(this.reference, settings.limits, parent === undefined ? undefined : parent.#counters)
    this.#lines = new Lines(settings.clock)
    this.#readers = new Readers(this.reference)
    this.#startedAtMs = nowMs(settings.clock) - (settings.restore?.elapsedMs ?? 0)
    if (settings.restore !== undefined) this.#restore(settings.restore)
  }

  /** Continues from a snapshot, except in the runs around this one. */
  #restore(snapshot: Snapshot): void {
    this.budgets.restore(snapshot.budgets, snapshot.uncovered)
    this.#lines.restore(snapshot.lines)
    this.#counters.restore(snapshot.counts)
    this.#denials = snapshot.denials
    this.#wouldDeny = snapshot.wouldDeny
    this.#earlier = snapshot.children
  }

  get id(): string {
    return this.reference.id
  }

  get elapsedMs(): number {
    return (this.#endedAtMs ?? nowMs(this.settings.clock)) - this.#startedAtMs
  }

  // -------------------------------------------------------------------------------------------------------------------
  // life
  // -------------------------------------------------------------------------------------------------------------------

  /** Adds the run to its parent, and holds a carved budget there. Returns a denial if the parent has no room for it. */
  open(): BudgetExceeded | undefined {
    const parent = this.#parent
    if (parent === undefined) return undefined
    const { budgets, restore, share } = this.settings
    const isIncluded = parent.#includes(this)
    if (share === "carve") {
      for (const budget of budgets) {
        const amount = isIncluded ? this.budgets.toCarve(budget.unit) : budget
        const asked: Asked = { action: undefined, amount }
        const denial = parent.#ended(asked) ?? parent.budgets.withoutRoom(asked)
        if (denial !== undefined) {
          parent.countDenial(asked, denial)
          return denial
        }
      }
      this.budgets.carve()
    }
    if (isIncluded) parent.#earlier = parent.#earlier.filter(({ id }) => id !== this.id)
    else if (restore !== undefined) {
      this.budgets.chargeParent()
      parent.#counters.add(restore.counts)
    }
    parent.#children.push(this)
    return undefined
  }

  /** Whether a child continues from a snapshot whose spend this run includes, because it was restored as well. */
  #includes(child: Ledger): boolean {
    return child.settings.restore !== undefined && this.#earlier.some(({ id }) => id === child.id)
  }

  /** Ends the run: it denies from now on, and returns the unspent part of a carved budget. */
  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#endedAtMs = nowMs(this.settings.clock)
    this.budgets.returnCarved()
    this.#wakeWithin()
    for (const run of this.chain) run.waiting.wakeAll()
    if (this.#parent !== undefined) this.#parent.#emit(() => ({ _tag: "Ended", run: this.reference }))
    this.#readers.end()
  }

  /** Denies the calls that wait in this run and its children. */
  #wakeWithin(): void {
    this.waiting.wakeAll()
    for (const child of this.#children) child.#wakeWithin()
  }

  /**
   * The id for the metadata of a reserve. A repeated request must be the same as the first one, so a request with a
   * caller-supplied key doesn't contain a random id.
   */
  idFor(isKeyCallerSupplied: boolean): string | undefined {
    return isKeyCallerSupplied && this.settings.isIdGenerated ? undefined : this.id
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
  check(asked: Asked, isEnforced: boolean): BudgetExceeded | undefined {
    return this.#counted(asked, this.#refusal(asked) ?? this.budgets.withoutRoom(asked), isEnforced)
  }

  /** Returns the denial of spend that exceeds its estimate by `more`, and counts it. */
  checkOverrun(asked: Asked, more: bigint, isEnforced: boolean): BudgetExceeded | undefined {
    return this.#counted(asked, this.budgets.withoutRoom(asked, more), isEnforced)
  }

  /**
   * Checks and holds an estimate in this run and all runs around it, in one step. Returns the denial of a call, or the
   * call that waits for room. A call inside an open guard doesn't wait for held amounts: it may wait for its own guard.
   */
  admit(call: Call, isInside: boolean): Ticket | BudgetExceeded | Waiter {
    const wait = this.judge(call, undefined, isInside)
    if (wait === undefined) return this.start(call)
    if (!isBudgetExceeded(wait)) return new Waiter(this, call, wait)
    this.countDenial(call, wait)
    return wait
  }

  /** Whether a call can start. `waiter` is the call itself, if it waits already. */
  judge(call: Call, waiter: Waiter | undefined, isInside = false): BudgetExceeded | Wait | undefined {
    return this.#refusal(call) ?? waitFor(this.budgets.ceilings(call.amount.unit), call, waiter, isInside)
  }

  /** Holds the estimate of a call that may start. A joined call takes it from the ticket of the guard that it joins. */
  start(call: Call, isEnforced = true, lender?: Share): Ticket {
    const ticket = new Ticket(this, call, isEnforced, lender instanceof Ticket ? lender : undefined)
    this.#emit(() => ({ _tag: "Opened", run: this.reference, step: this.#counters.steps, ...call }))
    return ticket
  }

  /**
   * Admits a call that joins a guard. The run of that guard, and the runs around it, hold the amount already. Returns
   * nothing if a run below them has no room.
   */
  join(call: Call, guard: { readonly run: Ledger | undefined; readonly ticket: Share | undefined }, isEnforced = true) {
    const denial = this.#refusal(call) ?? this.budgets.withoutRoom(call, undefined, guard.run)
    return denial === undefined ? this.start(call, isEnforced, guard.ticket) : undefined
  }

  /** Counts the paused calls in this run, and in the runs around it up to the one that has no room. */
  countPaused(call: Call, gate: Gate, change: 1 | -1): void {
    for (const run of this.chain) {
      run.#paused += change
      if (run === gate) break
    }
    const { action, amount } = call
    this.#emit(() => ({ _tag: change === 1 ? "Paused" : "Resumed", run: this.reference, action, amount }))
  }

  /** Counts a step in this run and all runs around it. Returns the denial of a call, and counts it. */
  takeStep(action: Action, isEnforced: boolean): Step | BudgetExceeded {
    const asked: Request = { action, amount: undefined }
    const taken = this.#ended(asked) ?? this.#counters.takeStep(action)
    return "_tag" in taken ? this.#counted(asked, taken, isEnforced) : taken
  }

  /** Counts a tool call in this run and all runs around it. Returns the denial of the call, and counts it. */
  takeToolCall(call: ToolCall, isEnforced: boolean): BudgetExceeded | undefined {
    const action: Action = { kind: "tool.call", name: call.tool.slice(0, 256) }
    const asked: Request = { action, amount: undefined }
    return this.#counted(asked, this.#ended(asked) ?? this.#counters.takeToolCall(action, call), isEnforced)
  }

  /** The denial for another reason than the room in the budgets. */
  #refusal(asked: Asked): BudgetExceeded | undefined {
    return this.#ended(asked) ?? this.budgets.withoutBudget(asked)
  }

  /** The denial by the nearest run that has ended. */
  #ended(asked: Request): BudgetExceeded | undefined {
    const ended = this.chain.find((run) => run.#isEnded)
    return ended === undefined ? undefined : denialOf(ended.reference, "RUN_ENDED", asked, undefined)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // counts
  // -------------------------------------------------------------------------------------------------------------------

  /** The line of a call. */
  lineOf(call: Call): Entry {
    return this.#lines.of(call)
  }

  /** Counts a denial, if there is one, and returns it. */
  #counted<D extends BudgetExceeded | undefined>(asked: Request, denial: D, isEnforced: boolean): D {
    if (denial !== undefined) {
      if (isEnforced) this.countDenial(asked, denial)
      else this.countWouldDeny(asked, denial)
    }
    return denial
  }

  /** Counts a denial of a call, or of a carved budget. */
  countDenial({ action, amount }: Request, denial: BudgetExceeded): void {
    this.#denials += 1
    if (action !== undefined && amount !== undefined) this.lineOf({ action, amount }).deny()
    this.#emit(() => ({ _tag: "Denied", run: this.reference, action, amount, denial }))
  }

  /** Counts a denial of a call that ran all the same, in shadow mode. */
  countWouldDeny({ action, amount }: Request, denial: CyclesError): void {
    this.#wouldDeny += 1
    if (action !== undefined && amount !== undefined) this.lineOf({ action, amount }).wouldDeny += 1
    this.#emit(() => ({ _tag: "WouldDeny", run: this.reference, action, amount, denial }))
  }

  /** Holds an amount. A negative amount is returned. */
  hold(unit: Amount.Unit, amount: bigint): void {
    this.budgets.move(unit, amount, 0n)
    if (amount < 0n) this.#wake(unit)
  }

  /** Room may have become free in this run and in the runs around it. */
  #wake(unit: Amount.Unit): void {
    for (const run of this.chain) run.waiting.wake(unit)
  }

  /** Returns the hold of a call, and charges its spend. The caller adds the spend to the line of the call. */
  charge(call: Call, amount: bigint, held = 0n): void {
    const { unit } = call.amount
    this.budgets.move(unit, -held, amount)
    const { action, step = this.#counters.steps } = call
    this.#emit(() => ({ _tag: "Charged", run: this.reference, step, action, amount: amountOf(unit, amount) }))
    if (amount > 0n) for (const run of this.chain) run.#announce(unit)
    this.#wake(unit)
  }

  /** Charges an event, which is a call without an estimate. */
  chargeEvent(call: Call): void {
    const { amount } = call.amount
    const line = this.lineOf(call)
    line.calls += 1
    line.charge(amount)
    this.charge(call, amount)
  }

  /** Raises the budget of this run. Returns a denial if it is carved, and the runs around it have no room. */
  raise(by: Amount.Amount): BudgetExceeded | undefined {
    const more = this.budgets.raiseOfCarved(by)
    if (more !== undefined && this.#parent !== undefined) {
      const asked: Asked = { action: undefined, amount: by }
      const denial = this.#parent.#ended(asked) ?? this.#parent.budgets.withoutRoom(asked, more)
      if (denial !== undefined) return denial
    }
    this.budgets.raise(by)
    this.#wake(by.unit)
    return undefined
  }

  #announce(unit: Amount.Unit): void {
    if (this.#isEnded) return
    for (const reached of this.budgets.takeReached(unit)) {
      this.settings.onThreshold?.(reached)
      this.#emit(() => ({ _tag: "Threshold", ...reached }))
    }
  }

  /**
   * Sends an event to the readers of this run and of all runs around it. A waiting reader runs immediately, so this is
   * the last step of a change.
   */
  #emit(make: () => Event): void {
    let event: Event | undefined
    for (const run of this.chain) if (!run.#isEnded && !run.#readers.isEmpty) run.#readers.publish((event ??= make()))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // queries
  // -------------------------------------------------------------------------------------------------------------------

  /** The events from now on. */
  get events(): Stream.Stream<Event> {
    return this.#readers.stream
  }

  /** The state of the run and its children. */
  summary(): Summary {
    return {
      id: this.id,
      name: this.reference.name,
      status: this.#isEnded ? "ended" : this.#paused > 0 ? "paused" : "running",
      elapsedMs: Math.round(this.elapsedMs),
      budgets: this.budgets.summary(),
      lines: this.#lines.summary(),
      calls: this.#lines.total("calls"),
      denials: this.#denials,
      wouldDeny: this.#wouldDeny,
      uncertain: this.#lines.total("uncertain"),
      steps: this.#counters.steps,
      toolCalls: this.#counters.toolCalls,
      stoppedBy: this.#stoppedBy,
      uncovered: this.budgets.uncovered,
      children: [...this.#earlier.map(summaryOf), ...this.#children.map((child) => child.summary())]
    }
  }

  /** The state to continue from. */
  snapshot(): Snapshot {
    const { id, isIdGenerated, name } = this.settings
    return {
      version: 1,
      id,
      isIdGenerated,
      name,
      elapsedMs: Math.round(this.elapsedMs),
      budgets: this.budgets.snapshot((unit) => this.#openIn(unit)),
      lines: this.#lines.snapshot(),
      denials: this.#denials,
      wouldDeny: this.#wouldDeny,
      uncovered: this.budgets.uncovered,
      counts: this.#counters.snapshot(),
      children: [...this.#earlier, ...this.#children.map((child) => child.snapshot())]
    }
  }

  /** The amount that the open calls of the run and its children hold. Unspent carved budgets aren't included. */
  #openIn(unit: Amount.Unit): bigint {
    return this.#children.reduce((total, child) => total + child.#openIn(unit), this.#lines.held(unit))
  }
}
