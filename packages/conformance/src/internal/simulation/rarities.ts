/**
 * Rare events of a world: callbacks that don't report an amount, spend that is recorded twice after a settlement,
 * flushes, clocks that jump by days, machines that are off for days, and journals that several processes replay at
 * once. A third generator selects them.
 */
import type { Below } from "../generator.ts"
import { generator, pick } from "../generator.ts"
import type { Call, Incident, Plan } from "./plan.ts"

/** Adds rare events to a world. */
export const withRarities = (plan: Plan): Plan => {
  const below = generator(plan.seed ^ 0x1b873593)
  const outer = new Set(plan.calls.map(({ inside }) => inside))
  const calls = plan.calls.map((call) => {
    const number = below(60)
    return call.inside !== undefined || outer.has(call.id) ? call : withCallbacks(call, number)
  })
  const incidents = plan.incidents.length === 0 ? [] : incidentsOf(plan, below)
  return {
    ...plan,
    calls,
    isReplayedByAll: below(3) === 0,
    incidents: [...plan.incidents, ...incidents].toSorted((a, b) => a.atMs - b.atMs)
  }
}

const withCallbacks = (call: Call, number: number): Call => {
  if (call.ending === "late" && number < 30) return { ...call, lateRecords: 2 }
  if (call.broken !== undefined || number >= 4) return call
  if (call.form === "stream") return { ...call, broken: "usage" }
  const isRecorded = call.form === "effect" || (call.form === "byHand" && !["success", "release"].includes(call.ending))
  return isRecorded && call.ending !== "late" ? { ...call, broken: "record", records: false } : call
}

const dayMs = 86_400_000

const incidentsOf = (plan: Plan, below: Below): ReadonlyArray<Incident> => {
  let id = plan.incidents.reduce((most, incident) => Math.max(most, incident.id), 0)
  const atMs = (): number => 1_000 + below(plan.untilMs)
  const make = (incident: Omit<Incident, "id">): Incident => ({ id: (id += 1), ...incident })
  const client = (): number => below(plan.clients.length)
  const flushes = Array.from({ length: below(3) }, () =>
    make({ what: "flush", atMs: atMs(), whom: client(), forMs: 0 })
  )
  if (below(6) === 0) flushes.push(...unwritten(plan, below, make))
  if (below(8) === 0) return [...flushes, ...vanishing(plan, below, make)]
  // The age of a record, in days, is that of the wall clock: a jump by a week would make it too old to be sent again.
  const jumps = Array.from({ length: below(4) === 0 ? 1 + below(2) : 0 }, () =>
    make({ what: "wallJump", atMs: atMs(), whom: client(), forMs: pick(below, [-9, -2, -1, 1, 2]) * dayMs })
  )
  return [...flushes, ...jumps]
}

/** A flush while neither the server nor the journal accepts spend. */
const unwritten = (
  plan: Plan,
  below: Below,
  make: (incident: Omit<Incident, "id">) => Incident
): ReadonlyArray<Incident> => {
  const atMs = 1_000 + below(plan.untilMs)
  const whom = below(plan.clients.length)
  return [
    make({ what: "partition", atMs, whom, forMs: 60_000 }),
    make({ what: "diskFull", atMs, whom: plan.clients[whom]?.journal ?? 0, forMs: 60_000 }),
    make({ what: "flush", atMs: atMs + 5_000, whom, forMs: 0 })
  ]
}

/** Before a machine is off, its clients get no responses: the server may have applied what they repeat days later. */
const vanishing = (
  plan: Plan,
  below: Below,
  make: (incident: Omit<Incident, "id">) => Incident
): ReadonlyArray<Incident> => {
  const forMs = 5_000 + below(60_000)
  const atMs = 1_000 + below(plan.untilMs)
  const whom = below(plan.journals)
  return [
    make({ what: "deaf", atMs, whom, forMs: forMs + 1_000 }),
    make({ what: "vanish", atMs: atMs + forMs, whom, forMs: 0 })
  ]
}
