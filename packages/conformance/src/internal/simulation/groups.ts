/** Calls that share a reservation, and the totals that may be charged for them together. */
import * as Exit from "effect/Exit"
import type { Disk } from "./disk.ts"
import * as Expected from "./expected.ts"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"
import type { Server } from "./server.ts"

/** The parts of a world that the checks read. */
export interface Stage {
  readonly plan: Plan
  readonly server: Server
  readonly disks: ReadonlyArray<Disk>
  readonly observations: ReadonlyArray<Observation>
}

/** Calls whose spend can only be checked together. */
export interface Group {
  /** The keys of their reserves, and of the reservations that they draw on. */
  readonly names: ReadonlySet<string>
  readonly calls: ReadonlyArray<Observation>
  /** The totals that may be charged; `undefined` if only their limits are known. */
  readonly totals: ReadonlySet<number> | undefined
  readonly least: number
  readonly most: number
}

/** Returns the groups of all calls. A call that shares nothing is a group by itself. */
export const groupsOf = (stage: Stage): ReadonlyArray<Group> => {
  const { observations, server } = stage
  const parents = new Map<string, string>()
  const find = (name: string): string => {
    const parent = parents.get(name)
    if (parent === undefined) parents.set(name, name)
    return parent === undefined || parent === name ? name : find(parent)
  }
  for (const { call, name, reservationId } of observations) {
    const own = find(name)
    const around = call.inside === undefined ? own : find(`L${call.inside}`)
    parents.set(own, around)
    if (reservationId !== undefined) parents.set(find(server.callOf(reservationId)), around)
  }
  // A process may be killed between the reserve of a repetition and its body.
  for (const { key } of server.reservations.values()) {
    const [, first] = /^(K\d+)#\d+$/.exec(key) ?? []
    if (first !== undefined) parents.set(find(key), find(first))
  }
  const members = new Map<string, { readonly names: Set<string>; readonly calls: Array<Observation> }>()
  const memberOf = (name: string) => {
    const root = find(name)
    const known = members.get(root)
    if (known !== undefined) return known
    const made = { names: new Set<string>(), calls: [] }
    members.set(root, made)
    return made
  }
  for (const name of Array.from(parents.keys())) memberOf(name).names.add(name)
  for (const observation of observations) memberOf(observation.name).calls.push(observation)
  return Array.from(members.values(), ({ calls, names }) => ({ names, calls, ...totalOf(stage, calls) }))
}

/** The totals of some calls. Joined calls are part of the call around them. */
export const totalOf = (
  stage: Stage,
  calls: ReadonlyArray<Observation>
): { readonly totals: ReadonlySet<number> | undefined; readonly least: number; readonly most: number } => {
  let totals: ReadonlySet<number> | undefined = new Set([0])
  let least = 0
  let most = 0
  const present = new Set(calls.map(({ call }) => call.id))
  for (const observation of calls) {
    const { id, inside } = observation.call
    if (inside !== undefined && present.has(inside)) continue
    const inner = calls.filter(({ call }) => call.inside === id)
    const of = inner.length === 0 ? ofCall(stage, observation) : ofNested(stage, observation, inner)
    totals = totals === undefined || of.totals === undefined ? undefined : sums(totals, of.totals)
    least += of.least
    most += of.most
  }
  return { totals, least, most }
}

/** The totals that may be charged for a call. */
export const allowedOf = (stage: Stage, observation: Observation): ReadonlySet<number> => {
  const isDisturbed = isDisturbedBy(stage, observation)
  return observation.isSettledBeforeEnd
    ? Expected.ofEnded(observation, isDisturbed)
    : Expected.ofKilled(observation, isDisturbed)
}

// ---------------------------------------------------------------------------------------------------------------------
// totals
// ---------------------------------------------------------------------------------------------------------------------

type Totals = ReturnType<typeof totalOf>

const ofSet = (totals: ReadonlySet<number>): Totals => ({
  totals,
  least: Math.min(...totals),
  most: Math.max(...totals)
})

const ofCall = (stage: Stage, observation: Observation): Totals => {
  const totals = ofSet(allowedOf(stage, observation))
  if (!observation.isDrawn || isCertain(stage, observation)) return totals
  return { totals: undefined, least: isKept(stage, observation) ? totals.least : 0, most: totals.most }
}

/** Whether a call has ended as if nothing had been killed or lost. */
const isCertain = (stage: Stage, observation: Observation): boolean =>
  observation.isSettledBeforeEnd && !(observation.program.hasClosedEarly && isDisturbedBy(stage, observation))

