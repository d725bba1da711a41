/** A reserve with a caller-supplied key, which an earlier run of the same job may have made already. */
import * as Effect from "effect/Effect"
import { AlreadySettled } from "../../CyclesError.ts"
import { classify } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Response } from "./request.ts"

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
    const settled = Effect.fail(new AlreadySettled({ reservationId, by: "earlier run" }))
    if (yield* engine.outbox.isDecided(reservationId)) return yield* settled
    if (remainingTtlMs !== undefined && remainingTtlMs > 0) return
    yield* Effect.matchEffect(engine.sender.send(Operations.getReservation(reservationId, "settlement")), {
      onSuccess: ({ status }) => (status === "ACTIVE" ? Effect.void : settled),
      onFailure: (error) => (remainingTtlMs === 0 || classify(error).class === "gone" ? settled : Effect.void)
    })
  })
