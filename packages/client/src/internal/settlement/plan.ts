/**
 * The plan for the spend of a reservation: the only place that chooses between commit and release, and that chooses the
 * amount.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Extras from "../protocol/extras.ts"
import type { Handle } from "../reservation/handle.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The plan for the spend of a reservation. */
export type Plan = Commit | Release

/** Commit an amount. */
export interface Commit {
  readonly _tag: "Commit"
  readonly actual: Amount.Amount
  /** Whether the amount is an estimate, because the actual amount is unknown. */
  readonly isEstimated: boolean
  readonly extras: Extras.Extras
}

/** Release the whole estimate. */
export interface Release {
  readonly _tag: "Release"
  readonly reason: string
}

/** Makes a plan that releases the whole estimate. */
export const release = (reason: string): Release => ({ _tag: "Release", reason })

/** Makes a plan that commits nothing. */
export const nothing = (handle: Handle): Commit => ({
  _tag: "Commit",
  actual: Amount.zero(handle.call.estimate.unit),
  isEstimated: false,
  extras: Extras.none
})

// ---------------------------------------------------------------------------------------------------------------------
// plans
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The plan for a body that succeeded: `actual`, or else the recorded total, or else the estimate. A recorded total that
 * isn't marked as an estimate is never reduced.
 */
export const forSuccess = (handle: Handle, actual?: Amount.Amount): Commit => {
  const { extras, recorded } = handle
  if (actual !== undefined) {
    const own = handle.withoutApart(actual)
    return recorded !== undefined && !recorded.isEstimated && recorded.amount.amount > own.amount
      ? { _tag: "Commit", actual: recorded.amount, isEstimated: false, extras }
      : { _tag: "Commit", actual: own, isEstimated: false, extras }
  }
  // Joined calls without spend don't show whether the body itself has spent anything.
  return handle.isSpendUnknown || recorded === undefined ? forUnknown(handle) : forRecorded(handle, recorded)
}

/** The warning about an actual amount that is below the committed one, if it is. */
export const belowRecorded = (handle: Handle, actual: Amount.Amount, committed: Amount.Amount): string | undefined =>
  committed.amount > actual.amount
    ? `Reservation ${handle.id ?? "(dry run)"}: the actual amount ${actual} is below the recorded total; ` +
      `${committed} is committed`
    : undefined

/** The plan for a body that failed, died or was interrupted, by the policy `onFailure`. */
export const forFailure = (handle: Handle, cause: Cause.Cause<unknown>): Plan => {
  const policy = handle.call.policies.onFailure
  if (policy === "release") return release(reasonOf(cause))
  if (handle.isSpendUnknown) return forUnknown(handle)
  if (handle.recorded !== undefined) return forRecorded(handle, handle.recorded)
  return policy === "estimate" ? forUnknown(handle) : release(reasonOf(cause))
}

/** The plan for an open reservation whose scope closes: a release if nothing was recorded. */
export const forClosedScope = (handle: Handle, exit: Exit.Exit<unknown, unknown>): Plan => {
  if (Exit.isFailure(exit)) return forFailure(handle, exit.cause)
  if (handle.isSpendUnknown) return forUnknown(handle)
  return handle.recorded === undefined ? release("scope_closed") : forRecorded(handle, handle.recorded)
}

/** The plan for spend of an unknown amount: the estimate, or the recorded total if it is larger. */
export const forUnknown = (handle: Handle): Commit => {
  const { estimate } = handle.call
  const recorded = handle.recorded?.amount
  return {
    _tag: "Commit",
    actual: recorded !== undefined && recorded.amount > estimate.amount ? recorded : estimate,
    isEstimated: true,
    extras: handle.extras
  }
}

/** The plan if the process crashes now. Only with `onCrash`. */
export const forCrash = (handle: Handle): Commit => {
  const { openSpend, recorded } = handle
  if (handle.isSpendUnknown) return forUnknown(handle)
  if (recorded === undefined && openSpend === 0n && handle.call.policies.onCrash === "estimate") {
    return forUnknown(handle)
  }
  const { unit } = handle.call.estimate
  return {
    _tag: "Commit",
    actual: Amount.sum(recorded?.amount ?? Amount.zero(unit), Amount.make(unit, openSpend)),
    isEstimated: recorded?.isEstimated ?? false,
    extras: recorded === undefined ? Extras.none : handle.extras
  }
}

/** The plan with at least the spend of joined calls, which is committed regardless of how the body ends. */
export const withDrawn = (handle: Handle, plan: Plan): Plan => {
  const { drawn } = handle
  if (drawn === 0n || (plan._tag === "Commit" && plan.actual.amount >= drawn)) return plan
  return {
    _tag: "Commit",
    actual: Amount.make(handle.call.estimate.unit, drawn),
    isEstimated: handle.recorded?.isEstimated ?? false,
    extras: handle.extras
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const forRecorded = (
  handle: Handle,
  recorded: { readonly amount: Amount.Amount; readonly isEstimated: boolean }
): Commit => ({
  _tag: "Commit",
  actual: recorded.amount,
  isEstimated: recorded.isEstimated,
  extras: handle.extras
})

/** The reason of a release. It contains nothing from the caller's error. */
const reasonOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasFails(cause)) return "body_failed"
  return Cause.hasDies(cause) ? "body_died" : "body_interrupted"
}
