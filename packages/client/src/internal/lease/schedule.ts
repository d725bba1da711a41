/**
 * The schedule of lease extensions: the heartbeat rules of the protocol as pure functions.
 *
 * The primary rule computes the next extension from the `remaining_ttl_ms` of the last response alone. The fallback
 * rule applies if the response doesn't contain it, and estimates the granted time from successive expiry times. Both
 * are updated with every response, so that each can take over at any time.
 *
 * The names are those of the protocol. The lead is the remaining time of the lease, and its floor is a lower bound of
 * it. All times are milliseconds of one monotonic clock. The time of an attempt and the safety margin are rounded up,
 * leads and delays are rounded down, so that rounding can't reduce the margin.
 *
 * @see HEARTBEAT GUIDANCE of `extendReservation` in the protocol
 */
import { shortestWaitMs } from "../runtime/retry.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The requested times. */
export interface Options {
  /** The requested lease. */
  readonly ttlMs: number
  /** The requested extension. */
  readonly extendByMs: number
  /** The upper limit of one extend attempt, for leases of any length. */
  readonly maxBudgetMs: number
}

/** The state of one lease, in one object, because a process may keep many of them. */
export interface Lease extends Options {
  /** The time that one extend attempt may take until its timeout is noticed: `request_timeout_budget`. */
  readonly budgetMs: number
  /** The longest round-trip time so far. */
  readonly maxRttMs: number
  /** When the last valid response was received. */
  readonly receivedAtMs: number
  /** A lower bound of the lead at `receivedAtMs`; absent if responses don't contain `remaining_ttl_ms`. */
  readonly leadFloorMs: number | undefined
  /** Whether the delay after the last response was 0. A second such response in a row stops the heartbeat. */
  readonly hadZeroDelay: boolean
  /** The last failure since the last valid response. */
  readonly failure: Failure | undefined
  /** The expiry time of the last valid response, by the server's clock. */
  readonly expiresAtMs: number | undefined
  /** When the first response was received, plus the time that all extensions have granted. For the fallback rule. */
  readonly grantedUntilMs: number
  /** The time that the last extension has granted. For the fallback rule. */
  readonly lastGrantMs: number | undefined
  /** The time between two extensions by the fallback rule. */
  readonly cadenceMs: number
}

interface Failure {
  readonly atMs: number
  readonly windowMs: number
  /** Whether the only immediate retry in an empty window has been used. */
  readonly usedZeroWindow: boolean
}

/** A valid response to a reserve or an extend. */
export interface Response {
  readonly nowMs: number
  readonly rttMs: number
  readonly expiresAtMs: number | undefined
  readonly remainingTtlMs: number | undefined
}

/** Why an extend attempt failed. */
export type Problem =
  | { readonly _tag: "Transient" }
  | { readonly _tag: "Throttled"; readonly retryAfterMs: number | undefined }
  | { readonly _tag: "Terminal"; readonly code: string }

/** The next step. */
export type Step =
  | { readonly _tag: "Extend"; readonly afterMs: number }
  /** Check again later without an extension, because enough time is left. */
  | { readonly _tag: "Skip"; readonly afterMs: number }
  | { readonly _tag: "Stop"; readonly reason: string }

// ---------------------------------------------------------------------------------------------------------------------
// the rules
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The timeout of the next extend attempt. It is shorter than the budget, because timers fire late: a timeout that is
 * noticed after the budget leaves no time for the scheduled retry.
 */
export const timeLimit = (lease: Lease): number =>
  lease.budgetMs - Math.max(minDetectionMs, Math.ceil(lease.budgetMs / 20))

/** Returns the lease after the response to the reserve, and the first step. */
export const begin = (options: Options, response: Response): readonly [Lease, Step] => {
  const lease: Lease = {
    ttlMs: options.ttlMs,
    extendByMs: options.extendByMs,
    maxBudgetMs: options.maxBudgetMs,
    budgetMs: budget(options, response),
    maxRttMs: rttOf(response),
    receivedAtMs: response.nowMs,
    leadFloorMs: leadFloor(response),
    hadZeroDelay: false,
    failure: undefined,
    expiresAtMs: response.expiresAtMs,
    grantedUntilMs: response.nowMs,
    lastGrantMs: undefined,
    cadenceMs: fallbackCadence(options)
  }
  return lease.leadFloorMs === undefined ? [lease, { _tag: "Extend", afterMs: 0 }] : scheduled(lease, false)
}

/** Returns the lease after a valid response to an extend, and the next step. */
export const extended = (lease: Lease, response: Response): readonly [Lease, Step] => {
  const after: Lease = {
    ...lease,
    ...measure(lease, response),
    budgetMs: budget(lease, response),
    maxRttMs: Math.max(lease.maxRttMs, rttOf(response)),
    receivedAtMs: response.nowMs,
    leadFloorMs: leadFloor(response),
    failure: undefined,
    expiresAtMs: response.expiresAtMs
  }
  return after.leadFloorMs === undefined
    ? [
        { ...after, hadZeroDelay: false },
        { _tag: "Extend", afterMs: after.cadenceMs }
      ]
    : scheduled(after, lease.hadZeroDelay)
}

