/**
 * Classifies errors: the only place that decides whether a request may have taken effect, whether to retry it, and
 * when. The rows below determine the next step for each operation.
 */
import * as Duration from "effect/Duration"
import type { CyclesError } from "../../CyclesError.ts"
import { TransportError } from "../../CyclesError.ts"
import type { ErrorClass, ReasonTag } from "../models/errorCodes.ts"
import { ruleOf } from "../models/errorCodes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The meaning of an error for its request. */
export interface Classification {
  readonly class: ErrorClass
  /** The minimum delay in milliseconds that the server requested, or 0. At most 1 h. */
  readonly minimumDelayMs: number
  /** Whether no request with the same idempotency key and body has taken effect. */
  readonly provesNothingHappened: boolean
}

/** The next step after an error of a request. */
export type Next =
  /** Retry the same request, by the schedule. */
  | "retry"
  /** Retry once, then leave the record to a later scan. */
  | "hold"
  /** Charge the spend by an event, because the reservation has ended. */
  | "event"
  /** Read the reservation to find out what happened. */
  | "readBack"
  /** Give up, because the server will never accept the request. */
  | "reject"
  /** Finish, because the budget is no longer reserved. */
  | "done"
  /** Stop the heartbeat, because the lease is lost. */
  | "stop"

// ---------------------------------------------------------------------------------------------------------------------
// classify
// ---------------------------------------------------------------------------------------------------------------------

/** Classifies an error. */
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

/**
 * Whether there is no response from a Cycles server: nothing has arrived, or a status from 500. A page with another
 * status shows that something at the URL responds.
 */
export const isUnreachable = (error: CyclesError): boolean =>
  error._tag === "TransportError"
    ? error.kind !== "tooLarge"
    : error._tag === "ApiError" && unreachable.has(ruleOf(error.operation, error.status, error.code).reason)

const unreachable: ReadonlySet<ReasonTag> = new Set(["ServerFault", "Unavailable"])

/** Whether no budget covers the request: it is used up or closed, or there is none. */
export const isDenial = (error: CyclesError): boolean =>
  error._tag === "BudgetExceeded" ||
  (error._tag === "ApiError" && withoutBudget.has(ruleOf(error.operation, error.status, error.code).reason))

const withoutBudget: ReadonlySet<ReasonTag> = new Set(["NoBudget", "NoBudgetInUnit"])

/** The next step by error class, for each operation that the client sends on its own. */
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
  /** An event has no reservation that could be read or that could have ended. */
  event: {
    ambiguous: "retry",
    denied: "reject",
    throttled: "retry",
    blocked: "hold",
    gone: "reject",
    conflict: "reject",
    invalid: "reject"
  },
  /** After any refusal, the budget stays reserved at most until the lease ends. */
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
 * Whether the server may have acted on the request, or may act when it is sent again. A 429 isn't ambiguous: the
 * server, or a proxy, refused to process the request.
 */
export const isAmbiguous = (error: CyclesError): boolean => classify(error).class === "ambiguous"

/** Whether an error leaves the outcome open: an ambiguous error, or a throttled one that may come from a proxy. */
const isInDoubt = (error: CyclesError): boolean =>
  !classify(error).provesNothingHappened &&
  (isAmbiguous(error) || (error._tag === "ApiError" && error.code === undefined))

/** Whether a request may have taken effect, by the errors of all attempts with its idempotency key. */
export const mayHaveHappened = (attempts: ReadonlyArray<CyclesError>): boolean => {
  const last = attempts[attempts.length - 1]
  if (last === undefined) return false
  const proof = classify(last)
  // A transport error proves nothing about the earlier attempts.
  if (proof.provesNothingHappened && last._tag !== "TransportError") return false
  return attempts.some(isInDoubt)
}

/**
 * The error of a request that was sent several times: the last one, unless it would hide that an earlier attempt may
 * have taken effect.
 */
export const combine = (attempts: readonly [...ReadonlyArray<CyclesError>, CyclesError]): CyclesError => {
  const [last = attempts[0]] = attempts.slice(-1)
  if (attempts.length === 1 || !mayHaveHappened(attempts)) return last
  // A throttled response looks like a refusal, and a request that wasn't sent proves nothing about an earlier one.
  // Neither must hide that an earlier attempt may have taken effect.
  const inDoubt = attempts.findLast((error) => isAmbiguous(error) && isInDoubt(error))
  if (inDoubt === undefined || inDoubt === last) return last
  return new TransportError({
    operation: inDoubt.operation,
    kind: inDoubt._tag === "TransportError" ? inDoubt.kind : "unknown",
    url: "url" in inDoubt ? inDoubt.url : undefined,
    cause: inDoubt._tag === "TransportError" ? inDoubt.cause : undefined,
    mayHaveArrived: true,
    problem: `${inDoubt.message}; the repeated request ended with: ${last.message}`
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The longest accepted delay in milliseconds. The client treats a longer one as a mistake of the server. */
const maxMinimumDelayMs = 3_600_000

const minimumDelay = (retryAfter: Duration.Duration | undefined): number =>
  retryAfter === undefined ? 0 : Math.min(maxMinimumDelayMs, Math.max(0, Duration.toMillis(retryAfter)))
