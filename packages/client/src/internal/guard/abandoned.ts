/**
 * A reserve whose caller has stopped waiting: the client repeats the request in the background until it learns the id,
 * and releases the reservation.
 */
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import { classify } from "../protocol/classify.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Prepared } from "../reservation/options.ts"
import * as Log from "../runtime/log.ts"
import * as Retry from "../runtime/retry.ts"
import * as Release from "../settlement/release.ts"
import { send } from "./request.ts"

/** The caller has stopped waiting: continues in the background. */
export const continueInBackground = (
  engine: Engine,
  prepared: Prepared,
  minimumDelayMs: number,
  isForeign = false
): Effect.Effect<void> =>
  Effect.suspend(() => {
    prepared.life.fire("abandoned")
    return engine.background.run(releaseAbandoned(engine, prepared, minimumDelayMs, isForeign))
  })

/**
 * Whether a page shows that there is no Cycles server at the URL. It proves nothing, because a proxy may have replaced
 * a response, but nothing suggests that budget is reserved.
 */
export const isForeign = (error: CyclesError): boolean =>
  (error._tag === "ApiError" && error.reason._tag === "NotCycles") ||
  (error._tag === "ProtocolError" && error.hint !== undefined)

/**
 * Repeats the request with the same key to learn the id, and releases the reservation. It stops if a response proves
 * that nothing was reserved.
 *
 * A caller may retry with the same caller-supplied key. The release therefore starts after the timeout of one call, and
 * skips a reservation that is in use again.
 */
const releaseAbandoned = (
  engine: Engine,
  prepared: Prepared,
  minimumDelayMs: number,
  wereForeign: boolean
): Effect.Effect<void> => {
  let areForeign = wereForeign
  const { isCallerSupplied, key, life, stem } = prepared
  const isInUse = () => isCallerSupplied && engine.keys.has(key)
  const nothingLeft = Retry.ended<void>(undefined)

  const attempt: Effect.Effect<Retry.Attempt<void>> = Retry.attemptOf(
    Effect.suspend(() =>
      isInUse()
        ? Effect.succeed(nothingLeft)
        : Effect.matchEffect(send(engine, prepared, "settlement"), {
            onSuccess: ({ decision, remainingTtlMs, reservationId: id }) => {
              if (id === undefined || decision === "DENY") {
                life.fire("refused")
                return Effect.succeed(nothingLeft)
              }
              life.fire("allowed")
              if (remainingTtlMs === 0 || isInUse()) return Effect.succeed(nothingLeft)
              return Effect.as(Release.run(engine, { id, stem, reason: "reserve_abandoned", life }), nothingLeft)
            },
            onFailure: (error): Effect.Effect<Retry.Attempt<void>> => {
              areForeign &&= isForeign(error)
              const { minimumDelayMs, provesNothingHappened } = classify(error)
              if (provesNothingHappened && error._tag !== "TransportError") {
                life.fire("refused")
                return Effect.succeed(nothingLeft)
              }
              life.fire("ambiguous")
              return Effect.succeed(Retry.again(error.message, minimumDelayMs))
            }
          })
    )
  )

  return Effect.gen(function* () {
    // Time for the caller to retry with the same caller-supplied key.
    const delayMs = isCallerSupplied ? engine.config.timeoutMs : 0
    if (delayMs + minimumDelayMs > 0) yield* engine.background.delay(delayMs, minimumDelayMs)
    const first = yield* attempt
    yield* Retry.continueAfter({ retry: engine.config.retry, background: engine.background }, first, attempt, (last) =>
      Effect.suspend(() => {
        life.fire("gaveUp")
        if (areForeign) return Effect.void
        return Log.warning(`An abandoned reservation may stay reserved until its lease ends: ${last.because}`)
      })
    )
  })
}
