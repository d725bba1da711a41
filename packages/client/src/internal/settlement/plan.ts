/**
 * What happens to the spend of a reservation: the one place that decides between commit and release, and on the amount.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Extras from "../protocol/extras.ts"
import type { Handle } from "../reservation/handle.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What to do with the spend of a reservation. */
export type Plan = Commit | Release

/** Charge an amount. */
export interface Commit {
  readonly _tag: "Commit"
  readonly actual: Amount.Amount
  /** Whether the amount is an estimate, because no actual amount is known. */
  readonly isEstimated: boolean
  readonly extras: Extras.Extras
}

/** Return everything. */
export interface Release {
  readonly _tag: "Release"
  readonly reason: string
}

/** Returns everything. */
export const release = (reason: string): Release => ({ _tag: "Release", reason })

// ---------------------------------------------------------------------------------------------------------------------
// plans
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The plan for a body that succeeded: `actual` if it is known, else the recorded total, else the estimate. A recorded
 * total that wasn't marked as estimated is never reduced.
 */
export const forSuccess = (handle: Handle, actual?: Amount.Amount): Commit => {
  const { extras, recorded } = handle
  if (actual !== undefined) {
    return recorded !== undefined && !recorded.isEstimated && recorded.amount.amount > actual.amount
      ? { _tag: "Commit", actual: recorded.amount, isEstimated: false, extras }
      : { _tag: "Commit", actual, isEstimated: false, extras }
  }
  return handle.isSpendUnknown || recorded === undefined ? forUnknown(handle) : forRecorded(handle, recorded)
}

/** The plan for a body that failed, died or was interrupted, by the policy `onFailure`. */
export const forFailure = (handle: Handle, cause: Cause.Cause<unknown>): Plan => {
  const policy = handle.prepared.policies.onFailure
  if (policy === "release") return release(reasonOf(cause))
  if (handle.isSpendUnknown) return forUnknown(handle)
  if (handle.recorded !== undefined) return forRecorded(handle, handle.recorded)
  return policy === "estimate" ? forUnknown(handle) : release(reasonOf(cause))
}

/** The plan for a scope that closes around an open reservation: without any spend it is released. */
export const forClosedScope = (handle: Handle, exit: Exit.Exit<unknown, unknown>): Plan => {
  if (Exit.isFailure(exit)) return forFailure(handle, exit.cause)
  if (handle.isSpendUnknown) return forUnknown(handle)
  return handle.recorded === undefined ? release("scope_closed") : forRecorded(handle, handle.recorded)
}

/** The plan for spend of an unknown amount: the estimate, or the recorded total if that is larger. */
export const forUnknown = (handle: Handle): Commit => {
  const { estimate } = handle.prepared
  const recorded = handle.recorded?.amount
  return {
    _tag: "Commit",
    actual: recorded !== undefined && recorded.amount > estimate.amount ? recorded : estimate,
    isEstimated: true,
    extras: handle.extras
  }
}

/** What is committed if the process dies now; only with `onCrash`. */
export const forCrash = (handle: Handle, zero: Amount.Amount): Commit => {
  if (handle.isSpendUnknown) return forUnknown(handle)
  if (handle.recorded !== undefined) return forRecorded(handle, handle.recorded)
  return handle.prepared.policies.onCrash === "estimate"
    ? forUnknown(handle)
    : { _tag: "Commit", actual: zero, isEstimated: false, extras: Extras.none }
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

/** The reason of a release, without anything of the caller's error. */
const reasonOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasFails(cause)) return "body_failed"
  return Cause.hasDies(cause) ? "body_died" : "body_interrupted"
}
