/**
 * What an error means: the one place that decides whether a request may have taken effect, whether it is worth sending
 * again, and when. What follows from it for each operation is in the rows below.
 */
import * as Duration from "effect/Duration"
import type { CyclesError } from "../../CyclesError.ts"
import { TransportError } from "../../CyclesError.ts"
import type { ErrorClass } from "../models/errorCodes.ts"
import { ruleOf } from "../models/errorCodes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What an error means for a request. */
export interface Classification {
  readonly class: ErrorClass
  /** The server asks not to be called again before this time has passed, in milliseconds; 0 if it doesn't. At most 1 h. */
  readonly minimumDelayMs: number
  /** Whether no request with the same idempotency key and body has taken effect. */
  readonly provesNothingHappened: boolean
}

/** What to do with the spend, or with the reserved budget, after an error. */
export type Next =
  /** Send the same request again, by the schedule. */
  | "retry"
  /** Send it once more, then keep it for a later scan. */
  | "hold"
  /** Charge the spend by an event: the reservation has ended. */
  | "event"
  /** Read the reservation before concluding anything. */
  | "readBack"
  /** Give up: the server will never accept it. */
  | "reject"
  /** Nothing is left to do: the budget is free. */
  | "done"
  /** Stop extending: the lease is lost. */
  | "stop"

// ---------------------------------------------------------------------------------------------------------------------
// classify
// ---------------------------------------------------------------------------------------------------------------------

/** What an error means for a request. */
export const classify = (error: CyclesError): Classification => {
  switch (error._tag) {
    case "TransportError":
      return { class: "ambiguous", minimumDelayMs: 0, provesNothingHappened: !error.mayHaveArrived }
    case "ProtocolError":
      return { class: "ambiguous", minimumDelayMs: 0, provesNothingHappened: false }
    case "InvalidRequest":
      return { class: "invalid", minimumDelayMs: 0, provesNothingHappened: true }
    case "BudgetExceeded":
      return { class: "denied", minimumDelayMs: minimumDelay(error.retryAfter), provesNothingHappened: true }
    case "ApiError": {
      const rule = ruleOf(error.operation, error.status, error.code)
      return {
        class: rule.class,
        minimumDelayMs: minimumDelay(error.retryAfter),
        provesNothingHappened: rule.provesNothingHappened
      }
    }
  }
}

/** One row for each operation whose errors the client acts on by itself. */
export const rows = {
  commit: {
    ambiguous: "retry",
    denied: "reject",
    throttled: "retry",
    blocked: "hold",
    gone: "event",
    conflict: "readBack",
    invalid: "reject"
  },
  /** There is no reservation to read, and none that could be gone. */
  event: {
    ambiguous: "retry",
    denied: "reject",
    throttled: "retry",
    blocked: "hold",
    gone: "reject",
    conflict: "reject",
    invalid: "reject"
  },
  /** A refusal never means that budget is reserved for longer than the lease. */
  release: {
    ambiguous: "retry",
    denied: "reject",
    throttled: "retry",
    blocked: "retry",
    gone: "done",
    conflict: "done",
    invalid: "reject"
  },
  extend: {
    ambiguous: "retry",
    denied: "stop",
    throttled: "retry",
    blocked: "stop",
    gone: "stop",
    conflict: "stop",
    invalid: "stop"
  }
} as const satisfies Readonly<Record<string, Readonly<Record<ErrorClass, Next>>>>

// ---------------------------------------------------------------------------------------------------------------------
// repeats
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether the server may have acted on the request, or may do so when the request is sent again. A 429 is the server's
 * (or a proxy's) refusal to look at it.
 */
export const isAmbiguous = (error: CyclesError): boolean => classify(error).class === "ambiguous"

/** Whether an error leaves open what the server did: an ambiguous one, or a throttled one that may come from a proxy. */
const leavesDoubt = (error: CyclesError): boolean =>
  !classify(error).provesNothingHappened &&
  (isAmbiguous(error) || (error._tag === "ApiError" && error.code === undefined))

/** Whether a request with this idempotency key may have taken effect, judging by the errors of all its attempts. */
export const mayHaveHappened = (attempts: ReadonlyArray<CyclesError>): boolean => {
  const last = attempts[attempts.length - 1]
  if (last === undefined) return false
  const proof = classify(last)
  // A refusal that was lost in transport proves nothing about the attempts before it.
  if (proof.provesNothingHappened && last._tag !== "TransportError") return false
  return attempts.some(leavesDoubt)
}

/**
 * The error of a request that was sent more than once: the last one, unless it would hide that an earlier attempt may
 * have taken effect.
 */
export const combine = (attempts: readonly [...ReadonlyArray<CyclesError>, CyclesError]): CyclesError => {
  const [last = attempts[0]] = attempts.slice(-1)
  if (attempts.length === 1 || !mayHaveHappened(attempts)) return last
  const doubtful = attempts.findLast(leavesDoubt)
  if (doubtful === undefined || doubtful === last) return last
  return new TransportError({
    operation: doubtful.operation,
    kind: doubtful._tag === "TransportError" ? doubtful.kind : "unknown",
    url: "url" in doubtful ? doubtful.url : undefined,
    cause: doubtful._tag === "TransportError" ? doubtful.cause : undefined,
    mayHaveArrived: true,
    problem: `${doubtful.message}; the repeated request ended with: ${last.message}`
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A longer delay than this is taken for a mistake, in milliseconds. */
const maxMinimumDelayMs = 3_600_000

const minimumDelay = (retryAfter: Duration.Duration | undefined): number =>
  retryAfter === undefined ? 0 : Math.min(maxMinimumDelayMs, Math.max(0, Duration.toMillis(retryAfter)))
