/** The `Reservation` of a guarded body: the response to the reserve, with `record` and `add`. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Caps from "@effect-cycles/protocol/Caps"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Recorded, RecordOptions, Reservation } from "../../Reservation.ts"
import type { InvalidRequest } from "../../CyclesError.ts"
import * as Extras from "../protocol/extras.ts"
import * as Log from "../runtime/log.ts"
import { Handle } from "./handle.ts"
import type { Late } from "./source.ts"

/** The effects of recording spend. Both always succeed. */
export interface SpendHooks {
  /**
   * The total of an open reservation has changed. Runs only with `onCrash`, and returns when the new total is durable.
   */
  readonly onRecorded: (handle: Handle) => Effect.Effect<void>
  /** Spend was recorded after the settlement was decided. Returns when the late part is journaled. */
  readonly onLate: (handle: Handle, late: Late) => Effect.Effect<void>
}

/**
 * Makes the public reservation. All of its properties are its own, so that a program can wrap and copy it. It is also
 * the grant of its handle from then on, so that a waiting call keeps one copy of the response.
 */
export const viewOf = (handle: Handle, hooks: SpendHooks): Reservation => {
  const { call, grant } = handle
  const { caps } = grant
  const view: Reservation & { readonly [handleKey]: Handle } = {
    "~effect-cycles/Reservation": "~effect-cycles/Reservation",
    id: grant.id,
    idempotencyKey: call.key,
    decision: grant.decision,
    caps,
    action: call.action,
    subject: call.subject,
    estimate: call.estimate,
    scopes: grant.scopes,
    balances: grant.balances,
    isToolAllowed: caps === undefined ? allowsAll : (name) => Caps.isToolAllowed(caps, name),
    recorded: Effect.sync(() => recordedBy(handle)),
    record: (options) => record(handle, hooks, options),
    add: (amount) => Effect.suspend(() => recorded(handle, hooks, handle.add(amount))),
    // A copy of the reservation keeps it.
    [handleKey]: handle
  }
  handle.grant = view
  return view
}

/** The property of a reservation that identifies its guard. */
const handleKey: unique symbol = Symbol.for("effect-cycles/Reservation/handle")

/** The handle of a reservation, or of a copy of it. */
export const handleOf = (reservation: unknown): Handle | undefined => {
  if (typeof reservation !== "object" || reservation === null || !(handleKey in reservation)) return undefined
  const handle = reservation[handleKey]
  return handle instanceof Handle ? handle : undefined
}

const recordedBy = ({ call, lines, recorded }: Handle): Option.Option<Recorded> => {
  if (recorded !== undefined) {
    return Option.some({ actual: recorded.amount, isEstimated: recorded.isEstimated })
  }
  // Joined calls that have spent nothing are known spend, too.
  return lines === undefined || lines.size === 0
    ? Option.none()
    : Option.some({ actual: Amount.zero(call.estimate.unit), isEstimated: false })
}

const allowsAll: Reservation["isToolAllowed"] = () => true

/**
 * Records a total. The amount is recorded before the metrics are read. If the metrics are invalid, or throw, the effect
 * then dies with the reason.
 */
const record = (handle: Handle, hooks: SpendHooks, options: RecordOptions): Effect.Effect<void, Amount.UnitMismatch> =>
  Effect.suspend(() => {
    const result = handle.record(() => options)
    const extras = Extras.encode("commit", () => ({ metrics: options.metrics }))
    if (Result.isSuccess(extras)) {
      handle.addExtras(extras.success)
      return recorded(handle, hooks, result)
    }
    const { failure } = extras
    const then = failure._tag === "TooDeep" ? Log.warning(tooDeep(handle.id)) : Effect.die(defectOf(failure))
    return Effect.andThen(recorded(handle, hooks, result), then)
  })

/** The warning for omitted metrics. */
export const tooDeep = (id: string | undefined): string =>
  `Reservation ${id ?? "(dry run)"}: the metrics have too many levels and are left out; the amount is charged`

/** The defect for invalid or throwing metrics. */
export const defectOf = (failure: Extras.Thrown | InvalidRequest): unknown =>
  failure._tag === "Thrown" ? failure.defect : failure

const recorded = (
  handle: Handle,
  hooks: SpendHooks,
  result: Result.Result<Late | undefined, Amount.UnitMismatch>
): Effect.Effect<void, Amount.UnitMismatch> => {
  return Result.isFailure(result) ? Effect.fail(result.failure) : afterRecording(handle, hooks, result.success)
}

/** Journals the new total, or charges the late part. */
export const afterRecording = (handle: Handle, hooks: SpendHooks, late: Late | undefined): Effect.Effect<void> => {
  if (late !== undefined) return hooks.onLate(handle, late)
  return isJournaled(handle) ? hooks.onRecorded(handle) : Effect.void
}

/** Whether each recorded total is journaled, so that it survives a crash. False after the settlement was decided. */
export const isJournaled = ({ root }: Handle): boolean => root !== undefined && root.call.policies.onCrash !== "expire"
