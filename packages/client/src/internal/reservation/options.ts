/**
 * From what the user said of an act to the request that is sent: defaults, the ambient subject, keys, and every limit of
 * the protocol, checked before anything leaves.
 */
import type { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import type { ReservationCreateRequest } from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { OnFailure, Settle } from "../../CyclesConfig.ts"
import type { InvalidRequest } from "../../CyclesError.ts"
import type { ReserveOptions } from "../../GuardOptions.ts"
import type { Policy } from "../../Heartbeat.ts"
import { CurrentSubject, none } from "../../Subject.ts"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import * as Keys from "./keys.ts"
import type { Resolved } from "./resolved.ts"
import type { Progress } from "../transport/call.ts"
import { millis } from "../config/time.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation that can be asked for. */
export interface Prepared {
  readonly key: IdempotencyKey
  /** What the keys of commit and release are made of. */
  readonly stem: string
  /** Whether the key is the user's: the reservation may then be an earlier run's. */
  readonly isCallersKey: boolean
  readonly request: ReservationCreateRequest
  /** The JSON text of the request. */
  readonly body: string
  /** The scopes that the subject names, for errors that tell none. */
  readonly scopes: ReadonlyArray<string>
  readonly isDryRun: boolean
  readonly ttlMs: number
  readonly extendByMs: number
  readonly heartbeat: Policy
  readonly onFailure: OnFailure
  readonly settle: Settle
  readonly maxRetryAfterMs: number
  /** Whether the request has left: what never did holds nothing. */
  readonly progress: Progress
}

// ---------------------------------------------------------------------------------------------------------------------
// prepare
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the request, or says what is wrong with it. */
export const prepare = (engine: Engine, options: ReserveOptions): Effect.Effect<Prepared, InvalidRequest> =>
  Effect.withFiber((fiber) => {
    const { config } = engine
    const subject = subjectOf(config, fiber.getRef(CurrentSubject), options.subject)
    const ttlMs = options.ttl === undefined ? config.ttlMs : millis(options.ttl)
    const gracePeriodMs = options.gracePeriod === undefined ? config.gracePeriodMs : millis(options.gracePeriod)
    const draft = {
      idempotencyKey: options.idempotencyKey ?? engine.makeKey(),
      subject,
      action: options.action,
      estimate: options.estimate,
      ttlMs,
      gracePeriodMs,
      overagePolicy: options.overagePolicy ?? config.overagePolicy,
      dryRun: options.dryRun === true ? true : undefined,
      metadata: options.metadata
    }
    const drafted = Encode.createDraft(draft)
    if (Result.isFailure(drafted)) return Effect.fail(drafted.failure)
    const { body, request } = drafted.success
    return Effect.map(Keys.stemOf(request.idempotencyKey), (stem): Prepared => ({
      key: request.idempotencyKey,
      stem,
      isCallersKey: options.idempotencyKey !== undefined,
      request,
      body,
      scopes: Subject.scopes(subject),
      isDryRun: options.dryRun === true,
      ttlMs,
      extendByMs: options.extendBy === undefined ? (config.extendByMs ?? ttlMs) : millis(options.extendBy),
      heartbeat: options.heartbeat ?? config.heartbeat,
      onFailure: options.onFailure ?? config.onFailure,
      settle: options.settle ?? config.settle,
      maxRetryAfterMs: options.maxRetryAfter === undefined ? config.maxRetryAfterMs : millis(options.maxRetryAfter),
      progress: { hasLeft: false }
    }))
  })

/** The subject of a call: the client's, then the ambient one, then the call's own; the nearest wins, field by field. */
export const subjectOf = (
  config: Resolved,
  ambient: Subject.Subject,
  own: Subject.Subject | undefined
): Subject.Subject => {
  const outer = ambient === none ? config.subject : Subject.merge(config.subject, ambient)
  return own === undefined ? outer : Subject.merge(outer, own)
}
