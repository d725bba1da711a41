/**
 * When to extend a lease: the heartbeat rules of the protocol as functions over plain numbers.
 *
 * Where an answer carries `remaining_ttl_ms`, the schedule comes from that answer alone (the primary rule). Where it
 * doesn't, grants are measured by successive expiries (the fallback, best effort by its own words). Both are kept up to
 * date side by side, so that either can take over with the next answer.
 *
 * All times are milliseconds of one monotonic clock. Budgets are rounded up, leads and delays down, so that rounding
 * can't eat the margin.
 *
 * Source: HEARTBEAT GUIDANCE of `extendReservation`.
 */
import { shortestWaitMs } from "../runtime/retry.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What was asked for. */
export interface Options {
  /** The lifetime that was asked for. */
  readonly ttlMs: number
  /** By how much each extension asks, which is the lifetime that was asked for unless the user chose another. */
  readonly extendByMs: number
  /** The most that one extend attempt may take, however long the lease is. */
  readonly maxBudgetMs: number
}

/** What is known about one lease. */
export interface Lease {
  readonly options: Options
  /** What one extend attempt may take, until its end is noticed: `request_timeout_budget`. */
  readonly budgetMs: number
  /** The longest round trip seen. */
  readonly maxRttMs: number
  /** When the last valid answer was there. */
  readonly answeredAtMs: number
  /** A sure lower bound of the time left at `answeredAtMs`; absent where answers don't carry `remaining_ttl_ms`. */
  readonly leadFloorMs: number | undefined
  /** Whether the last answer left no time to wait; a second one in a row ends the heartbeat. */
  readonly hadZeroDelay: boolean
  /** The last failure since the last valid answer. */
  readonly failure: Failure | undefined
  readonly measured: Measured
}

/** What the fallback rule knows: grants by successive expiries in the server's own clock. */
interface Measured {
  readonly expiresAtMs: number | undefined
  /** When the first answer was there. */
  readonly sinceMs: number
  readonly grantedMs: number
  readonly lastGrantMs: number | undefined
  readonly lastExtendedAtMs: number
  readonly cadenceMs: number
}

interface Failure {
  readonly atMs: number
  readonly windowMs: number
  /** Whether the one immediate retry of an empty window has been used. */
  readonly spentZeroWindow: boolean
}

/** A valid answer to reserve or extend. */
export interface Answer {
  readonly nowMs: number
  readonly rttMs: number
  readonly expiresAtMs: number | undefined
  readonly remainingTtlMs: number | undefined
}

/** Why a beat did not succeed. */
export type Problem =
  | { readonly _tag: "Transient" }
  | { readonly _tag: "Throttled"; readonly retryAfterMs: number | undefined }
  | { readonly _tag: "Terminal"; readonly code: string }

/** What to do next. */
export type Step =
  | { readonly _tag: "Extend"; readonly afterMs: number }
  /** Look again later without extending: there is more than enough time. */
  | { readonly _tag: "Skip"; readonly afterMs: number }
  | { readonly _tag: "Stop"; readonly reason: string }

// ---------------------------------------------------------------------------------------------------------------------
// the rules
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The time limit of the next extend attempt. It ends before the budget does: timers are late, and an end that is noticed
 * after the budget leaves no time for the retry that the schedule has reserved.
 */
export const timeLimit = (lease: Lease): number =>
  lease.budgetMs - Math.max(minDetectionMs, Math.ceil(lease.budgetMs / 20))

/** The lease as it stands after the answer to reserve, and what to do first. */
export const begin = (options: Options, answer: Answer): readonly [Lease, Step] => {
  const lease: Lease = {
    options,
    budgetMs: budget(options, answer),
    maxRttMs: rttOf(answer),
    answeredAtMs: answer.nowMs,
    leadFloorMs: leadFloor(answer),
    hadZeroDelay: false,
    failure: undefined,
    measured: {
      expiresAtMs: answer.expiresAtMs,
      sinceMs: answer.nowMs,
      grantedMs: 0,
      lastGrantMs: undefined,
      lastExtendedAtMs: answer.nowMs,
      cadenceMs: heldCadence(options)
    }
  }
  return lease.leadFloorMs === undefined ? [lease, { _tag: "Extend", afterMs: 0 }] : scheduled(lease, false)
}

/** The lease after a valid answer to extend, and what to do next. */
export const extended = (lease: Lease, answer: Answer): readonly [Lease, Step] => {
  const after: Lease = {
    ...lease,
    budgetMs: budget(lease.options, answer),
    maxRttMs: Math.max(lease.maxRttMs, rttOf(answer)),
    answeredAtMs: answer.nowMs,
    leadFloorMs: leadFloor(answer),
    failure: undefined,
    measured: measure(lease, answer)
  }
  return after.leadFloorMs === undefined
    ? [
        { ...after, hadZeroDelay: false },
        { _tag: "Extend", afterMs: after.measured.cadenceMs }
      ]
    : scheduled(after, lease.hadZeroDelay)
}

/** Whether a beat that is due should extend now: the fallback rule leaves one out where more than enough time is left. */
export const due = (lease: Lease, nowMs: number): Step => {
  const { measured } = lease
  if (lease.leadFloorMs !== undefined || measured.lastGrantMs === undefined || measured.lastGrantMs <= 0) {
    return { _tag: "Extend", afterMs: 0 }
  }
  const leadMin = measured.grantedMs - (nowMs - measured.sinceMs)
  return leadMin >= 1.5 * measured.lastGrantMs
    ? { _tag: "Skip", afterMs: measured.cadenceMs }
    : { _tag: "Extend", afterMs: 0 }
}

