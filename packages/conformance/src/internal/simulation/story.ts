/** The story of a shrunk world: every event on a numbered line, in the order of virtual time. */
import * as Calls from "./calls.ts"
import type { Shrunk } from "./shrink.ts"

/** Formats a shrunk world. */
export const storyOf = ({ faults, plan, result, tried }: Shrunk): string => {
  const clients = new Set(plan.calls.map(({ client }) => client))
  // The last calls of each client check that it still works.
  const last = new Set(
    result.lines.flatMap(({ what }) => /reserve x.*"reservation_id":"(\w+)"/.exec(what)?.slice(1) ?? [])
  )
  const isOfLast = (what: string): boolean =>
    last.has(/^(?:put|remove|putOpen|removeOpen) (\w+)$/.exec(what)?.[1] ?? "")
  const lines = result.lines.filter(({ what, who }) => isRelevant(who, what) && !isOfLast(what))
  return [
    `Shrunk to ${plan.calls.length} calls of ${clients.size} clients with ${faults.size} faults (${tried} worlds tried):`,
    ...plan.calls.map(
      (call) => `  call ${call.id} at ${seconds(call.atMs)} by client ${call.client} ${Calls.describe(call)}`
    ),
    ...Array.from(faults, (fault) => `  fault: ${fault}`),
    "",
    ...lines.map(
      ({ atMs, what, who }, at) => `${String(at + 1).padStart(4)}. ${seconds(atMs).padStart(10)}  ${who}: ${what}`
    ),
    "",
    ...result.violations.map((violation) => `=> ${violation}`)
  ].join("\n")
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(3)} s`

/** Leaves out the scans, which repeat until the end. */
const isRelevant = (who: string, what: string): boolean =>
  who !== "check" && !/^(pending|adoptOpen|open) $/.test(what) && !/test:control|(reserve|commit) x/.test(what)
