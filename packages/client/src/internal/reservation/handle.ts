/**
 * One reservation: its state, its recorded spend and its lease, each changed only by the methods here.
 *
 * Spend that is recorded after the settlement was decided is reported as late: the part above the settled amount still
 * has to be charged.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { AlreadySettled } from "../../CyclesError.ts"
import { LeaseLost } from "../../Heartbeat.ts"
import type { Beat } from "../lease/heartbeat.ts"
import * as Extras from "../protocol/extras.ts"
import type { Prepared } from "./options.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The recorded total. */
export interface Recorded {
  readonly amount: Amount.Amount
  readonly isEstimated: boolean
}

/** Spend that was recorded after the settlement was decided, beyond the settled amount. */
export interface Late {
  readonly amount: Amount.Amount
  /** 1 for the first one of a reservation, and so on. */
  readonly ordinal: number
}

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** The state of a reservation in this process. */
export class Handle {
  readonly prepared: Prepared
  readonly response: ReservationCreateResponse
  /** When the body could begin, by the monotonic clock, in milliseconds. */
  readonly startedAtMs: number
  /** The entry of the heartbeat; absent in a dry run. */
  beat: Beat | undefined = undefined
  #recorded: Recorded | undefined = undefined
  #extras: Extras.Extras = Extras.none
  #isSpendUnknown = false
  #lost: LeaseLost | undefined = undefined
  #onLost: Deferred.Deferred<LeaseLost> | undefined = undefined
  /** The amount of the decided settlement plus late spend; absent until the settlement is decided. */
  #settled: bigint | undefined = undefined
  #settledBy: "commit" | "release" = "commit"
  #lateCount = 0
  #hasAnnounced = false

  constructor(prepared: Prepared, response: ReservationCreateResponse, startedAtMs: number) {
    this.prepared = prepared
    this.response = response
    this.startedAtMs = startedAtMs
  }

  /** Absent in a dry run. */
  get id(): ReservationId | undefined {
    return this.prepared.isDryRun ? undefined : this.response.reservationId
  }

  /** The recorded total, if there is one. */
  get recorded(): Recorded | undefined {
    return this.#recorded
  }

  /** The recorded metrics. */
  get extras(): Extras.Extras {
    return this.#extras
  }

  /** Whether something was spent whose amount isn't known. */
  get isSpendUnknown(): boolean {
    return this.#isSpendUnknown
  }

  /** Whether a settlement has been decided. */
  get isDecided(): boolean {
    return this.#settled !== undefined
  }

  /** Why the lease was lost, if that was before the settlement was decided. */
  get lost(): LeaseLost | undefined {
    return this.#lost
  }

  // -------------------------------------------------------------------------------------------------------------------
  // spend
  // -------------------------------------------------------------------------------------------------------------------

  /** Sets the recorded total. Returns the late part, if there is one. What `read` throws leaves the spend unknown. */
  record(
    read: () => { readonly actual: Amount.Amount; readonly isEstimated?: boolean | undefined }
  ): Result.Result<Late | undefined, Amount.UnitMismatch> {
    return this.#spend(() => {
      const { actual, isEstimated } = read()
      return Result.map(this.inUnit(actual), (amount): Recorded => ({ amount, isEstimated: isEstimated === true }))
    })
  }

  /** Adds to the recorded total. Returns the late part, if there is one. */
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

  /** Adds metrics to the recorded ones. */
  addExtras(extras: Extras.Extras): void {
    this.#extras = Extras.merge(this.#extras, extras)
  }

  /** Something was spent, and the amount isn't known: the settlement commits at least the estimate. */
  markSpendUnknown(): void {
    this.#isSpendUnknown = true
  }

  /**
   * An amount of the caller's in the unit of the estimate. An object with the fields of an amount is one: the compiler
   * refuses it, but known spend counts. Throws if it isn't an amount at all.
   */
  inUnit(given: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> {
    const { unit } = this.prepared.estimate
    const amount = Amount.isAmount(given) ? given : amountOf(given)
    return amount.unit === unit
      ? Result.succeed(amount)
      : Result.fail(new Amount.UnitMismatch({ expected: unit, actual: amount.unit }))
  }

  /** The spend is unknown while its amount is computed, and stays unknown if that throws or fails. */
  #spend(
    total: () => Result.Result<Recorded, Amount.UnitMismatch>
  ): Result.Result<Late | undefined, Amount.UnitMismatch> {
    const wasUnknown = this.#isSpendUnknown
    this.#isSpendUnknown = true
    const recorded = total()
    if (Result.isFailure(recorded)) return Result.fail(recorded.failure)
    this.#isSpendUnknown = wasUnknown
    this.#recorded = recorded.success
    return Result.succeed(this.#late(recorded.success.amount))
  }

  #late(total: Amount.Amount): Late | undefined {
    if (this.#settled === undefined || this.id === undefined || total.amount <= this.#settled) return undefined
    const amount = Amount.make(total.unit, total.amount - this.#settled)
    this.#settled = total.amount
    this.#lateCount += 1
    return { amount, ordinal: this.#lateCount }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // lease
  // -------------------------------------------------------------------------------------------------------------------

  /** The lease can't be kept. Returns the error the first time, and nothing once the settlement is decided. */
  markLost(reason: string): LeaseLost | undefined {
    if (this.isDecided || this.#lost !== undefined) return undefined
    this.#lost = new LeaseLost({ reservationId: this.id ?? "", reason })
    if (this.#onLost !== undefined) Deferred.doneUnsafe(this.#onLost, Exit.succeed(this.#lost))
    return this.#lost
  }

  /** Completes when the lease is lost; only for the policy `cancel`. */
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

  /** Decides the settlement; false if one has been decided before. `settled` is the amount that it commits. */
  decide(event: "commitDecided" | "releaseDecided", settled: bigint): boolean {
    if (this.#settled !== undefined) return false
    this.#settled = settled
    this.#settledBy = event === "commitDecided" ? "commit" : "release"
    if (this.id !== undefined) this.prepared.life.fire(event)
    return true
  }

  /** The error of a second settlement. */
  get alreadySettled(): AlreadySettled {
    return new AlreadySettled({ reservationId: this.id ?? "", by: this.#settledBy })
  }

  /** True once: whoever gets it runs `onSettled`. */
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