/** Whether the next attempt can wait that much longer and still leave time for a retry. */
export const canWait = (lease: Lease, nowMs: number, waitMs: number): boolean =>
  lease.leadFloorMs !== undefined &&
  lease.leadFloorMs - (nowMs - lease.answeredAtMs) - waitMs * 1.1 >= 2 * attemptBudget(lease) + safetyMargin(lease) - 1

/** The lease after a failed attempt, and whether and when the same attempt, with the same key, is repeated. */
export const failed = (lease: Lease, nowMs: number, problem: Problem): readonly [Lease, Step] => {
  if (problem._tag === "Terminal") return [lease, { _tag: "Stop", reason: problem.code }]
  if (lease.leadFloorMs === undefined) return [lease, failedUnmeasured(lease, problem)]

  const lead = Math.max(0, Math.floor(lease.leadFloorMs - (nowMs - lease.answeredAtMs)))
  const windowMs = lead - attemptBudget(lease) - safetyMargin(lease)
  const before = lease.failure
  const after: Lease = {
    ...lease,
    failure: { atMs: nowMs, windowMs, spentZeroWindow: before?.spentZeroWindow === true || windowMs === 0 }
  }
  if (windowMs < 0) return [after, { _tag: "Stop", reason: "no time for another attempt" }]
  if (before !== undefined && (before.spentZeroWindow || (nowMs <= before.atMs && windowMs >= before.windowMs))) {
    return [after, { _tag: "Stop", reason: "attempts make no progress" }]
  }
  if (problem._tag === "Throttled") {
    const retryAfterMs = problem.retryAfterMs === undefined ? undefined : Math.max(shortestWaitMs, problem.retryAfterMs)
    return retryAfterMs !== undefined && retryAfterMs <= windowMs
      ? [after, { _tag: "Extend", afterMs: retryAfterMs }]
      : [after, { _tag: "Stop", reason: "throttled for longer than the lease allows" }]
  }
  return [after, { _tag: "Extend", afterMs: Math.floor(Math.min(30_000, lead / 4, windowMs)) }]
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const minBudgetMs = 1_000

/** What is left for the lateness of timers, at the least. */
const minDetectionMs = 100

/**
 * A sixth of the lease, so that two attempts and the margin fit into half of it. Less than the least of the protocol gains
 * nothing.
 */
const budget = (options: Options, answer: Answer): number =>
  Math.max(minBudgetMs, Math.min(options.maxBudgetMs, Math.floor((answer.remainingTtlMs ?? options.ttlMs) / 6)))

/** A measurement that can't be true counts as infinitely slow, never as instant. */
const rttOf = (answer: Answer): number => (answer.rttMs >= 0 ? answer.rttMs : Number.POSITIVE_INFINITY)

const leadFloor = (answer: Answer): number | undefined =>
  answer.remainingTtlMs === undefined ? undefined : Math.max(0, Math.floor(answer.remainingTtlMs - rttOf(answer)))

const attemptBudget = (lease: Lease): number => Math.ceil(Math.max(lease.budgetMs, 2 * lease.maxRttMs))

const safetyMargin = (lease: Lease): number => Math.ceil(Math.max(1_000, 2 * lease.maxRttMs))

const scheduled = (lease: Lease, hadZeroDelay: boolean): readonly [Lease, Step] => {
  const lead = lease.leadFloorMs ?? 0
  const delay = Math.max(0, Math.floor(lead - (2 * attemptBudget(lease) + safetyMargin(lease))))
  if (delay > 0)
    return [
      { ...lease, hadZeroDelay: false },
      { _tag: "Extend", afterMs: delay }
    ]
  return hadZeroDelay
    ? [lease, { _tag: "Stop", reason: "the lease is shorter than two attempts and their margin" }]
    : [
        { ...lease, hadZeroDelay: true },
        { _tag: "Extend", afterMs: 0 }
      ]
}

/** The first lease lasts for its lifetime at most, every further one for an extension. */
const heldCadence = ({ extendByMs, ttlMs }: Options): number => Math.floor(Math.min(ttlMs / 2, extendByMs / 2, 30_000))

const measure = (lease: Lease, answer: Answer): Measured => {
  const before = lease.measured
  if (before.expiresAtMs === undefined || answer.expiresAtMs === undefined) {
    return { ...before, expiresAtMs: answer.expiresAtMs, lastExtendedAtMs: answer.nowMs }
  }
  const { extendByMs } = lease.options
  // More than was asked for is somebody else's extension, or one of an earlier run that a replayed reserve doesn't tell of.
  const grant = Math.min(answer.expiresAtMs - before.expiresAtMs, extendByMs)
  const elapsed = answer.nowMs - before.lastExtendedAtMs
  const isClamped = grant <= 0 || (grant < 0.9 * extendByMs && grant >= 0.75 * elapsed && grant <= 1.25 * elapsed)
  return {
    expiresAtMs: answer.expiresAtMs,
    sinceMs: before.sinceMs,
    grantedMs: before.grantedMs + grant,
    lastGrantMs: grant,
    lastExtendedAtMs: answer.nowMs,
    cadenceMs: isClamped ? heldCadence(lease.options) : Math.floor(Math.max(500, Math.min(grant / 2, extendByMs / 2)))
  }
}

const failedUnmeasured = (lease: Lease, problem: Exclude<Problem, { readonly _tag: "Terminal" }>): Step => {
  const cadenceMs = lease.measured.cadenceMs
  if (problem._tag === "Transient") return { _tag: "Extend", afterMs: cadenceMs }
  return { _tag: "Extend", afterMs: Math.max(cadenceMs, problem.retryAfterMs ?? 0) }
}
