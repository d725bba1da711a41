/** What the options of a call promise beyond its charge: when it runs, when it stops, and how often it tries. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
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
}

/** Returns the violations. */
export const options = (stage: Stage): ReadonlyArray<string> => [
  ...stage.observations.flatMap((observation) => [
    ...unreachable(stage, observation),
    ...reserved(stage, observation),
    ...cancelled(stage, observation)
  ]),
  ...released(stage)
]

/** The attempts of the reserve of a call. */
const reservesOf = ({ requests }: Stage, { name, program }: Observation): ReadonlyArray<Attempt> =>
  (requests.reserves.get(name) ?? []).filter(({ process }) => process === program.process)

/** Whether the server itself has refused an attempt, and not because of its rate. */
const isRefused = ({ code, status = 500 }: Attempt): boolean => code !== undefined && status < 500 && status !== 429

// ---------------------------------------------------------------------------------------------------------------------
// reserves
// ---------------------------------------------------------------------------------------------------------------------

/** A call runs without a reservation only if there was no response from a server, not if the server has refused it. */
const unreachable = (stage: Stage, observation: Observation): ReadonlyArray<string> => {
  const { beganAtMs, call, program, reservationId } = observation
  if (beganAtMs === undefined || reservationId !== undefined || call.key !== undefined || call.isInPool) return []
  if (call.form === "event") return []
  const last = reservesOf(stage, observation).findLast(
    ({ endedAtMs = Number.POSITIVE_INFINITY }) => endedAtMs * program.process.rate < beganAtMs
  )
  return last !== undefined && isRefused(last)
    ? [`call ${call.id} ran without a reservation, although the server has refused it with ${last.code}`]
    : []
}

/** Below this limit, a request may wait in the queue for longer than its timeout. */
const fewSlots = 16

/** A reserve whose outcome is unknown is repeated once before the caller gets the error. */
const reserved = (stage: Stage, observation: Observation): ReadonlyArray<string> => {
  const { beganAtMs, call, exit, program, returnedAtMs = 0, startedAtMs, wasInterrupted } = observation
  if (call.form === "event" || beganAtMs !== undefined || call.key !== undefined || wasInterrupted) return []
  if (exit === undefined || Exit.isSuccess(exit) || !program.hasEnded || program.hasClosedEarly) return []
  if ((stage.plan.clients[call.client]?.maxConcurrency ?? 0) < fewSlots) return []
  const [only, ...more] = reservesOf(stage, observation)
  if (only === undefined || more.length > 0 || only.endedAtMs === undefined) return []
  if (isRefused(only) || only.isAccepted || only.status === 429 || returnedAtMs - startedAtMs > 5_000) return []
  return [`call ${call.id} failed after one reserve, whose outcome is unknown: ${Cause.squash(exit.cause)}`]
}

// ---------------------------------------------------------------------------------------------------------------------
// leases
// ---------------------------------------------------------------------------------------------------------------------

/** Whether a call is inside another one, or waits for calls inside. */
const isNested = ({ observations }: Stage, { call }: Observation): boolean =>
  call.inside !== undefined || observations.some((other) => other.call.inside === call.id)

/** The difference of the clocks over one lease, and the time of a message, in milliseconds. */
const slackMs = 1_500

/** The policies `cancel` and `failOnFinalize` apply at the latest when the lease has ended on the server. */
const cancelled = (stage: Stage, observation: Observation): ReadonlyArray<string> => {
  const { beganAtMs, call, endedAtWorldMs, exit, program, reservationId, work } = observation
  const reservation = reservationId === undefined ? undefined : stage.server.reservations.get(reservationId)
  if (reservation === undefined || beganAtMs === undefined || call.key !== undefined || work === undefined) return []
  if (call.heartbeat === "warn" || program.hasClosedEarly || isNested(stage, observation)) return []
  if (endedAtWorldMs < Math.max(reservation.endsAtMs, beganAtMs / program.process.rate) + slackMs) return []
  const lease = `the lease of ${reservation.id}, which had ended at ${Math.round(reservation.endsAtMs)} ms`
  if (call.heartbeat === "cancel" && !call.isUninterruptible && call.form !== "byHand")
    return [`call ${call.id} wasn't cancelled: its body ran until ${Math.round(endedAtWorldMs)} ms without ${lease}`]
  const isSuccess = exit !== undefined && Exit.isSuccess(exit) && Exit.isSuccess(work)
  return isSuccess && (call.form !== "byHand" || call.ending === "success") && call.ending !== "take"
    ? [`call ${call.id} succeeded without ${lease}`]
    : []
}

// ---------------------------------------------------------------------------------------------------------------------
// releases
// ---------------------------------------------------------------------------------------------------------------------

/** The fewest attempts of a release before the client gives up. */
const fewestReleases = 4

/** The time in which they are made, in milliseconds. */
const releasesMs = 120_000

/** A release whose outcome is unknown is repeated. */
const released = ({ observations, requests, server }: Stage): ReadonlyArray<string> => {
  const closed = new Set(
    observations.filter(({ program }) => program.hasClosedEarly).map(({ program }) => program.process)
  )
  return Array.from(requests.releases).flatMap(([id, attempts]) => {
    const last = attempts.at(-1)
    if (last === undefined || attempts.length >= fewestReleases || /^[KHP]/.test(server.callOf(id))) return []
    const { endedAtMs, process, status = 500 } = last
    if (endedAtMs === undefined || closed.has(process) || process.diedAtMs - endedAtMs * process.rate < releasesMs)
      return []
    const isOpen = !last.isAccepted && (status >= 500 || status === 429 || last.code === undefined)
    return isOpen ? [`the release of ${id} failed and was given up after ${attempts.length} attempts`] : []
  })
}
