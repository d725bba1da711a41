/**
 * A reservation as a scoped resource: acquired by reserve, released by a settlement at the latest when its scope closes.
 *
 * Reservations of one scope settle side by side: closing starts the settlement of each in turn, and waits for all of them
 * once, at the end.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { CyclesError } from "../../CyclesError.ts"
import { AlreadySettled } from "../../CyclesError.ts"
import type { ReserveOptions } from "../../GuardOptions.ts"
import type { LeaseLost } from "../../Heartbeat.ts"
import type { Active } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import type { Held } from "../reservation/handle.ts"
import * as Lifecycle from "../reservation/lifecycle.ts"
import { prepare } from "../reservation/options.ts"
import * as Reserve from "./acquire.ts"
import * as Settle from "../settlement/settle.ts"
import { millis } from "../config/time.ts"
import * as Wire from "../protocol/operations.ts"

/** Everything a reservation by hand can fail with. */
export type ReserveError = CyclesError | AlreadySettled

/** How a reservation is settled when its scope closes. */
export type OnClose = (held: Held, exit: Exit.Exit<unknown, unknown>) => Settle.Plan

/** Reserves in the current scope. */
export const reserve = (
  engine: Engine,
  options: ReserveOptions,
  onClose: OnClose = Settle.planClosed
): Effect.Effect<Held, ReserveError, Scope.Scope> =>
  Effect.flatMap(prepare(engine, options), (prepared) =>
    Effect.flatMap(closingOf, (closing) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.acquireRelease(Reserve.open(engine, restore, prepared), (held, exit) =>
          closing.start(engine, held, onClose, exit)
        )
      )
    )
  )

/** The handle of a reservation that is held by hand. */
export const active = (engine: Engine, held: Held): Active<LeaseLost> => ({
  ...held.handle,
  commit: (options) =>
    Effect.uninterruptible(
      Effect.andThen(
        stillActive(held),
        Effect.flatMap(Settle.checkCommit(held, options), (commit) =>
          Effect.tap(Settle.settle(engine, held, commit), () =>
            held.lost !== undefined && held.prepared.heartbeat !== "warn" ? Effect.fail(held.lost) : Effect.void
          )
        )
      )
    ),
  release: (reason) =>
    Effect.uninterruptible(
      Effect.andThen(
        stillActive(held),
        Settle.settle(engine, held, { _tag: "Release", reason: (reason ?? "released_by_caller").slice(0, 256) })
      )
    ),
  extend: (by) =>
    Effect.andThen(
      stillActive(held),
      held.id === undefined
        ? Effect.void
        : Effect.flatMap(Encode.extendRequest({ idempotencyKey: engine.makeKey(), extendByMs: millis(by) }), (body) =>
            Effect.asVoid(engine.send(Wire.extend(held.id ?? "", body)))
          )
    )
})

const stillActive = (held: Held): Effect.Effect<void, AlreadySettled> =>
  Effect.suspend(() =>
    Lifecycle.isDecided(held.state)
      ? Effect.fail(
          new AlreadySettled({
            reservationId: held.id ?? "",
            by: held.state.startsWith("releas") ? "release" : "commit"
          })
        )
      : Effect.void
  )

// ---------------------------------------------------------------------------------------------------------------------
// closing a scope
// ---------------------------------------------------------------------------------------------------------------------

/** The settlements that the closing of one scope has started. */
class Closing {
  readonly #open: Array<Deferred.Deferred<Settlement>> = []

  /** Starts the settlement of a reservation that nobody has settled. */
  readonly start = (
    engine: Engine,
    held: Held,
    onClose: OnClose,
    exit: Exit.Exit<unknown, unknown>
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (Lifecycle.isDecided(held.state)) return Effect.void
      const settled = Deferred.makeUnsafe<Settlement>()
      this.#open.push(settled)
      return engine.background(Deferred.into(Settle.settle(engine, held, onClose(held, exit)), settled))
    })

  /** Waits for all of them. */
  readonly wait: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.#open, Deferred.await, { discard: true })
  )
}

const closings = new WeakMap<Scope.Scope, Closing>()

/** What closes the current scope; its waiting is registered first, and therefore runs last. */
const closingOf: Effect.Effect<Closing, never, Scope.Scope> = Effect.flatMap(Effect.scope, (scope) => {
  const known = closings.get(scope)
  if (known !== undefined) return Effect.succeed(known)
  const closing = new Closing()
  closings.set(scope, closing)
  return Effect.as(Scope.addFinalizer(scope, closing.wait), closing)
})
