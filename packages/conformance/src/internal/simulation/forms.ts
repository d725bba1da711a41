/**
 * The forms in which calls share budgets: pools, guards that join, runs that hold their budgets, calls that run while
 * the server is away, and caller-supplied keys that are used again. A second generator selects them, and half of the
 * worlds have none.
 */
import type { Below } from "../generator.ts"
import { generator, pick } from "../generator.ts"
import type { Call, Client, Plan, PoolPlan } from "./plan.ts"

/** Adds forms to a world. */
export const withForms = (plan: Plan): Plan => {
  const below = generator(plan.seed ^ 0x2545f491)
  if (below(2) === 0) return plan
  const clients = plan.clients.map((client) => withBudgets(client, below))
  const calls = plan.calls.map((call) => withOptions(call, clients[call.client], below))
  return { ...plan, clients, calls: withNested(calls, below) }
}

const withBudgets = (client: Client, below: Below): Client => ({
  ...client,
  runs: client.runs.map((run) => ({ ...run, hold: below(2) === 0 })),
  pool: below(3) === 0 ? undefined : pool(below)
})

const pool = (below: Below): PoolPlan => {
  const size = 1_000 + below(8) * 1_000
  return {
    size,
    lowMark: pick(below, [0, Math.floor(size / 4), Math.floor(size / 2)]),
    maxAgeMs: pick(below, [10_000, 60_000, 300_000]),
    ttlMs: pick(below, [20_000, 60_000]),
    durability: pick<PoolPlan["durability"]>(below, ["journal", "journal", "memory"]),
    agent: pick(below, ["big", "big", "big", "small", "frozen"])
  }
}

const withOptions = (call: Call, client: Client | undefined, below: Below): Call => {
  const onUnreachable = pick<Call["onUnreachable"]>(below, ["fail", "fail", "allow"])
  const onRepeat = pick<Call["onRepeat"]>(below, ["refuse", "ifReleased", "again"])
  const isInPool = below(2) === 0 && client?.pool !== undefined
  if (call.form === "event") return call
  if (call.key !== undefined) return { ...call, onRepeat, onUnreachable }
  const agent = isInPool && below(6) > 0 ? (client?.pool?.agent ?? call.agent) : call.agent
  return { ...call, isInPool, agent, onUnreachable }
}

/** Moves some calls into the bodies of earlier ones. */
const withNested = (calls: ReadonlyArray<Call>, below: Below): ReadonlyArray<Call> => {
  const made: Array<Call> = []
  let outer: Call | undefined
  let rest = 0
  for (const call of calls) {
    const canJoin = call.form !== "event" && call.key === undefined
    if (outer !== undefined && rest > 0 && canJoin && call.client === outer.client) {
      rest -= 1
      made.push(inner(call, outer, below))
    } else if (rest === 0 && canJoin && call.form === "effect" && below(8) === 0) {
      rest = 1 + below(3)
      outer = { ...plain(call), estimate: call.estimate * (1 + below(4)) }
      made.push(outer)
    } else made.push(call)
  }
  return made
}

const inner = (call: Call, outer: Call, below: Below): Call => ({
  ...plain(call),
  inside: outer.id,
  isDetached: below(4) === 0,
  run: outer.run,
  isInPool: outer.isInPool,
  agent: outer.agent,
  interruptAfterMs: undefined
})

/** Without late spend and broken amounts, whose effect on the call around it isn't known. */
const plain = (call: Call): Call => ({
  ...call,
  ending: call.ending === "late" ? "success" : call.ending,
  broken: call.broken === "actual" || call.broken === "metrics" ? undefined : call.broken
})
