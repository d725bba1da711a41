/** A reserve with a caller-supplied key, which an earlier run of the same job may have made already. */
import * as Effect from "effect/Effect"
import { AlreadySettled } from "../../CyclesError.ts"
import type { InvalidRequest } from "../../CyclesError.ts"
import { classify } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import type { Engine } from "../reservation/engine.ts"
import * as Keys from "../reservation/keys.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Response } from "./request.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the reservation of an earlier run
// ---------------------------------------------------------------------------------------------------------------------

/**
 * With a caller-supplied key, the server may return a reservation that an earlier run has settled, or whose settlement
 * is decided but not confirmed. The remaining time isn't sufficient proof that it is open: a repeated reserve returns
 * the remaining time of the first response.
 */
export const assertOpen = (
  engine: Engine,
  prepared: Prepared,
  { remainingTtlMs, reservationId }: Response
): Effect.Effect<void, AlreadySettled> =>
  Effect.gen(function* () {
    if (prepared.isDryRun || reservationId === undefined) return
    const settled = (status: AlreadySettled["status"]) =>
      Effect.fail(new AlreadySettled({ reservationId, by: "earlier run", status }))
    if (engine.outbox.isReleasing(reservationId)) return yield* settled("RELEASED")
    if (yield* engine.outbox.isDecided(reservationId)) return yield* settled("COMMITTED")
    if (remainingTtlMs !== undefined && remainingTtlMs > 0) return
    yield* Effect.matchEffect(engine.sender.send(Operations.getReservation(reservationId, "settlement")), {
      onSuccess: ({ status }) => (status === "ACTIVE" ? Effect.void : settled(endOf(status))),
      // The response for an expired reservation is a 410.
      onFailure: (error) => {
        if (error._tag === "ApiError" && error.code === "RESERVATION_EXPIRED") return settled("EXPIRED")
        return remainingTtlMs === 0 || classify(error).class === "gone" ? settled("unknown") : Effect.void
      }
    })
  })

const endOf = (status: string): AlreadySettled["status"] =>
  status === "COMMITTED" || status === "RELEASED" || status === "EXPIRED" ? status : "unknown"

// ---------------------------------------------------------------------------------------------------------------------
// the next reservation
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reserves under the caller-supplied key, or under `key#2` and so on if `onRepeat` allows it. Two runs at the same time
 * try the same keys in the same order, so they share the first open reservation, as they do without a suffix.
 */
export const repeating = <A, E>(
  prepared: Prepared,
  reserve: (prepared: Prepared) => Effect.Effect<A, E | AlreadySettled>
): Effect.Effect<A, E | AlreadySettled | InvalidRequest> => {
  const { key, repeat } = prepared
  if (repeat === undefined) return reserve(prepared)
  const attempt = (prepared: Prepared, n: number): Effect.Effect<A, E | AlreadySettled | InvalidRequest> =>
    Effect.catchIf(reserve(prepared), isAlreadySettled, (settled) =>
      n < maxReservations && (repeat.when === "again" || settled.status === "RELEASED")
        ? Effect.flatMap(Effect.flatMap(Keys.repeated(key, n + 1), repeat.under), (next) => attempt(next, n + 1))
        : Effect.fail(settled)
    )
  return attempt(prepared, 1)
}

const isAlreadySettled = (error: unknown): error is AlreadySettled => error instanceof AlreadySettled

/** The number of reservations under one caller-supplied key. */
const maxReservations = 100
