/** The totals that may be charged for a call, from what was observed outside the client. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { Observation } from "./observation.ts"

/** The longest time from the end of a body until its settlement is on a disk without faults, in milliseconds. */
const writtenAfterMs = 200

/** The amount that is recorded after a settlement, each time. */
export const lateAmount = 100

/**
 * The totals if the process ran until nothing was left to do.
 *
 * A layer that closed while its disk refused writes doesn't repeat them: spend that only the memory has is lost, and
 * the open record of a released reservation is charged later.
 */
export const ofEnded = (observation: Observation, isDisturbed: boolean): ReadonlySet<number> => {
  const { call, program, recorded, streamed } = observation
  const settled = ofSettled(observation)
  if (!isDisturbed || !program.hasClosedEarly) return settled
  const left = call.onCrash === "expire" ? [0] : [0, recorded, streamed, call.estimate]
  const withoutLate = [0, observation.late - lateAmount].flatMap((late) =>
    Array.from(ofSettled({ ...observation, late: Math.max(0, late) }))
  )
  return new Set([...settled, ...withoutLate, ...latePartsOf(observation), ...left])
}

/** The totals if the settlement became final. */
export const ofSettled = (observation: Observation): ReadonlySet<number> => {
  const { call } = observation
  if (call.form === "event") return ofEvent(observation)
  const late = observation.late
  const base = baseOf(observation)
  return new Set(Array.from(base, (amount) => Math.max(amount, late)))
}

/** The totals if the process was killed. At least the spend that the journal had promised to keep is charged. */
export const ofKilled = (observation: Observation, isDisturbed: boolean): ReadonlySet<number> => {
  const { beganAtMs, call, committed, durable, emitted, durableLate, endedAtMs, exit, late, recorded, streamed } =
    observation
  if (call.form === "event") return ofEvent(observation)
  if (beganAtMs === undefined)
    return new Set([0, ...(call.onCrash === "estimate" || call.onFailure === "estimate" ? [call.estimate] : [])])
  const settled = ofSettled({ ...observation, late: durableLate })
  const diedAtMs = observation.program.process.diedAtMs
  const isFree = settled.has(0) || observation.isReleasedByHand || call.onFailure === "release"
  const wasWritten =
    (exit !== undefined || (endedAtMs !== undefined && diedAtMs - endedAtMs > writtenAfterMs)) && !isDisturbed
  const isOpenLeft = call.onCrash !== "expire" && isFree
  if (wasWritten && !isOpenLeft && hasDecided(observation)) return new Set([...settled, ...ofSettled(observation)])
  const atLeast = call.onCrash === "expire" || isFree || isDisturbed ? 0 : Math.max(durable, emitted)
  const parts = Array.from({ length: 5 }, (_, count) => count * Math.floor(call.actual / 4)).filter(
    (total) => total <= streamed
  )
  const known = [
    0,
    recorded,
    committed ?? 0,
    ...parts,
    call.actual,
    call.estimate,
    late,
    ...latePartsOf(observation),
    ...settled
  ]
  return new Set(known.filter((total) => total >= atLeast))
}

/** The late parts, each of which is charged alone if the journal has lost the rest. */
const latePartsOf = (observation: Observation): ReadonlyArray<number> => {
  const { late } = observation
  if (late === 0) return []
  const bases = Array.from(ofSettled({ ...observation, late: 0 }))
  return [lateAmount, late - lateAmount, ...bases.flatMap((base) => [late - base, late - lateAmount - base])].filter(
    (part) => part > 0
  )
}

/** Whether the end of the body decides the settlement. By hand, the program decides it later, but at once. */
const hasDecided = ({ call, exit }: Observation): boolean => call.form !== "stream" || exit !== undefined

/** The totals without late spend. */
const baseOf = (observation: Observation): ReadonlyArray<number> => {
  const { beganAtMs, call, committed, exit, isReleasedByHand, isUnknown, recorded, streamed, wasInterrupted, work } =
    observation
  const forNothing = call.onFailure === "estimate" ? call.estimate : 0
  const isReturned = exit !== undefined && Exit.isSuccess(exit)
  if (beganAtMs === undefined) return [0, forNothing]
  const known = call.form === "stream" ? streamed : recorded
  // A callback, or a record in another unit, has hidden an amount.
  const forKnown = isUnknown ? Math.max(call.estimate, known) : known > 0 ? known : forNothing
  const forFailure = call.onFailure === "release" ? 0 : forKnown
  if (call.form === "stream") {
    if (isUnknown) return [forFailure]
    if (isReturned) return [streamed]
    return [streamed, forFailure]
  }
  if (isReleasedByHand) return wasInterrupted ? [0, forFailure] : [0]
  if (committed !== undefined) {
    const total = Math.max(committed, recorded)
    return wasInterrupted ? [total, forFailure] : [total]
  }
  const isSuccess = work !== undefined && Exit.isSuccess(work)
  if (call.form === "byHand")
    return isSuccess ? [isUnknown ? forKnown : recorded, ...(wasInterrupted ? [forFailure] : [])] : [forFailure]
  return isSuccess
    ? [Math.max(call.broken === "actual" && isUnknown ? call.estimate : call.actual, recorded)]
    : [forFailure]
}

/**
 * The totals of an event: certain if it succeeded, or if the error proves that nothing happened. A refusal proves
 * nothing about an earlier attempt that is still on its way.
 */
const ofEvent = ({ call, exit, isDisturbed }: Observation): ReadonlySet<number> => {
  if (exit === undefined) return new Set([0, call.actual])
  if (Exit.isSuccess(exit)) return new Set([call.actual])
  return new Set(provesNothingHappened(exit.cause, isDisturbed) ? [0] : [0, call.actual])
}

const provesNothingHappened = (cause: Cause.Cause<unknown>, isDisturbed: boolean): boolean => {
  const error = Cause.squash(cause)
  if (typeof error !== "object" || error === null) return false
  if ("mayHaveArrived" in error) return error.mayHaveArrived === false
  if (isDisturbed || !("_tag" in error)) return false
  const isRefused = "code" in error && error.code !== undefined && "status" in error && Number(error.status) < 500
  return error._tag === "BudgetExceeded" || isRefused
}
