/**
 * One reservation: its state, its recorded spend and its lease. Only the methods of `Handle` change them. Spend that is
 * recorded after the settlement was decided is returned as late spend, because the part above the settled amount still
 * has to be charged.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { AlreadySettled } from "../../CyclesError.ts"
import { LeaseLost } from "../../Heartbeat.ts"
import type { Beat } from "../lease/heartbeat.ts"
import * as Extras from "../protocol/extras.ts"
import type { Share } from "../run/ticket.ts"
import type { Unreserved } from "../../Settlement.ts"
import type { Prepared } from "./options.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The source of the budget of a guarded call. */
export type Source =
  | { readonly _tag: "Reservation"; readonly id: ReservationId }
  /** The server can't be reached: the call runs, and an event with this id and key stem charges its spend later. */
  | { readonly _tag: "Unreachable"; readonly id: ReservationId; readonly stem: string }
  /** No budget: the call runs, and its spend isn't charged. */
  | {
      readonly _tag: "Unreserved"
      readonly reason: Unreserved["reason"]
      /** Runs when the settlement is decided. */
      readonly atEnd?: Effect.Effect<void> | undefined
    }

/** The source of a call without budget. */
export const unreserved = (reason: Unreserved["reason"], atEnd?: Effect.Effect<void>): Source => ({
  _tag: "Unreserved",
  reason,
  atEnd
})

/** The id of spend in the journal, and the stem of its keys. */
export interface Account {
  readonly id: ReservationId
  readonly stem: string
}

/** The recorded total. */
export interface Recorded {
  readonly amount: Amount.Amount
  readonly isEstimated: boolean
}

/** Spend that was recorded after the settlement was decided, above the settled amount. */
export interface Late {
  readonly amount: Amount.Amount
  /** 1 for the first late spend of a reservation, and so on. */
  readonly ordinal: number
}

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** The state of a reservation in this process. */
export class Handle {
  readonly prepared: Prepared
  readonly response: ReservationCreateResponse
  readonly source: Source
  /** When the body was allowed to start, by the monotonic clock, in milliseconds. */
  readonly startedAtMs: number
  /** The lease in the heartbeat; absent in a dry run. */
  beat: Beat | undefined = undefined
  /** The share of the call in its run; absent without a run and in a dry run. */
  ticket: Share | undefined = undefined
  #recorded: Recorded | undefined = undefined
  #extras: Extras.Extras = Extras.none
  #isSpendUnknown = false
  #lost: LeaseLost | undefined = undefined
  #onLost: Deferred.Deferred<LeaseLost> | undefined = undefined
  /** The settled amount plus late spend; absent until the settlement is decided. */
  #settled: bigint | undefined = undefined
  #settledBy: "commit" | "release" = "commit"
  #lateCount = 0
  #hasAnnounced = false

  constructor(prepared: Prepared, response: ReservationCreateResponse, source: Source, startedAtMs: number) {
    this.prepared = prepared
    this.response = response
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
        return { id: this.source.id, stem: this.prepared.stem }
      case "Unreachable":
        return this.source
      case "Unreserved":
        return undefined
    }
  }

  /** The recorded total, if any. */
  get recorded(): Recorded | undefined {
    return this.#recorded
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
    return this.#settled !== undefined
  }

  /** The loss of the lease, if it happened before the settlement was decided. */
  get lost(): LeaseLost | undefined {
    return this.#lost
  }

  // -------------------------------------------------------------------------------------------------------------------
  // spend
  // -------------------------------------------------------------------------------------------------------------------

  /** Sets the recorded total and returns the late part, if any. If `read` throws, the spend is unknown. */
  record(
    read: () => { readonly actual: Amount.Amount; readonly isEstimated?: boolean | undefined }
  ): Result.Result<Late | undefined, Amount.UnitMismatch> {
    return this.#spend(() => {
      const { actual, isEstimated } = read()
      return Result.map(this.inUnit(actual), (amount): Recorded => ({ amount, isEstimated: isEstimated === true }))
    })
  }

  /** Adds to the recorded total and returns the late part, if any. */
  add(amount: Amount.Amount): Result.Result<Late | undefined, Amount.UnitMismatch> {
    return this.#spend(() => {
      const recorded = this.#recorded?.amount.amount ?? 0n
      const base = this.#settled !== undefined && this.#settled > recorded ? this.#settled : recorded
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

  /**
   * Returns the caller's amount if it has the unit of the estimate. Also accepts another object with the fields of an amount,
   * which the compiler refuses, so that known spend isn't lost. Throws if the value isn't an amount.
   */
  inUnit(given: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> {
    const { unit } = this.prepared.estimate
    const amount = Amount.isAmount(given) ? given : amountOf(given)
    return amount.unit === unit
      ? Result.succeed(amount)
      : Result.fail(new Amount.UnitMismatch({ expected: unit, actual: amount.unit }))
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
    this.ticket?.grow(recorded.success.amount.amount)
    return Result.succeed(this.#late(recorded.success.amount))
  }

  #late(total: Amount.Amount): Late | undefined {
    if (this.#settled === undefined || total.amount <= this.#settled) return undefined
    const amount = Amount.make(total.unit, total.amount - this.#settled)
    this.#settled = total.amount
    this.ticket?.chargeLate(amount.amount)
    if (this.source._tag === "Unreserved") return undefined
    this.#lateCount += 1
    return { amount, ordinal: this.#lateCount }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // lease
  // -------------------------------------------------------------------------------------------------------------------

  /** Marks the lease as lost. Returns the error the first time, and nothing after the settlement is decided. */
  markLost(reason: string): LeaseLost | undefined {
    if (this.isDecided || this.#lost !== undefined) return undefined
    this.#lost = new LeaseLost({ reservationId: this.id ?? "", reason })
    if (this.#onLost !== undefined) Deferred.doneUnsafe(this.#onLost, Exit.succeed(this.#lost))
    return this.#lost
  }

  /** Completes when the lease is lost. Only with the policy `cancel`. */
  get onLost(): Deferred.Deferred<LeaseLost> | undefined {
    if (this.prepared.policies.heartbeat !== "cancel" || this.id === undefined) return undefined
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
  decide(event: "commitDecided" | "releaseDecided", settled: bigint): boolean {
    if (this.#settled !== undefined) return false
    this.#settled = settled
    this.#settledBy = event === "commitDecided" ? "commit" : "release"
    if (this.id !== undefined) this.prepared.life.fire(event)
    this.ticket?.settle(settled)
    return true
  }

  /** The error of a second attempt to settle. */
  get alreadySettled(): AlreadySettled {
    return new AlreadySettled({ reservationId: this.id ?? "", by: this.#settledBy })
  }

  /** Returns true once: the caller that receives true runs `onSettled`. */
  takeAnnouncement(): boolean {
    const isFirst = !this.#hasAnnounced
    this.#hasAnnounced = true
    return isFirst
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const amountOf = (given: unknown): Amount.Amount => {
  if (typeof given === "object" && given !== null && "unit" in given && "amount" in given) {
    const { amount, unit } = given
    if (typeof unit === "string" && (typeof amount === "bigint" || typeof amount === "number")) {
      return Amount.make(unit, amount)
    }
  }
  throw new TypeError("The spend must be an amount as Amount.tokens, Amount.usd and the like make it")
}
