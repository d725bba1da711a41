/**
 * Converts the options of a guard to a reserve request: defaults, the ambient subject, keys, and the validation of
 * every limit.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import * as Subject from "@effect-cycles/protocol/Subject"
import * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { InvalidRequest } from "../../CyclesError.ts"
import type { Metadata } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import { CurrentSubject, none } from "../../Subject.ts"
import { CurrentRun, CurrentStep, TypeId } from "../run/current.ts"
import type { Ledger } from "../run/ledger.ts"
import type { Problem } from "../config/time.ts"
import type { OnRepeat } from "../models/guardOptions.ts"
import * as Limits from "./limits.ts"
import * as Requests from "../protocol/requests.ts"
import type { Progress } from "../transport/call.ts"
import * as Keys from "./keys.ts"
import { Lifecycle } from "./lifecycle.ts"
import type { Observer } from "./lifecycle.ts"
import type { PolicyOptions, Resolved } from "./policies.ts"
import * as Policies from "./policies.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The options that all guards share, without the refinements of the public types. */
export interface LeaseOptions<R = never> extends PolicyOptions {
  readonly dryRun?: boolean | undefined
  readonly onRepeat?: OnRepeat | undefined
  readonly onSettled?: OnSettled<R> | undefined
}

/** Runs once with the settlement. */
export type OnSettled<R> = (settlement: Settlement) => Effect.Effect<unknown, never, R>

/** The options of `reserve`. */
export interface ReserveOptions<R = never> extends LeaseOptions<R> {
  readonly action: Action
  readonly estimate: Amount
  readonly subject?: Subject.Subject | undefined
  readonly idempotencyKey?: string | undefined
  readonly metadata?: Metadata | undefined
  /** Whether this is the reservation of a run or a pool. It stands outside of the ledgers of runs. */
  readonly isRunHold?: boolean | undefined
  /** Only with `withCycles`; validated with the other options. */
  readonly onUnsettled?: "report" | "fail" | undefined
}

/** A guarded call: the parts of its reserve that are needed until it is settled. */
export interface GuardedCall {
  readonly key: IdempotencyKey
  /** The stem of the keys of the commit and the release. */
  readonly stem: string
  /** Whether the key is caller-supplied, so that an earlier run may have made the reservation. */
  readonly isCallerSupplied: boolean
  readonly action: Action
  readonly subject: Subject.Subject
  readonly estimate: Amount
  /** The text of the subject and of the action, which an event repeats. */
  readonly subjectText: string
  readonly actionText: string
  readonly policies: Policies.Policies
  /** Whether this is the reservation of a run or a pool. */
  readonly isRunHold: boolean
  /** The run of the caller, if any. */
  readonly run: Ledger | undefined
  /** The number of the step that the call belongs to; 0 if there is none. */
  readonly step: number
  readonly life: Lifecycle
}

/** A validated reserve request. */
export interface Prepared extends GuardedCall {
  /** The guarded call, without the request itself. */
  readonly call: GuardedCall
  /** The body of the request. */
  readonly body: string
  /** The scopes of the subject, for error responses without scopes. */
  readonly scopes: ReadonlyArray<string>
  readonly isDryRun: boolean
  /** Why the request can't be sent; only in shadow mode, in which an invalid option doesn't stop the call. */
  readonly invalid: InvalidRequest | undefined
  /** Prepares the same reserve under another key; absent if a settled reservation isn't repeated. */
  readonly repeat:
    | {
        readonly when: "ifReleased" | "again"
        readonly under: (key: string) => Effect.Effect<Prepared, InvalidRequest>
      }
    | undefined
  /** Whether the request may have been sent. If not, nothing is reserved. */
  readonly progress: Progress
}

// ---------------------------------------------------------------------------------------------------------------------
// prepare
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the request, or fails with every invalid option.
 *
 * In shadow mode the request is a dry run with a generated key: the server stores the keys of dry runs, and would
 * refuse a later reserve with a caller-supplied one.
 */
