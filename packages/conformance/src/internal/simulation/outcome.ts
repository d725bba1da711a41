/** The result that a caller gets, and how long it waits for it. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { workDied, workFailed } from "./calls.ts"
import { AlreadySettled } from "effect-cycles/CyclesError"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"
import { timeoutMs } from "./program.ts"

/** The limit for a write to the journal, in milliseconds. */
const journalMs = 2_000

/** The tolerance of the limits, in milliseconds. */
const slackMs = 250

/** The longest that all attempts of a settlement take, in milliseconds. */
const longestMs = 250_000

/** Returns the violations in the result of a caller. */
export const ofCaller = (observation: Observation, plan: Plan): ReadonlyArray<string> => {
  if (observation.exit === undefined) return []
  const name = `call ${observation.call.id}`
  return [...ofExit(observation, observation.exit), ...ofTime(observation, plan), ...ofSettled(observation)].map(
    (problem) => `${name}: ${problem}`
  )
}

const ofExit = (
  { beganAtMs, call, wasInterrupted, work }: Observation,
  exit: Exit.Exit<unknown, unknown>
): ReadonlyArray<string> => {
  const got = describe(exit)
  const isBroken = call.broken === "actual" || call.broken === "metrics" || call.broken === "usage"
  if (
    got.startsWith("died") &&
    !(got === `died: ${workDied.message}` || (isBroken && got.startsWith("died: injected: ")))
  ) {
    return [`the caller gets a defect that its code didn't throw: ${got}`]
  }
  if (call.form === "event" || got === "interrupted")
    return got === "interrupted" && !wasInterrupted ? ["the caller was interrupted by the client"] : []
  if (beganAtMs === undefined && call.onRepeat !== "refuse" && mayRepeat(call, exit))
    return [`onRepeat ${call.onRepeat} returns ${got}`]
  if (beganAtMs === undefined)
    return Exit.isSuccess(exit) || got.startsWith("died") ? [`the body didn't run, but the result is ${got}`] : []
  if (work === undefined) return [`the body began and never ended, but the caller got ${got}`]
  const added = ["failed: LeaseLost", "failed: Unsettled"]
  const mayBeLost = call.heartbeat !== "warn"
  if (Exit.isSuccess(work)) {
    const isAllowed =
      got === "succeeded" ||
      (isBroken && got.startsWith("died: injected")) ||
      (got === "failed: LeaseLost" && mayBeLost) ||
      (got === "failed: Unsettled" && call.onUnsettled === "fail") ||
      (call.run !== undefined && call.form === "stream" && got === "failed: BudgetExceeded")
    return isAllowed ? [] : [`the body succeeded, but the caller gets ${got}`]
  }
  const body = describe(work)
  if (call.form === "stream") {
    const isOther = body === "interrupted" && (call.ending === "take" || call.run !== undefined)
    return got === body ||
      (call.broken === "usage" && got.startsWith("died: injected")) ||
      (isOther && !got.startsWith("died")) ||
      added.includes(got)
      ? []
      : [`the stream ended by ${body}, but the caller gets ${got}`]
  }
  const isLost = body === "interrupted" && call.heartbeat === "cancel" && got === "failed: LeaseLost"
  return got === body || isLost ? [] : [`the body ended by ${body}, but the caller gets ${got}`]
}

/** Whether a call that was refused could have made another reservation. */
const mayRepeat = ({ onRepeat }: Observation["call"], exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  return error instanceof AlreadySettled && (onRepeat === "again" || error.status === "RELEASED")
}

const describe = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "succeeded"
  const { cause } = exit
  if (Cause.hasInterruptsOnly(cause)) return "interrupted"
  const error = Cause.squash(cause)
  if (Cause.hasDies(cause)) return `died: ${error instanceof Error ? error.message : String(error)}`
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : String(error)
  return `failed: ${error === workFailed ? workFailed : tag}`
}

const ofTime = (observation: Observation, plan: Plan): ReadonlyArray<string> => {
  const { beganAtMs, call, endedAtMs, longestRecordMs, returnedAtMs = 0, startedAtMs } = observation
  const retryAfterMs = plan.clients[call.client]?.maxRetryAfterMs ?? 0
  const problems: Array<string> = []
  const check = (what: string, tookMs: number, limitMs: number): void => {
    if (tookMs > limitMs + slackMs)
      problems.push(`${what} took ${Math.round(tookMs)} ms, at most ${limitMs} ms are allowed`)
  }
  const calls = 2 + (retryAfterMs > 0 ? 2 : 0) + (call.key === undefined ? 0 : 1) + (beganAtMs === undefined ? 1 : 0)
  const journal = (call.onCrash === "expire" ? 0 : journalMs) + (call.key === undefined ? 0 : 2 * journalMs)
  // A call in a pool may wait for a block in progress, for the next one, and for its own reservation.
  const reserves = call.isInPool ? 3 : 1
  check(
    "the reserve",
    (beganAtMs ?? returnedAtMs) - startedAtMs,
    reserves * (calls * timeoutMs + retryAfterMs + journal)
  )
  // A write for a shared reservation begins when the one in progress has ended.
  const writeMs = observation.isDrawn ? 2 * journalMs : journalMs
  check("record", longestRecordMs, writeMs)
  // After the layer has begun to close, callers wait for all attempts.
  if (beganAtMs !== undefined && endedAtMs !== undefined && returnedAtMs < observation.program.closingAtMs) {
    const announced = call.broken === "onSettled hangs" ? timeoutMs : 0
    const limits = { attempt: writeMs + timeoutMs, background: writeMs, wait: longestMs }
    const isFree = call.onCrash === "expire" ? 0 : journalMs
    check("the settlement", returnedAtMs - endedAtMs, limits[call.settle] + announced + isFree)
  }
  return problems
}

/** `onSettled` runs exactly once for each body. */
const ofSettled = ({ beganAtMs, program, returnedAtMs = 0, settlements }: Observation): ReadonlyArray<string> => {
  const count = settlements.length
  // If the layer has closed before a settlement has ended, there is no settlement to report.
  const isCutOff = returnedAtMs >= program.closingAtMs
  return count > 1 || (count === 0 && beganAtMs !== undefined && !isCutOff) ? [`onSettled ran ${count} times`] : []
}
