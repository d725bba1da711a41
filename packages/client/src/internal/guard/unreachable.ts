/**
 * `onUnreachable: "allow"`: if the server can't be reached, the call runs without a reservation. Its spend is journaled
 * and charged later as an event.
 *
 * If the reserve may have arrived, the client treats it as abandoned: it finds the reservation and releases it. The
 * spend is therefore charged once.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { CyclesError } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import * as Classify from "../protocol/classify.ts"
import type { Engine } from "../reservation/engine.ts"
import { grantOf } from "../reservation/grant.ts"
import type { Source } from "../reservation/handle.ts"
import { Handle } from "../reservation/handle.ts"
import { unreserved } from "../reservation/source.ts"
import type { Prepared } from "../reservation/options.ts"
import * as Log from "../runtime/log.ts"
import * as Metrics from "../runtime/metrics.ts"
import { writeOpen } from "../settlement/settle.ts"

/** The server can't be reached, and the guard allows the call. `error` is absent if the server isn't asked. */
export interface Unreachable {
  readonly _tag: "Unreachable"
  readonly error: CyclesError | undefined
}

/** The failure of a reserve, or `Unreachable` if the guard allows the call. The last attempt decides. */
export const failureOf = (
  { policies }: Prepared,
  error: CyclesError,
  last: CyclesError | undefined
): CyclesError | Unreachable =>
  policies.onUnreachable === "allow" && last !== undefined && Classify.isUnreachable(last)
    ? { _tag: "Unreachable", error }
    : error

/** Doesn't ask the server if it could not be reached recently, so that not every call waits for its whole timeout. */
export const whenReachable = <A, E>(
  { config, reachability }: Engine,
  { policies }: Prepared,
  request: Effect.Effect<A, E>
): Effect.Effect<A, E | Unreachable> =>
  policies.onUnreachable === "fail"
    ? request
    : Effect.clockWith((clock): Effect.Effect<A, E | Unreachable> => {
        const startedAtMs = nowMs(clock)
        if (!reachability.shouldAsk(startedAtMs, 2 * config.timeoutMs + policies.maxRetryAfterMs)) {
          return Effect.fail({ _tag: "Unreachable", error: undefined })
        }
        return Effect.onExit(request, (exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit) && isUnreachable(Cause.squash(exit.cause))) {
              reachability.failed(startedAtMs, nowMs(clock))
            } else reachability.responded()
          })
        )
      })

/** Whether a failure means that the call may run. */
export const isUnreachable = (failure: unknown): failure is Unreachable => Predicate.isTagged(failure, "Unreachable")

/** The reservation of a call that runs without one. */
export const allow = (engine: Engine, prepared: Prepared, { error }: Unreachable): Effect.Effect<Handle> =>
  Effect.withFiber((fiber) => {
    const { action, estimate, isCallerSupplied, isDryRun, key, policies, scopes } = prepared
    Metrics.unreachableAllowed(fiber.context)
    const id = ReservationId.make(`unreserved-${globalThis.crypto.randomUUID()}`)
    // A job that runs twice while the server is unreachable spends twice, so the two events need different keys.
    const source: Source = isDryRun
      ? unreserved("dry run")
      : { _tag: "Unreachable", id, stem: isCallerSupplied ? id : prepared.stem }
    const grant = grantOf({ decision: "ALLOW", affectedScopes: scopes })
    const handle = new Handle(prepared, grant, source, nowMs(fiber.getRef(Clock.Clock)))
    // The reserve may have arrived. Its reservation doesn't belong to this call, and is released.
    if (isCallerSupplied && !isDryRun) engine.keys.release(key)
    const because = error === undefined ? "it could not be reached recently" : error.message
    const warned = Log.warning(
      `The Cycles server can't be reached: ${action.kind} ${action.name} runs without a reservation of ${estimate}`,
      because
    )
    return Effect.as(policies.onCrash === "expire" ? warned : Effect.andThen(warned, writeOpen(engine, handle)), handle)
  })
