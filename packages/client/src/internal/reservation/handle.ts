/**
 * One reservation: its state, its recorded spend and its lease. Only the methods of `Handle` change them. Spend that is
 * recorded after the settlement was decided is returned as late spend, because the part above the settled amount still
 * has to be charged.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { AlreadySettled } from "../../CyclesError.ts"
import { LeaseLost } from "../../Heartbeat.ts"
import type { RecordOptions } from "../../Reservation.ts"
import type { Beat } from "../lease/heartbeat.ts"
import * as Extras from "../protocol/extras.ts"
import type { Share } from "../run/ticket.ts"
import type { Grant } from "./grant.ts"
import type { GuardedCall, Prepared } from "./options.ts"
import { inUnit } from "./inUnit.ts"
import type { Owner } from "./shared.ts"
import { Shared } from "./shared.ts"
import type { Account, Decided, Late, Recorded, Source as SourceOf } from "./source.ts"
import { unreserved } from "./source.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The source of the budget of a guarded call. */
export type Source = SourceOf<Handle>

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** The state of a reservation in this process. */
export class Handle implements Owner {
  readonly call: GuardedCall
  /** The response to the reserve, or the public reservation, which contains the same fields. */
  grant: Grant
  readonly source: Source
  /** When the body was allowed to start, by the monotonic clock, in milliseconds. */
  readonly startedAtMs: number
  /** The lease in the heartbeat; absent in a dry run. */
  beat: Beat | undefined = undefined
  /** The share of the call in its run; absent without a run and in a dry run. */
  ticket: Share | undefined = undefined
  /** The guard around it whose spend includes the spend of this one. Only with `nested: "join"`. */
  within: Handle | undefined = undefined
  /** The client that made the reservation; only of a reservation that a run or a pool holds. */
  client: object | undefined = undefined
  /** Writes the open record together with other calls; only of a pool. */
  grouped: ((write: Effect.Effect<void>) => Effect.Effect<void>) | undefined = undefined
  #outer: Handle | undefined = undefined
  #recorded: Recorded | undefined = undefined
  /** The total that the guard of a stream has measured. */
  #metered: Amount.Amount | undefined = undefined
  /** The parts of the reservation that joined calls use. */
  #shared: Shared<Handle> | undefined = undefined
  /** The spend of joined calls that have their own reservations, because there was no room. */
  #apart: bigint | undefined = undefined
  #extras: Extras.Extras = Extras.none
  #isSpendUnknown = false
  #lost: LeaseLost | undefined = undefined
  #onLost: Deferred.Deferred<LeaseLost> | undefined = undefined
  /** Absent until the settlement is decided. */
  #decided: Decided | undefined = undefined
  #hasAnnounced = false

  constructor(prepared: Prepared, grant: Grant, source: Source, startedAtMs: number) {
    this.call = prepared.call
    this.grant = grant
    this.source = source
    this.startedAtMs = startedAtMs
  }

  /** The id of the reservation; absent if there is none. */
  get id(): ReservationId | undefined {
    return this.source._tag === "Reservation" ? this.source.id : undefined
  }

  /** The id and the key stem of the spend; absent if nothing is charged. */
  get account(): Account | undefined {
    switch (this.source._tag) {
      case "Reservation":
      case "Joined":
        return { id: this.source.id, stem: this.call.stem }
      case "Unreachable":
        return this.source
      case "Unreserved":
        return undefined
    }
  }

  /** The id of the reservation that the spend belongs to: its own, or the one that it is drawn from. */
  get reservationId(): ReservationId | undefined {
    return this.source._tag === "Joined" ? this.source.id : this.id
  }

  /** The recorded total, if any. */
  get recorded(): Recorded | undefined {
    const metered = this.#metered === undefined ? undefined : this.withoutApart(this.#metered)
    const recorded = this.#recorded
    return metered === undefined || (recorded !== undefined && recorded.amount.amount >= metered.amount)
      ? recorded
      : { amount: metered, isEstimated: false }
  }

  /** The recorded metrics. */
  get extras(): Extras.Extras {
    return this.#extras
  }

  /** Whether an unknown amount was spent. */
  get isSpendUnknown(): boolean {
    return this.#isSpendUnknown
  }

  /** Whether a settlement has been decided. */
  get isDecided(): boolean {
    return this.#decided !== undefined
  }

  /** The loss of the lease, if it happened before the settlement was decided. */
  get lost(): LeaseLost | undefined {
    return this.#lost
  }

  // -------------------------------------------------------------------------------------------------------------------
  // spend
  // -------------------------------------------------------------------------------------------------------------------

  /** Sets the recorded total and returns the late part, if any. If `read` throws, the spend is unknown. */
  record(read: () => RecordOptions): Result.Result<Late | undefined, Amount.UnitMismatch> {
    return this.#spend(() => this.#recordedBy(read))
  }

