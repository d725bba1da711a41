/** Differences that are intended or harmless, each with its reason. They aren't reported. */
import type { Step } from "../traffic/step.ts"
import type { Difference } from "./compare.ts"

/** A known difference. */
export interface Known {
  readonly reason: string
  readonly matches: (difference: Difference, step: Step) => boolean
}

const atPath = (pattern: RegExp) => (difference: Difference) => pattern.test(difference.path)

/** Those of any two servers. */
export const always: ReadonlyArray<Known> = [
  {
    reason: "A cursor is opaque: a server may encode it in any way",
    matches: ({ a, b, path }) => path.endsWith("next_cursor") && typeof a === "string" && typeof b === "string"
  }
]

/**
 * Those between the embedded server and the reference server, with `--reference`. The guide to the embedded server
 * lists them with their reasons.
 */
export const reference: ReadonlyArray<Known> = [
  { reason: "Messages are for people; programs read the code", matches: atPath(/^body\.(message|details)/) },
  {
    reason: "An unknown path or a wrong method is the caller's fault: 404 or 405, not 500 or 403",
    matches: (_, { operation }) => operation === "unknown"
  },
  {
    reason: "Numbers aren't converted from text, and fractions aren't cut: 400",
    matches: ({ a, b, path }, { isMutated }) => isMutated && path === "status" && (a === 400 || b === 400)
  },
  {
    reason: "Policies take effect, permissions and scope filters are enforced by the runtime plane",
    matches: ({ a, b, path }) => path === "status" && [403, 429].some((status) => a === status || b === status)
  },
  { reason: "A changed default of a tenant is in force at once", matches: atPath(/overage_policy|expires_at_ms$/) }
]
