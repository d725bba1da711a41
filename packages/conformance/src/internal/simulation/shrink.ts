/**
 * Shrinks a failing world: fewer calls, fewer faults, fewer clients, plainer calls, as long as the same invariant is
 * violated.
 */
import type { Call, Plan } from "./plan.ts"
import type { Result } from "./simulation.ts"
import { run } from "./simulation.ts"

/** A failing world that can't be made smaller. */
export interface Shrunk {
  readonly plan: Plan
  /** The identities of the faults that are needed. */
  readonly faults: ReadonlySet<string>
  /** The result, with its trace. */
  readonly result: Result
  /** How many worlds were tried. */
  readonly tried: number
}

/** The most worlds that are tried. */
const mostTries = 600

/** Shrinks a failing world. */
export const shrink = async (plan: Plan, result: Result): Promise<Shrunk> => {
  const wanted = kindOf(result.violations[0] ?? "")
  let tried = 0
  let best = { plan, faults: result.met }
  const fails = async (plan: Plan, faults: ReadonlySet<string>): Promise<boolean> => {
    if (tried >= mostTries) return false
    tried += 1
    const { met, violations } = await run(plan, { only: faults })
    if (!violations.some((violation) => kindOf(violation) === wanted)) return false
    best = { plan, faults: met }
    return true
  }

  const calls = async (): Promise<void> => {
    await minimize(best.plan.calls, (calls) => fails({ ...best.plan, calls }, best.faults))
  }
  const faults = async (): Promise<void> => {
    if (await fails(best.plan, new Set())) return
    await minimize(Array.from(best.faults), (faults) => fails(best.plan, new Set(faults)))
  }
  const options = async (): Promise<void> => {
    for (const { id } of best.plan.calls) {
      for (const plainer of plain) {
        const calls = best.plan.calls.map((call) => (call.id === id ? { ...call, ...plainer } : call))
        if (JSON.stringify(calls) !== JSON.stringify(best.plan.calls)) await fails({ ...best.plan, calls }, best.faults)
      }
    }
  }
  const clients = async (): Promise<void> => {
    await fails(
      { ...best.plan, clients: best.plan.clients.map((client) => ({ ...client, rate: 1, wallOffsetMs: 0 })) },
      best.faults
    )
    await fails(
      { ...best.plan, clients: best.plan.clients.map((client) => ({ ...client, maxConcurrency: 64 })) },
      best.faults
    )
    const without = { pool: undefined, runs: [] }
    for (const at of best.plan.clients.keys()) {
      const clients = best.plan.clients.map((client, index) => (index === at ? { ...client, ...without } : client))
      await fails({ ...best.plan, clients }, best.faults)
    }
    await fails({ ...best.plan, rates: { ...best.plan.rates, telemetry: 0 } }, best.faults)
  }

  const mentioned = new Set(
    result.violations.flatMap((text) => Array.from(text.matchAll(/call (\d+)/g), ([, id]) => Number(id)))
  )
  const own = plan.calls.filter(({ id }) => mentioned.has(id))
  if (own.length > 0) await fails({ ...plan, calls: own }, best.faults)
  await calls()
  await faults()
  await calls()
  await clients()
  await options()
  await faults()
  const shrunk = {
    ...best.plan,
    incidents: best.plan.incidents.filter(({ id, what }) => best.faults.has(`incident ${id} ${what}`))
  }
  return {
    plan: shrunk,
    faults: best.faults,
    result: await run(shrunk, { only: best.faults, isRecorded: true }),
    tried
  }
}

/** Options that make a call plainer, one at a time. */
const plain: ReadonlyArray<Partial<Call>> = [
  { interruptAfterMs: undefined },
  { broken: undefined },
  { isUninterruptible: false },
  { run: undefined },
  { isInPool: false },
  { inside: undefined },
  { key: undefined },
  { onUnreachable: "fail" },
  { onRepeat: "refuse" },
  { settle: "attempt" },
  { onFailure: "partial" },
  { onCrash: "expire" },
  { heartbeat: "warn" },
  { onUnsettled: "report" },
  { overage: "ALLOW_IF_AVAILABLE" },
  { agent: "big" },
  { ending: "success" },
  { records: false },
  { form: "effect" },
  { bodyMs: 1_000 }
]

/** A violation without its names and numbers. */
const kindOf = (violation: string): string =>
  violation
    .replace(/\(.*\)/, "")
    .replace(/(client )?[a-zA-Z]?\d[\d.]*/g, "N")
    .slice(0, 60)

/** Removes items while the rest still fails. */
const minimize = async <A>(
  items: ReadonlyArray<A>,
  fails: (items: ReadonlyArray<A>) => Promise<boolean>
): Promise<void> => {
  let rest = items
  for (let size = Math.ceil(rest.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < rest.length && rest.length > 1;) {
      const fewer = [...rest.slice(0, from), ...rest.slice(from + size)]
      if (fewer.length > 0 && fewer.length < rest.length && (await fails(fewer))) rest = fewer
      else from += size
    }
  }
}