/** The longest time until a pool with `durability: "memory"` has written the spend of a call, in milliseconds. */
const memoryMs = 400

/** Whether the reservation that a call draws on keeps its spend when the process is killed. */
const isKept = ({ plan, server }: Stage, observation: Observation): boolean => {
  const { program, reservationId, returnedAtMs } = observation
  // A pool or a run that ends before a call keeps only its own record. The spend of the call is journaled at its end.
  if (program.hasClosedEarly && (returnedAtMs ?? Number.POSITIVE_INFINITY) >= program.closingAtMs) return false
  const isOfPool = reservationId !== undefined && server.callOf(reservationId).startsWith("P")
  const isInMemory = isOfPool && plan.clients[program.client]?.pool?.durability === "memory"
  return !isInMemory || (returnedAtMs !== undefined && program.process.diedAtMs - returnedAtMs > memoryMs)
}

/**
 * A call and the calls that join it: the larger one of its actual amount, and the sum of its recorded amount and
 * theirs. Calls that end later are charged apart.
 */
const ofNested = (stage: Stage, outer: Observation, inner: ReadonlyArray<Observation>): Totals => {
  const apart = [outer, ...inner].map((observation) => ofCall(stage, observation))
  const most = apart.reduce((sum, totals) => sum + totals.most, 0) + outer.call.estimate
  if (![outer, ...inner].every((observation) => isCertain(stage, observation)))
    return { totals: undefined, least: 0, most }
  const { beganAtMs, endedAtMs = Number.POSITIVE_INFINITY } = outer
  if (beganAtMs === undefined) return ofSet(allowedOf(stage, outer))
  const ended = (one: Observation): number => one.endedAtMs ?? one.returnedAtMs ?? 0
  const during = inner.filter((one) => ended(one) < endedAtMs)
  const late = inner.filter((one) => ended(one) > endedAtMs)
  if (during.length + late.length < inner.length) return { totals: undefined, least: 0, most }
  const totals = new Set<number>()
  for (const drawn of sumsOf(stage, during) ?? [])
    for (const total of withDrawn(outer, drawn, during)) totals.add(total)
  const all = sums(totals, sumsOf(stage, late) ?? new Set([0]))
  return all === undefined ? { totals: undefined, least: 0, most } : ofSet(all)
}

const sumsOf = (stage: Stage, calls: ReadonlyArray<Observation>): ReadonlySet<number> | undefined => {
  let totals: ReadonlySet<number> | undefined = new Set([0])
  for (const one of calls) totals = totals === undefined ? undefined : sums(totals, allowedOf(stage, one))
  return totals
}

const withDrawn = (
  { call, recorded, work }: Observation,
  drawn: number,
  inner: ReadonlyArray<Observation>
): ReadonlyArray<number> => {
  const known = recorded + drawn
  if (work !== undefined && Exit.isSuccess(work)) {
    // An actual amount replaces a recorded total that contains an estimate.
    const hasEstimate = inner.some((one) => one.call.onFailure === "estimate")
    return [Math.max(call.actual, known), ...(hasEstimate ? [Math.max(call.actual, drawn)] : [])]
  }
  if (call.onFailure === "release") return [drawn]
  return known > 0 ? [known] : call.onFailure === "estimate" ? [0, call.estimate] : [0]
}

/** More sums aren't distinguished. */
const mostSums = 20_000

const sums = (a: ReadonlySet<number>, b: ReadonlySet<number>): ReadonlySet<number> | undefined => {
  if (a.size * b.size > mostSums) return undefined
  const made = new Set<number>()
  for (const first of a) for (const second of b) made.add(first + second)
  return made
}

/** Whether a write of a call has met a fault, or may have. */
export const isDisturbedBy = (
  { disks, plan }: Stage,
  { beganAtMs, call, program, reservationId }: Observation
): boolean => {
  const disk = disks[plan.clients[call.client]?.journal ?? 0]
  if (disk === undefined) return false
  if (disk.unopened.has(program.process)) return true
  if (reservationId !== undefined) return disk.promised.get(reservationId)?.isDisturbed === true
  // The id of a call without a reservation exists only in the client.
  if (beganAtMs === undefined) return false
  for (const [id, { isDisturbed }] of disk.promised) if (isDisturbed && id.startsWith("unreserved-")) return true
  return false
}
