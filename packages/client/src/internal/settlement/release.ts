/**
 * Releases a reservation without spend, with a limited number of retries and the same key. If no attempt succeeds, the
 * server returns the budget when the lease ends.
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Effect from "effect/Effect"
import { Released } from "../../Settlement.ts"
import { classify, rows } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import { releaseText } from "../protocol/requests.ts"
import { derived } from "../reservation/keys.ts"
import type { Lifecycle } from "../reservation/lifecycle.ts"
import * as Log from "../runtime/log.ts"
import * as Retry from "../runtime/retry.ts"
import type { Runtime } from "../runtime/runtime.ts"
import { updateBackoff } from "../runtime/runtime.ts"
import { trusted } from "./trusted.ts"

/** The reservation to release. */
export interface Target {
  readonly id: ReservationId
  readonly stem: string
  readonly reason: string
  readonly life: Lifecycle
}

/** Makes one attempt. */
export const attempt = (
  runtime: Runtime,
  { id, life, reason, stem }: Target,
  timeoutMs: number
): Effect.Effect<Retry.Attempt<Released>> =>
  Retry.attemptOf(
    Effect.clockWith((clock) =>
      Effect.match(
        runtime.sender.send({ ...Operations.release(id, releaseText(derived("release", stem), reason)), timeoutMs }),
        {
          onSuccess: (response) => {
            life.fire("confirmed")
            runtime.backoff.succeeded()
            return Retry.ended<Released>(
              trusted(Released, {
                _tag: "Released",
                reservationId: id,
                reason,
                returned: response.released,
                balances: response.balances ?? [],
                isConfirmed: true
              })
            )
          },
          onFailure: (error): Retry.Attempt<Released> => {
            const classification = classify(error)
            updateBackoff(runtime, clock, classification)
            switch (rows.release[classification.class]) {
              case "retry":
                life.fire("unknown")
                return Retry.again(error.message, classification.minimumDelayMs)
              case "done":
                life.fire("confirmed")
                return Retry.ended(withoutAmounts(id, reason, true))
              case "reject":
                life.fire("gaveUp")
                return Retry.ended(withoutAmounts(id, reason, false))
            }
          }
        }
      )
    )
  )

/** Retries after a first attempt, until one succeeds or the attempts of this run are used up. */
export const continueAfter = (
  runtime: Runtime,
  target: Target,
  first: Retry.Attempt<Released>
): Effect.Effect<Released> =>
  Retry.continueAfter(
    { retry: runtime.config.retry, background: runtime.background },
    first,
    attempt(runtime, target, runtime.config.timeoutMs),
    (last) =>
      Effect.suspend(() => {
        target.life.fire("gaveUp")
        return Effect.as(
          Log.warning(
            `Reservation ${target.id} could not be released (${last.because}); its budget is returned when the lease ends`
          ),
          withoutAmounts(target.id, target.reason, false)
        )
      })
  )

/** Releases, with all attempts of this run. */
export const run = (runtime: Runtime, target: Target): Effect.Effect<Released> =>
  Effect.flatMap(attempt(runtime, target, runtime.config.timeoutMs), (first) => continueAfter(runtime, target, first))

/** A release without the amounts of a response. */
export const withoutAmounts = (id: ReservationId, reason: string, isConfirmed: boolean): Released =>
  trusted(Released, { _tag: "Released", reservationId: id, reason, returned: undefined, balances: [], isConfirmed })
