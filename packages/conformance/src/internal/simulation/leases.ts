/** Checks of the reservations themselves: their leases are kept while they are needed, and not longer. */
import * as Cause from "effect/Cause"
import { isBudgetExceeded } from "effect-cycles/CyclesError"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"
import type { Attempt, Requests } from "./requests.ts"
import type { Server } from "./server.ts"

/** The parts of a world that the checks read. */
export interface Stage {
  readonly plan: Plan
  readonly server: Server
  readonly observations: ReadonlyArray<Observation>
  readonly requests: Requests
  /** The identities of the injected faults. */
  readonly met: ReadonlySet<string>
}

/** Returns the violations. */
export const leases = (stage: Stage): ReadonlyArray<string> => {
  const expired = new Set(stage.server.views().flatMap(({ id, status }) => (status === "EXPIRED" ? [id] : [])))
  return [
    ...lost(stage, expired),
    ...extended(stage),
    ...abandoned(stage, expired),
    ...repeated(stage),
    ...overRecords(stage)
  ]
}

/** The default of a tenant. */
const mostExtensions = 10

/** Below this limit, extensions may wait for slots for longer than a lease. */
const fewSlots = 16

/**
 * A lease doesn't end while its body runs or its commit is retried, unless the client has tried to extend it since it
 * was granted, and once more after an attempt that has failed early.
 */
const lost = (
  { met, observations, plan, requests, server }: Stage,
  expired: ReadonlySet<string>
): ReadonlyArray<string> => {
  // After a slow reserve, the protocol may require the client to give up the lease.
  const disturbed = disturbedCalls(met, "reserve")
  return observations.flatMap(({ beganAtMs, call, endedAtWorldMs, name, program, reservationId }) => {
    const reservation =
      reservationId === undefined || !expired.has(reservationId) ? undefined : server.reservations.get(reservationId)
    if (
      reservation === undefined ||
      beganAtMs === undefined ||
      call.key !== undefined ||
      program.hasClosedEarly ||
      disturbed.has(name)
    )
      return []
    if ((plan.clients[call.client]?.maxConcurrency ?? 0) < fewSlots || !program.hasEnded) return []
    const { endsAtMs, id } = reservation
    const extensions = requests.extensions.get(id) ?? []
    const later = extensions.slice(extensions.findLastIndex(({ isAccepted }) => isAccepted) + 1)
    if (later.length > 1 || later.some((attempt) => !mayBeRepeated(attempt)) || extensions.length >= mostExtensions)
      return []
    const commits = (requests.commits.get(id) ?? []).filter(({ process }) => process === program.process)
    const isRetried = commits
      .slice(0, 5)
      .some(({ atMs }, at) => atMs < endsAtMs && (commits[at + 1]?.atMs ?? 0) > endsAtMs && !reservation.isBlocked)
    const sent = later.length === 0 ? "no extension was sent" : "the failed extension wasn't repeated"
    if (endedAtWorldMs > endsAtMs)
      return [`call ${call.id}: the lease of ${id} ended at ${Math.round(endsAtMs)} ms while the body ran, and ${sent}`]
    return isRetried
      ? [
          `call ${call.id}: the lease of ${id} ended at ${Math.round(endsAtMs)} ms while its commit was retried, and ${sent}`
        ]
      : []
  })
}

/** An extension whose outcome is unknown is repeated with its key: another one would extend the lease twice. */
const extended = ({ requests, server }: Stage): ReadonlyArray<string> =>
  Array.from(requests.extensions).flatMap(([id, attempts]) => {
    // Under a caller-supplied key, several calls extend one lease.
    if (server.callOf(id).startsWith("K")) return []
    return attempts.flatMap((attempt, at) => {
      const next = attempts[at + 1]
      return next === undefined || attempt.isAccepted || attempt.key === next.key
        ? []
        : [`the extension ${attempt.key} of ${id} failed, and was repeated with the key ${next.key}`]
    })
  })

/** Whether an extension has failed so early that there is time for another one. */
const mayBeRepeated = ({ atMs, code, endedAtMs = Number.POSITIVE_INFINITY, isAccepted, status }: Attempt): boolean => {
  const isFinal = isAccepted || status === 429 || (code !== undefined && status !== undefined && status < 500)
  return !isFinal && endedAtMs - atMs < quickMs
}

/** An attempt that ends earlier leaves time for another one in any lease, in milliseconds. */
const quickMs = 500

/** The names of the calls whose requests of an operation have met a fault. */
const disturbedCalls = (met: ReadonlySet<string>, operation: string): ReadonlySet<string> => {
  const prefix = `net ${operation} `
  return new Set(
    Array.from(met)
      .filter((identity) => identity.startsWith(prefix))
      .map((identity) => identity.slice(prefix.length).split(" ")[0] ?? "")
  )
}

/**
 * A reserve whose caller didn't get its reservation is released, or repeated to learn the id. After a denial, an
 * earlier attempt may still be on its way.
 */
const abandoned = ({ observations, requests, server }: Stage, expired: ReadonlySet<string>): ReadonlyArray<string> => {
  const byKey = new Map(Array.from(server.reservations.values(), (reservation) => [reservation.key, reservation.id]))
  return observations.flatMap(({ beganAtMs, call, exit, isDisturbed, name, program }) => {
    const id = byKey.get(name)
    if (id === undefined || !expired.has(id) || beganAtMs !== undefined || call.key !== undefined) return []
    if (!program.hasEnded || program.hasClosedEarly || isDisturbed || exit === undefined || exit._tag === "Success")
      return []
    if (isBudgetExceeded(Cause.squash(exit.cause))) return []
    const isTried = requests.releases.has(id) || (requests.reserves.get(name) ?? []).length > 1
    return isTried ? [] : [`call ${call.id}: its abandoned reservation ${id} was neither released nor looked up`]
  })
}

/** The body doesn't run under a reservation that a killed process may have spent: its journal has a record of it. */
const overRecords = ({ observations }: Stage): ReadonlyArray<string> =>
  observations.flatMap(({ call, program, ranOverRecord, reservationId }) =>
    ranOverRecord && call.key !== undefined && !program.hasClosedEarly
      ? [`call ${call.id} ran under ${reservationId}, of which a killed process has left a record`]
      : []
  )

/** The body doesn't run again under a caller-supplied key after the server has confirmed its settlement. */
const repeated = ({ observations, server }: Stage): ReadonlyArray<string> =>
  observations.flatMap((later) => {
    if (later.call.key === undefined || later.beganAtMs === undefined) return []
    const earlier = observations.find(
      (one) =>
        one.name === later.name &&
        one !== later &&
        isProtected(one, later, server) &&
        one.returnedAtWorldMs < later.startedAtWorldMs &&
        one.settlements.some(({ _tag }) => _tag === "Committed" || _tag === "Recovered")
    )
    return earlier === undefined
      ? []
      : [`call ${later.call.id} ran again under ${later.name}, which call ${earlier.call.id} has settled`]
  })

/** Whether the settlement of a call prevents a later one: with `again`, only under the same reservation. */
const isProtected = (earlier: Observation, later: Observation, server: Server): boolean => {
  if (earlier.reservationId === undefined || later.reservationId === undefined) return false
  const isFirst = server.callOf(earlier.reservationId) === earlier.name
  if (earlier.reservationId === later.reservationId) return true
  // A commit changes the status on the server. An event that charges a released reservation doesn't.
  const isKnown = later.call.onRepeat === "refuse" || earlier.settlements.some(({ _tag }) => _tag === "Committed")
  return isFirst && isKnown && later.call.onRepeat !== "again"
}