/** Returns whether to extend at the scheduled time. The fallback rule skips an extension if enough time is left. */
export const due = (lease: Lease, nowMs: number): Step => {
  const { cadenceMs, grantedUntilMs, lastGrantMs, leadFloorMs } = lease
  if (leadFloorMs !== undefined || lastGrantMs === undefined || lastGrantMs <= 0) {
    return { _tag: "Extend", afterMs: 0 }
  }
  const leadMin = grantedUntilMs - nowMs
  return leadMin >= 1.5 * lastGrantMs ? { _tag: "Skip", afterMs: cadenceMs } : { _tag: "Extend", afterMs: 0 }
}

/** Whether the next attempt can be delayed by `waitMs` and still leave time for a retry. */
export const canWait = (lease: Lease, nowMs: number, waitMs: number): boolean =>
  lease.leadFloorMs !== undefined &&
  lease.leadFloorMs - (nowMs - lease.receivedAtMs) - waitMs * 1.1 >= 2 * attemptBudget(lease) + safetyMargin(lease) - 1

/** Returns the lease after a failed attempt, and whether and when to retry the attempt with the same key. */
export const failed = (lease: Lease, nowMs: number, problem: Problem): readonly [Lease, Step] => {
  if (problem._tag === "Terminal") return [lease, { _tag: "Stop", reason: problem.code }]
  if (lease.leadFloorMs === undefined) return [lease, failedUnmeasured(lease, problem)]

  const lead = Math.max(0, Math.floor(lease.leadFloorMs - (nowMs - lease.receivedAtMs)))
  const windowMs = lead - attemptBudget(lease) - safetyMargin(lease)
  const before = lease.failure
  const after: Lease = {
    ...lease,
    failure: { atMs: nowMs, windowMs, usedZeroWindow: before?.usedZeroWindow === true || windowMs === 0 }
  }
  if (windowMs < 0) return [after, { _tag: "Stop", reason: "no time for another attempt" }]
  if (before !== undefined && (before.usedZeroWindow || (nowMs <= before.atMs && windowMs >= before.windowMs))) {
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

/** The smallest allowance for late timers. */
const minDetectionMs = 100

/**
 * A sixth of the lease. For a lease of 6 s or more and short round trips, two attempts and the margin take at most half
 * of the lease. Budgets below `minBudgetMs` gain nothing, because the protocol's minimum margin is as long.
 */
const budget = (options: Options, response: Response): number =>
  Math.max(minBudgetMs, Math.min(options.maxBudgetMs, Math.floor((response.remainingTtlMs ?? options.ttlMs) / 6)))

/** A negative round-trip time, which is impossible, counts as infinite, so that it doesn't reduce the margin. */
const rttOf = (response: Response): number => (response.rttMs >= 0 ? response.rttMs : Number.POSITIVE_INFINITY)

const leadFloor = (response: Response): number | undefined =>
  response.remainingTtlMs === undefined ? undefined : Math.max(0, Math.floor(response.remainingTtlMs - rttOf(response)))

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

/** The first lease lasts at most its `ttl`, every later one at most the extension. */
const fallbackCadence = ({ extendByMs, ttlMs }: Options): number =>
  Math.floor(Math.min(ttlMs / 2, extendByMs / 2, 30_000))

/** What the fallback rule learns from a response. */
const measure = (
  lease: Lease,
  response: Response
): Pick<Lease, "grantedUntilMs" | "lastGrantMs" | "cadenceMs"> | undefined => {
  if (lease.expiresAtMs === undefined || response.expiresAtMs === undefined) return undefined
  const { extendByMs } = lease
  // A larger grant comes from another extension, or from an earlier run whose reserve was replayed.
  const grant = Math.min(response.expiresAtMs - lease.expiresAtMs, extendByMs)
  const elapsed = response.nowMs - lease.receivedAtMs
  // A small grant that equals the elapsed time shows that the server limits the lead, so a shorter interval gains
  // nothing.
  const isClamped = grant <= 0 || (grant < 0.9 * extendByMs && grant >= 0.75 * elapsed && grant <= 1.25 * elapsed)
  return {
    grantedUntilMs: lease.grantedUntilMs + grant,
    lastGrantMs: grant,
    cadenceMs: isClamped ? fallbackCadence(lease) : Math.floor(Math.max(500, Math.min(grant / 2, extendByMs / 2)))
  }
}

const failedUnmeasured = (lease: Lease, problem: Exclude<Problem, { readonly _tag: "Terminal" }>): Step => {
  const { cadenceMs } = lease
  if (problem._tag === "Transient") return { _tag: "Extend", afterMs: cadenceMs }
  return { _tag: "Extend", afterMs: Math.max(cadenceMs, problem.retryAfterMs ?? 0) }
}
