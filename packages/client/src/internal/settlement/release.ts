/**
 * Giving a reservation back, when nothing was spent: repeated with the same key, in bounds. Where it never succeeds, the
 * budget comes back when the lease ends.
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import type { Released } from "../../Settlement.ts"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import { floorOf } from "../protocol/outcome.ts"
import type { Prepared } from "../reservation/options.ts"
import * as Retry from "../runtime/retry.ts"
import * as Wire from "../protocol/operations.ts"

/** One attempt. */
export const attempt = (
  engine: Engine,
  id: ReservationId,
  prepared: Prepared,
  reason: string
): Effect.Effect<Retry.Attempt<Released>> =>
  Effect.match(engine.send(Wire.release(id, Encode.releaseBody(prepared.stem, reason))), {
    onSuccess: (answer) =>
      Retry.ended<Released>({
        _tag: "Released",
        reservationId: id,
        reason,
        returned: answer.released,
        balances: answer.balances ?? [],
        isConfirmed: true
      }),
    onFailure: (error) =>
      error.isRetryable
        ? Retry.again(error.message, floorOf(error))
        : Retry.ended(unconfirmed(id, reason, holdsNothing(error)))
  })

/** Goes on after a first attempt, until it succeeds or the attempts of this run are used up. */
export const goOn = (
  engine: Engine,
  id: ReservationId,
  prepared: Prepared,
  reason: string,
  first: Retry.Attempt<Released>
): Effect.Effect<Released> =>
  Retry.goOn(engine, first, attempt(engine, id, prepared, reason), (last) =>
    Effect.as(
      Effect.logWarning(
        `Reservation ${id} could not be released; its budget comes back when the lease ends: ${last.because}`
      ),
      unconfirmed(id, reason)
    )
  )

/** Releases, all attempts of this run included. */
export const run = (engine: Engine, id: ReservationId, prepared: Prepared, reason: string): Effect.Effect<Released> =>
  Effect.flatMap(attempt(engine, id, prepared, reason), (first) => goOn(engine, id, prepared, reason, first))

/** What the caller sees while no answer has confirmed the release. */
export const unconfirmed = (id: ReservationId, reason: string, isConfirmed = false): Released => ({
  _tag: "Released",
  reservationId: id,
  reason,
  returned: undefined,
  balances: [],
  isConfirmed
})

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a refusal means that the budget is free already. */
const holdsNothing = (error: CyclesError): boolean =>
  error._tag === "ApiError" &&
  (error.status === 410 || error.code === "NOT_FOUND" || error.code === "RESERVATION_FINALIZED")