export const prepare = (
  config: Resolved,
  makeKey: () => string,
  observer: Observer | undefined,
  options: ReserveOptions<unknown>
): Effect.Effect<Prepared, InvalidRequest> =>
  Effect.withFiber((fiber) => {
    const isShadow = config.mode === "shadow"
    const policies = policiesOf(config, options)
    if (Result.isFailure(policies) && !isShadow) return Effect.fail(policies.failure)
    const resolved = Result.getOrElse(policies, () => config.policies)
    const { gracePeriodMs, overagePolicy, ttlMs } = resolved
    const subject = subjectOf(config.subject, fiber.getRef(CurrentSubject), options.subject)
    const isRunHold = options.isRunHold === true
    const run = isRunHold ? undefined : fiber.getRef(CurrentRun)?.[TypeId]
    const runId = run?.idFor(options.idempotencyKey !== undefined)
    const step = run === undefined ? 0 : (fiber.getRef(CurrentStep) ?? run.steps)
    const { idempotencyKey, onRepeat } = options
    // A repetition of the job may make a call with the same key in another step.
    const inStep = step === 0 || idempotencyKey !== undefined ? undefined : { step }
    const under = (key: string): Effect.Effect<Prepared, InvalidRequest> => {
      const text = Requests.reserveText({
        idempotencyKey: isShadow && idempotencyKey !== undefined ? makeKey() : key,
        subject,
        action: options.action,
        estimate: options.estimate,
        ttlMs,
        gracePeriodMs,
        overagePolicy,
        dryRun: isShadow || options.dryRun === true ? true : undefined,
        metadata: runId === undefined ? options.metadata : { run_id: runId, ...inStep, ...options.metadata }
      })
      if (Result.isFailure(text) && !isShadow) return Effect.fail(text.failure)
      const { action, body, subject: subjectText } = Result.getOrElse(text, () => noText)
      return Effect.map(isShadow ? Effect.succeed(key) : Keys.stemOf(key), (stem): Prepared => {
        const call: GuardedCall = {
          key: checkedKey(key),
          stem,
          isCallerSupplied: idempotencyKey !== undefined && !isShadow,
          action: options.action,
          subject,
          estimate: options.estimate,
          subjectText,
          actionText: action,
          policies: resolved,
          isRunHold,
          run,
          step,
          life: new Lifecycle("reserving", observer)
        }
        return {
          ...call,
          call,
          body,
          scopes: Subject.scopes(subject),
          isDryRun: options.dryRun === true || (isShadow && isRunHold),
          invalid: Result.isFailure(policies) ? policies.failure : Result.isFailure(text) ? text.failure : undefined,
          repeat: onRepeat === undefined || onRepeat === "refuse" ? undefined : { when: onRepeat, under },
          progress: { hasLeft: false }
        }
      })
    }
    return under(idempotencyKey ?? makeKey())
  })

/**
 * Merges the configured subject, the ambient subject and the subject of the call, field by field. Later ones override
 * earlier ones.
 */
export const subjectOf = (
  configured: Subject.Subject,
  ambient: Subject.Subject,
  ofCall: Subject.Subject | undefined
): Subject.Subject => {
  const outer = ambient === none ? configured : Subject.merge(configured, ambient)
  return ofCall === undefined ? outer : Subject.merge(outer, ofCall)
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The text of a request that isn't sent. */
const noText: Requests.ReserveText = { body: "", subject: "", action: "" }

/** The key of a validated request. */
const checkedKey = Brand.nominal<IdempotencyKey>()

/** The policies of a call. Default: those of the client. */
const policiesOf = (
  config: Resolved,
  options: ReserveOptions<unknown>
): Result.Result<Policies.Policies, InvalidRequest> => {
  const { onRepeat, onUnsettled } = options
  const hasPolicies = names.some((name) => options[name] !== undefined)
  if (!hasPolicies && onRepeat === undefined && onUnsettled === undefined) return Result.succeed(config.policies)
  const problems: Array<Problem> = []
  const reader = Limits.reader(problems)
  reader.literal("onUnsettled", onUnsettled)
  reader.literal("onRepeat", onRepeat)
  const result = hasPolicies ? Policies.read(reader, options, config.policies, config.extendByMs) : config.policies
  return problems.length === 0
    ? Result.succeed(result)
    : Result.fail(new InvalidRequest({ operation: "reserve", fields: problems }))
}

const names = [
  "ttl",
  "extendBy",
  "gracePeriod",
  "maxRetryAfter",
  "overagePolicy",
  "heartbeat",
  "onFailure",
  "onCrash",
  "onUnreachable",
  "nested",
  "settle"
] as const