  /** Sets the total that a commit by hand charges. It doesn't reduce a recorded total that isn't an estimate. */
  recordFinal(read: () => RecordOptions): Result.Result<Late | undefined, Amount.UnitMismatch> {
    const before = this.#recorded
    return this.#spend(() =>
      Result.map(this.#recordedBy(read), (own) =>
        before?.isEstimated === false && before.amount.amount > own.amount.amount ? before : own
      )
    )
  }

  #recordedBy(read: () => RecordOptions): Result.Result<Recorded, Amount.UnitMismatch> {
    const { actual, isEstimated } = read()
    return Result.map(this.inUnit(actual), (amount): Recorded => ({
      amount: this.withoutApart(amount),
      isEstimated: isEstimated === true
    }))
  }

  /** Sets the total that the guard of a stream has measured. The larger one of it and the recorded total counts. */
  meter(total: Amount.Amount): Late | undefined {
    this.#metered = total
    return this.#afterSpend()
  }

  /** Adds to the recorded total and returns the late part, if any. */
  add(amount: Amount.Amount): Result.Result<Late | undefined, Amount.UnitMismatch> {
    return this.#spend(() => {
      const recorded = this.#recorded?.amount.amount ?? 0n
      const settled = this.#decided?.settled ?? 0n
      const base = settled > recorded ? settled : recorded
      return Result.map(this.inUnit(amount), (added): Recorded => ({
        amount: Amount.sum(Amount.make(added.unit, base), added),
        isEstimated: this.#recorded?.isEstimated ?? false
      }))
    })
  }

  /** Merges metrics into the recorded ones. */
  addExtras(extras: Extras.Extras): void {
    this.#extras = Extras.merge(this.#extras, extras)
  }

  /** An unknown amount was spent: the settlement commits at least the estimate. */
  markSpendUnknown(): void {
    this.#isSpendUnknown = true
  }

  /** The recorded total is the final one, so earlier spend of an unknown amount is part of it. */
  markSpendKnown(): void {
    this.#isSpendUnknown = false
  }

  /** Returns the caller's amount if it has the unit of the estimate. Throws if the value isn't an amount. */
  inUnit(given: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> {
    return inUnit(this.call.estimate.unit, given)
  }

  /** Computes the total. The spend is unknown during the computation, and stays unknown if it throws or fails. */
  #spend(
    total: () => Result.Result<Recorded, Amount.UnitMismatch>
  ): Result.Result<Late | undefined, Amount.UnitMismatch> {
    const wasUnknown = this.#isSpendUnknown
    this.#isSpendUnknown = true
    const recorded = total()
    if (Result.isFailure(recorded)) return Result.fail(recorded.failure)
    this.#isSpendUnknown = wasUnknown
    this.#recorded = recorded.success
    return Result.succeed(this.#afterSpend())
  }

  /** The total has changed: holds more in the run, and returns the late part, if any. */
  #afterSpend(): Late | undefined {
    const total = this.recordedAmount
    if (this.ticket !== undefined) this.ticket.grow(total - this.drawn)
    this.onGrown()
    return this.#late(total)
  }

  #late(total: bigint): Late | undefined {
    const { source } = this
    const decided = this.#decided
    if (decided === undefined || total <= decided.settled) return undefined
    const more = total - decided.settled
    decided.settled = total
    this.ticket?.chargeLate(more)
    this.within?.addApart(more)
    if (source._tag === "Unreserved") return undefined
    if (source._tag === "Joined" && source.draw.add(more)) return undefined
    decided.lateCount += 1
    return { amount: Amount.make(this.call.estimate.unit, more), ordinal: decided.lateCount }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // joined calls
  // -------------------------------------------------------------------------------------------------------------------

  /** The nearest open guard around this one. */
  get outer(): Handle | undefined {
    // Guards that have ended are dropped, so that a fiber that outlives them doesn't keep them.
    this.#outer = this.#outer?.nearestOpen
    return this.#outer
  }

  set outer(outer: Handle | undefined) {
    this.#outer = outer
  }

  /** This guard, or else the nearest open one around it. */
  get nearestOpen(): Handle | undefined {
    return this.isDecided ? this.outer : this
  }

  /** The open reservation that the spend goes to. Absent without a reservation, and if that one is decided. */
  get root(): Handle | undefined {
    switch (this.source._tag) {
      case "Reservation":
      case "Unreachable":
        return this.isDecided ? undefined : this
      case "Joined":
        return this.source.draw.shared.current?.owner.root
      case "Unreserved":
        return undefined
    }
  }

  /** Whether calls inside can draw on the reservation. */
  get canLend(): boolean {
    const { root } = this
    return !this.isDecided && root !== undefined && root.lost === undefined
  }

  /** The part of the reservation that joined calls use. */
  get shared(): Shared<Handle> {
    return (this.#shared ??= new Shared<Handle>(this, this.call.estimate.amount))
  }

  /** Draws an estimate for a call inside. The caller has checked that there is room. */
  drawFor(estimate: bigint, action: string): Source {
    const id = this.account?.id
    return id === undefined ? unreserved("dry run") : { _tag: "Joined", id, draw: this.shared.draw(estimate, action) }
  }

  /** The spend of joined calls that have ended. */
  get drawn(): bigint {
    return this.#shared?.drawn ?? 0n
  }

  /** The known spend of joined calls that are open. */
  get openSpend(): bigint {
    return this.#shared?.known ?? 0n
  }

  /** The joined calls by action, if there are any. */
  get lines(): Shared<Handle>["lines"] | undefined {
    return this.#shared?.lines
  }

  /** The recorded amount, or 0. */
  get recordedAmount(): bigint {
    return this.recorded?.amount.amount ?? 0n
  }

  /** Whether the spend of a joined call went into the reservation around it. If not, it is charged as an event. */
  get isDrawn(): boolean {
    return this.#decided?.isDrawn === true
  }

  /** A joined call has ended: its spend is recorded spend of this one. */
  onDrawn(amount: bigint, isEstimated: boolean): void {
    const { unit } = this.call.estimate
    const recorded = this.#recorded
    // A call that has spent nothing records nothing here.
    if (amount === 0n && recorded === undefined) return
    this.#recorded = {
      amount: Amount.sum(recorded?.amount ?? Amount.zero(unit), Amount.make(unit, amount)),
      isEstimated: isEstimated || recorded?.isEstimated === true
    }
    this.onGrown()
  }

  /** The known spend has grown: reports it to the reservation that it is drawn from. */
  onGrown(): void {
    if (this.source._tag === "Joined" && !this.isDecided) this.source.draw.grow(this.recordedAmount + this.openSpend)
  }

  /**
   * A joined call has its own reservation: the recorded totals of this one include its spend, but this one doesn't pay
   * it.
   */
  addApart(amount: bigint): void {
    if (amount === 0n || this.call.isRunHold) return
    this.#apart = (this.#apart ?? 0n) + amount
    if (!this.isDecided) this.#recorded ??= { amount: Amount.zero(this.call.estimate.unit), isEstimated: false }
    const around = this.source._tag === "Joined" ? this.source.draw.shared.current?.owner : this.within
    around?.addApart(amount)
  }

  /** The part of a total that this reservation pays: without the reservations inside, and at least the drawn spend. */
  withoutApart(total: Amount.Amount): Amount.Amount {
    if (this.#apart === undefined && this.#shared === undefined) return total
    const own = total.amount - (this.#apart ?? 0n)
    return Amount.make(total.unit, own > this.drawn ? own : this.drawn)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // lease
  // -------------------------------------------------------------------------------------------------------------------

  /** Marks the lease as lost. Returns the error the first time, and nothing after the settlement is decided. */
  markLost(reason: string): LeaseLost | undefined {
    if (this.isDecided || this.#lost !== undefined) return undefined
    this.#lost = new LeaseLost({ reservationId: this.reservationId ?? "", reason })
    if (this.#onLost !== undefined) Deferred.doneUnsafe(this.#onLost, Exit.succeed(this.#lost))
    if (this.#shared !== undefined) for (const draw of this.#shared.open) draw.onLost?.(reason)
    return this.#lost
  }

  /** Completes when the lease is lost. Only with the policy `cancel`. */
  get onLost(): Deferred.Deferred<LeaseLost> | undefined {
    if (this.call.policies.heartbeat !== "cancel" || this.reservationId === undefined) return undefined
    if (this.#onLost === undefined) {
      this.#onLost = Deferred.makeUnsafe<LeaseLost>()
      if (this.#lost !== undefined) Deferred.doneUnsafe(this.#onLost, Exit.succeed(this.#lost))
    }
    return this.#onLost
  }

  // -------------------------------------------------------------------------------------------------------------------
  // settlement
  // -------------------------------------------------------------------------------------------------------------------

  /** Decides the settlement. Returns false if it was decided before. `settled` is the amount to commit. */
  decide(event: "commitDecided" | "releaseDecided", settled: bigint, isEstimated: boolean): boolean {
    if (this.#decided !== undefined) return false
    const { source } = this
    const decided: Decided = {
      by: event === "commitDecided" ? "commit" : "release",
      settled,
      lateCount: 0,
      isDrawn: false
    }
    this.#decided = decided
    if (this.id !== undefined) this.call.life.fire(event)
    const own = settled - this.drawn
    this.ticket?.settle(own)
    if (source._tag === "Joined") {
      this.#shared?.close(source.draw.shared)
      decided.isDrawn = source.draw.end({ actual: settled, own, isEstimated })
    } else {
      this.#shared?.close(undefined)
    }
    this.within?.addApart(settled)
    return true
  }

  /** How the call ended, as an error reports it; `unknown` if it is open. */
  get end(): AlreadySettled["status"] {
    if (this.#decided === undefined) return "unknown"
    return this.#decided.by === "commit" ? "COMMITTED" : "RELEASED"
  }

  /** The error of a second attempt to settle. */
  get alreadySettled(): AlreadySettled {
    return new AlreadySettled({
      reservationId: this.reservationId ?? "",
      by: this.#decided?.by ?? "commit",
      status: this.end
    })
  }

  /** Returns true once: the caller that receives true runs `onSettled`. */
  takeAnnouncement(): boolean {
    const isFirst = !this.#hasAnnounced
    this.#hasAnnounced = true
    return isFirst
  }
}
