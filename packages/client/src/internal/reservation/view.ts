/**
 * What a guarded body sees of its reservation: the response to the reserve, and `record` and `add`.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Caps from "@effect-cycles/protocol/Caps"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { RecordOptions, Reservation } from "../../Reservation.ts"
import type { InvalidRequest } from "../../CyclesError.ts"
import * as Extras from "../protocol/extras.ts"
import * as Log from "../runtime/log.ts"
import type { Handle, Late } from "./handle.ts"

/** What has to happen when spend is recorded. Both always succeed. */
export interface SpendHooks {
  /** The total of an open reservation has changed; runs only with `onCrash`. Returns when the new total is durable. */
  readonly onRecorded: (handle: Handle) => Effect.Effect<void>
  /** Spend was recorded after the settlement was decided. Returns when the late part is journaled. */
  readonly onLate: (handle: Handle, late: Late) => Effect.Effect<void>
}

/** The public view of a reservation: a plain object, so that a program can wrap and copy it. */
export const viewOf = (handle: Handle, hooks: SpendHooks): Reservation => {
  const { prepared, response } = handle
  return {
    "~effect-cycles/Reservation": "~effect-cycles/Reservation",
    id: response.reservationId,
    idempotencyKey: prepared.key,
    decision: response.decision,
    caps: response.caps,
    action: prepared.action,
    subject: prepared.subject,
    estimate: prepared.estimate,
    scopes: response.affectedScopes,
    balances: response.balances ?? none,
    isToolAllowed: (name) => response.caps === undefined || Caps.isToolAllowed(response.caps, name),
    record: (options) => record(handle, hooks, options),
    add: (amount) => Effect.suspend(() => recorded(handle, hooks, handle.add(amount)))
  }
}

const none: Reservation["balances"] = []

/**
 * Records a total. The amount is safe before the metrics are looked at; if these are invalid, or throw while they are
 * read, the effect dies with the reason.
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

/** The warning for metrics that are left out. */
export const tooDeep = (id: string | undefined): string =>
  `Reservation ${id ?? "(dry run)"}: the metrics have too many levels and are left out; the amount is charged`

/** What a caller's invalid or throwing metrics raise. */
export const defectOf = (failure: Extras.Thrown | InvalidRequest): unknown =>
  failure._tag === "Thrown" ? failure.defect : failure

const recorded = (
  handle: Handle,
  hooks: SpendHooks,
  result: Result.Result<Late | undefined, Amount.UnitMismatch>
): Effect.Effect<void, Amount.UnitMismatch> => {
  if (Result.isFailure(result)) return Effect.fail(result.failure)
  if (result.success !== undefined) return hooks.onLate(handle, result.success)
  return handle.prepared.policies.onCrash === "expire" || handle.isDecided || handle.id === undefined
    ? Effect.void
    : hooks.onRecorded(handle)
}
