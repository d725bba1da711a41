/** Pools and runs: they never grant more than they have, and pools renew their blocks as their options say. */
import * as Expected from "./expected.ts"
import type { Observation } from "./observation.ts"
import type { Plan, PoolPlan } from "./plan.ts"
import type { Program } from "./program.ts"
import type { Attempt, Requests } from "./requests.ts"
import type { Server } from "./server.ts"

/** The parts of a world that the checks read. */
export interface Stage {
  readonly plan: Plan
  readonly server: Server
  readonly observations: ReadonlyArray<Observation>
  readonly programs: ReadonlyArray<Program>
  readonly requests: Requests
}

/** Returns the violations. */
export const lenders = (stage: Stage): ReadonlyArray<string> => {
  const blocks = drawnOn(stage)
  return [
    ...Array.from(blocks).flatMap(([id, calls]) => granted(stage, id, calls)),
    ...Array.from(blocks).flatMap(([id, calls]) => ofPool(stage, id, calls)),
    ...stage.programs.flatMap((program) => ofRuns(stage, program))
  ]
}

/** The calls that have drawn on a reservation, by its id. Joined calls are a part of the call around them. */
const drawnOn = ({ observations }: Stage): ReadonlyMap<string, ReadonlyArray<Observation>> => {
  const drawn = new Map<string, Array<Observation>>()
  for (const observation of observations) {
    const { call, isDrawn, reservationId } = observation
    if (!isDrawn || reservationId === undefined || call.inside !== undefined) continue
    const calls = drawn.get(reservationId)
    if (calls === undefined) drawn.set(reservationId, [observation])
    else calls.push(observation)
  }
  return drawn
}

/** The calls that have calls inside: their spend depends on that of the others. */
const outerOf = ({ observations }: Stage): ReadonlySet<number | undefined> =>
  new Set(observations.map(({ call }) => call.inside))

/** The least amount that calls use of a reservation or a budget when another one begins. Its estimate is included. */
const usedAt = (
  one: Observation,
  calls: ReadonlyArray<Observation>,
  outer: ReadonlySet<number | undefined>,
  isExact: boolean
): number => {
  const { beganAtMs = 0, call } = one
  let used = call.estimate
  for (const other of calls) {
    if (other === one || other.beganAtMs === undefined || other.beganAtMs >= beganAtMs) continue
    const { endedAtMs = Number.POSITIVE_INFINITY, recordedAtMs } = other
    const { estimate } = other.call
    const least = outer.has(other.call.id) ? 0 : Math.min(...Expected.ofSettled({ ...other, late: 0 }))
    const known = isExact && recordedAtMs < beganAtMs - tieMs ? other.recorded : 0
    if (endedAtMs > beganAtMs + tieMs) used += Math.max(estimate, known)
    else used += isExact && endedAtMs < beganAtMs - tieMs ? least : Math.min(estimate, least)
  }
  return used
}

/** The order of events is unknown within this time, in milliseconds. */
const tieMs = 1

/** A pool or a run never grants more than it has reserved. */
const granted = (stage: Stage, id: string, calls: ReadonlyArray<Observation>): ReadonlyArray<string> => {
  const size = stage.server.reservations.get(id)?.amount ?? 0
  const outer = outerOf(stage)
  return calls.flatMap((one) => {
    const used = usedAt(one, calls, outer, true)
    const { call } = one
    return used > size
      ? [`call ${call.id} drew ${call.estimate} on ${id}, which has granted ${used} of ${size} then`]
      : []
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// pools
// ---------------------------------------------------------------------------------------------------------------------

/** The longest time until the next block is there, in milliseconds. */
const renewalMs = 60_000

const ofPool = (stage: Stage, id: string, calls: ReadonlyArray<Observation>): ReadonlyArray<string> => {
  const { plan, server } = stage
  const block = server.reservations.get(id)
  const [first] = calls
  const pool = first === undefined ? undefined : plan.clients[first.program.client]?.pool
  if (block === undefined || pool === undefined || !block.key.startsWith("P")) return []
  return calls.flatMap((one) => {
    const { beganAtMs = 0, call, program } = one
    const ageMs = beganAtMs / program.process.rate - block.createdAtMs
    return [
      ...(call.agent === block.agent
        ? []
        : [`call ${call.id} of agent:${call.agent} drew on ${id} of agent:${block.agent}`]),
      ...(ageMs > pool.maxAgeMs + renewalMs
        ? [`call ${call.id} drew on ${id}, whose age was ${Math.round(ageMs)} of ${pool.maxAgeMs} ms`]
        : []),
      ...(isRenewed(stage, pool, block.key, one, usedAt(one, calls, outerOf(stage), true))
        ? []
        : [`the pool has reserved no block early, although call ${call.id} reached the low mark of ${id}`])
    ]
  })
}

/** Whether a pool reserves the next block when a call reaches the low mark. After a failure it may wait. */
const isRenewed = (
  { plan, requests }: Stage,
  { lowMark, size }: PoolPlan,
  key: string,
  { beganAtMs = 0, program }: Observation,
  used: number
): boolean => {
  if ((plan.clients[program.client]?.maxConcurrency ?? 0) < fewSlots) return true
  if (lowMark === 0 || size - used > lowMark || !program.hasEnded || program.hasClosedEarly) return true
  const name = key.replace(/^(P\d+\.\d+).*/, "$1")
  const reserves = Array.from(requests.reserves).flatMap(([of, attempts]) =>
    of === name || of.startsWith(`${name}.`) ? attempts : []
  )
  const atMs = beganAtMs / program.process.rate
  const hasFailed = (attempt: Attempt): boolean => !attempt.isAccepted
  if (reserves.some(hasFailed)) return true
  const own = (requests.reserves.get(key) ?? [])[0]?.atMs ?? 0
  return reserves.some((reserve) => reserve.atMs > own && reserve.atMs < atMs + earlyMs)
}

/** Below this limit, a request may wait for a slot. */
const fewSlots = 16

/** The longest time until the next reserve is sent, in milliseconds. */
const earlyMs = 500

// ---------------------------------------------------------------------------------------------------------------------
// runs
// ---------------------------------------------------------------------------------------------------------------------

/** A run, and every run around it, never admits more than its budget. */
const ofRuns = (stage: Stage, program: Program): ReadonlyArray<string> => {
  const runs = stage.plan.clients[program.client]?.runs ?? []
  const outer = outerOf(stage)
  const mine = stage.observations.filter(
    (one) =>
      one.program === program &&
      one.beganAtMs !== undefined &&
      one.call.inside === undefined &&
      one.call.form !== "event"
  )
  return runs.flatMap(({ budget }, index) => {
    if (program.runs[index] === undefined) return []
    const isWithin = (at: number | undefined): boolean =>
      at !== undefined && (at === index || (program.runs[at] !== undefined && isWithin(runs[at]?.parent)))
    const calls = mine.filter(({ call }) => isWithin(call.run))
    return calls.flatMap((one) => {
      const used = usedAt(one, calls, outer, false)
      return used > budget
        ? [
            `call ${one.call.id} runs in run ${index} of ${program.process.name}, which has admitted ${used} of ${budget}`
          ]
        : []
    })
  })
}
