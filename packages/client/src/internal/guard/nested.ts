/**
 * Guards around a guard, pools, and runs that hold a reservation: which reservation a call draws on, if any.
 *
 * The guard around a call is the one whose `Reservation` its fiber has. A copy of that reservation is the same guard.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { AlreadySettled, InvalidRequest } from "../../CyclesError.ts"
import { Reservation } from "../../Reservation.ts"
import { nowMs } from "../config/time.ts"
import type { Engine } from "../reservation/engine.ts"
import { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import { handleOf } from "../reservation/view.ts"
import { TypeId } from "../run/current.ts"
import { lenderOf } from "../run/lender.ts"
import type { Ticket } from "../run/ticket.ts"
import * as Log from "../runtime/log.ts"
import type { Lender, PoolPlace } from "./poolPlace.ts"
import { CurrentPool, poolFor } from "./poolPlace.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The surroundings of a call. */
export interface Place {
  /** The nearest open guard around the call, in any unit. */
  readonly outer: Handle | undefined
  /** The nearest open guard that the call joins if there is room. */
  readonly guard: Handle | undefined
  /** The reservation of a run around the call that holds one. */
  readonly hold: Handle | undefined
  /** The nearest open pool that serves the call. */
  readonly pool: Lender | undefined
  /** Whether the pool is nearer than the reservation of the run. */
  readonly isPoolNearer: boolean
  /** Whether the pool is nearer than `guard`. */
  readonly isPoolInside: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// place
// ---------------------------------------------------------------------------------------------------------------------

/** The surroundings of a call; nothing if there are no guard, no pool, and no run that holds a reservation. */
export const placeOf = (
  engine: Engine,
  fiber: Fiber.Fiber<unknown, unknown>,
  prepared: Prepared
): Place | undefined => {
  if (prepared.isRunHold) return undefined
  const outer = handleOf(Context.getOrUndefined(fiber.context, Reservation))?.nearestOpen
  const held = prepared.run === undefined ? undefined : lenderOf(prepared.run, prepared.estimate.unit)
  const innermost = fiber.getRef(CurrentPool)
  if (outer === undefined && held === undefined && innermost === undefined) return undefined
  if (prepared.isDryRun)
    return { outer, guard: undefined, hold: undefined, pool: undefined, isPoolNearer: false, isPoolInside: false }
  const guard = prepared.policies.nested === "join" ? joinable(outer, prepared) : undefined
  const hold = held?.lender instanceof Handle ? held.lender : undefined
  // A guard around the run is farther away than the reservation of the run.
  const isNearer = held === undefined || guard?.call.run?.chain.includes(held.run) === true
  const place = poolFor(innermost, engine, prepared)
  return {
    outer,
    guard: isNearer ? guard : undefined,
    hold,
    pool: place?.pool,
    isPoolNearer: held === undefined || place?.run?.[TypeId].chain.includes(held.run) === true,
    isPoolInside: guard !== undefined && place !== undefined && isAround(guard, place)
  }
}

/** The guards around a call in shadow mode, where neither runs nor pools hold reservations. */
export const placeInShadow = (context: Context.Context<never>, prepared: Prepared): Pick<Place, "outer" | "guard"> => {
  const outer = handleOf(Context.getOrUndefined(context, Reservation))?.nearestOpen
  const isJoining = prepared.policies.nested === "join" && !prepared.isDryRun
  return { outer, guard: isJoining ? joinable(outer, prepared) : undefined }
}

/** Whether a guard was open around a pool when the pool was entered. */
const isAround = (guard: Handle, { around }: PoolPlace): boolean => {
  let handle = handleOf(around)?.nearestOpen
  while (handle !== undefined && handle !== guard) handle = handle.outer
  return handle !== undefined
}

/** The nearest open guard with the unit of the call. */
const joinable = (outer: Handle | undefined, { estimate }: Prepared): Handle | undefined => {
  let guard = outer
  while (guard !== undefined && guard.call.estimate.unit !== estimate.unit) guard = guard.outer
  return guard === undefined || isDryRun(guard) ? undefined : guard
}

const isDryRun = ({ source }: Handle): boolean => source._tag === "Unreserved" && source.reason === "dry run"

/** Fails for a guard with `nested: "reject"`, and logs that an independent guard makes its own reservation. */
export const refusal = (prepared: Prepared, { outer, pool }: Place): Effect.Effect<void, InvalidRequest> => {
  if (outer === undefined || prepared.policies.nested === "join") return Effect.void
  const rejected = rejection(prepared, outer)
  if (rejected !== undefined) return Effect.fail(rejected)
  return pool !== undefined
    ? Effect.void
    : Log.debug(`A guard ${insideOf(outer)} makes its own reservation; nested: "join" would draw on the outer one`)
}

/** The error of a guard with `nested: "reject"` that is inside another one. */
export const rejection = ({ policies }: Prepared, outer: Handle | undefined): InvalidRequest | undefined =>
  policies.nested !== "reject" || outer === undefined
    ? undefined
    : new InvalidRequest({
        operation: "reserve",
        fields: [{ field: "nested", expected: "no guard around this one", actual: insideOf(outer) }]
      })

const insideOf = (outer: Handle): string => `inside ${nameOf(outer.call)}`

// ---------------------------------------------------------------------------------------------------------------------
// draw
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Joins the guard around the call. The run of that guard holds the amount already. Returns nothing if there is no room,
 * or if the call is in another run.
 */
export const join = (
  engine: Engine,
  prepared: Prepared,
  { guard, isPoolInside }: Place,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<Handle, AlreadySettled> | undefined => {
  const { action, estimate, isCallerSupplied, key, run, step } = prepared
  if (guard === undefined || isPoolInside || !hasRoom(prepared, guard)) return undefined
  if (isOutsideRunOf(guard, prepared)) return undefined
  const repeated = repetition(prepared, guard)
  if (repeated !== undefined) return Effect.fail(repeated)
  const ticket = run?.join({ action, amount: estimate, step }, { run: guard.call.run, ticket: guard.ticket })
  if (run !== undefined && ticket === undefined) return undefined
  if (isCallerSupplied) engine.keys.acquire(key)
  return Effect.succeed(draw(prepared, guard, fiber, ticket))
}

/** Draws on the reservation of a run. Returns nothing if there is no room. */
export const drawOnRun = (
  prepared: Prepared,
  hold: Handle,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<Handle, AlreadySettled> | undefined => {
  if (!hasRoom(prepared, hold)) return undefined
  const repeated = repetition(prepared, hold)
  return repeated === undefined ? Effect.succeed(draw(prepared, hold, fiber, undefined)) : Effect.fail(repeated)
}

/** Whether the guard is in a run, and the call isn't in that run. */
export const isOutsideRunOf = ({ call: { run: around } }: Handle, { run }: Prepared): boolean =>
  around !== undefined && run?.chain.includes(around) !== true

const hasRoom = ({ estimate }: Prepared, lender: Handle): boolean =>
  lender.canLend && estimate.amount <= lender.shared.room

/** The error of a call whose caller-supplied key has drawn on the reservation before. */
const repetition = ({ isCallerSupplied, key }: Prepared, { reservationId, shared }: Handle) => {
  const call = isCallerSupplied ? shared.callOf(key) : undefined
  return call && new AlreadySettled({ reservationId: reservationId ?? "", by: "earlier run", status: call.end })
}

/** Draws on a reservation. The caller has checked that there is room. */
export const draw = (
  prepared: Prepared,
  lender: Handle,
  fiber: Fiber.Fiber<unknown, unknown>,
  ticket: Ticket | undefined
): Handle => {
  const { estimate, isCallerSupplied, key } = prepared
  const source = lender.drawFor(estimate.amount, nameOf(prepared))
  const handle = new Handle(prepared, lender.grant, source, nowMs(fiber.getRef(Clock.Clock)))
  if (isCallerSupplied) lender.shared.addKey(key, handle)
  if (source._tag === "Joined") source.draw.onLost = (reason) => void handle.markLost(reason)
  handle.ticket = ticket
  return handle
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const nameOf = ({ action: { kind, name } }: Pick<Prepared, "action">): string => `${kind} ${name}`
