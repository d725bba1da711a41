/** The ranges of durations and the values of policies, for the configuration and for the options of a call. */
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Duration from "effect/Duration"
import type { OnCrash, OnFailure, Settle } from "../../CyclesConfig.ts"
import type { Heartbeat } from "../../Heartbeat.ts"

/** One option that is out of range, in the shape of `InvalidRequest.fields`. */
export interface Problem {
  readonly field: string
  readonly expected: string
  readonly actual: string
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** Minimum and maximum, in milliseconds. */
const durations = {
  ttl: [1_000, dayMs],
  extendBy: [1, dayMs],
  gracePeriod: [0, 60_000],
  maxRetryAfter: [0, hourMs],
  timeout: [1, hourMs],
  flushTimeout: [0, hourMs],
  scanInterval: [1_000, dayMs],
  idleProbeAfter: [0, dayMs]
} as const satisfies Readonly<Record<string, readonly [number, number]>>

interface Literals {
  readonly overagePolicy: OveragePolicy
  readonly heartbeat: Heartbeat
  readonly onFailure: OnFailure
  readonly onCrash: OnCrash
  readonly settle: Settle
  readonly onUnsettled: "report" | "fail"
}

const literals: { readonly [K in keyof Literals]: ReadonlyArray<Literals[K]> } = {
  overagePolicy: ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"],
  heartbeat: ["warn", "failOnFinalize", "cancel"],
  onFailure: ["partial", "estimate", "release"],
  onCrash: ["expire", "recorded", "estimate"],
  settle: ["attempt", "wait", "background"],
  onUnsettled: ["report", "fail"]
}

/** Parses options and collects the invalid ones. */
export interface Reader {
  /** The option in whole milliseconds; nothing if it is absent or invalid. */
  readonly duration: (name: keyof typeof durations, value: Duration.Input | undefined) => number | undefined
  /** The option; nothing if it is absent or invalid. */
  readonly literal: <K extends keyof Literals>(name: K, value: Literals[K] | undefined) => Literals[K] | undefined
}

/** Makes a reader that adds to `problems`. */
export const reader = (problems: Array<Problem>): Reader => ({
  duration: (name, value) => {
    if (value === undefined) return undefined
    const [minimum, maximum] = durations[name]
    const given = millisOf(value)
    if (given !== undefined && given >= minimum && given <= maximum) return given
    problems.push({
      field: name,
      expected: `${formatMillis(minimum)} to ${formatMillis(maximum)}`,
      actual: show(value)
    })
    return undefined
  },
  literal: (name, value) => {
    if (value === undefined) return undefined
    const known = literals[name]
    if (known.includes(value)) return value
    problems.push({ field: name, expected: `one of ${known.join(", ")}`, actual: show(value) })
    return undefined
  }
})

/** One duration of a call in whole milliseconds, or the problem with it. */
export const durationOf = (name: keyof typeof durations, value: Duration.Input): number | Problem => {
  const problems: Array<Problem> = []
  const read = reader(problems).duration(name, value)
  return read ?? problems[0] ?? 0
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const millisOf = (value: Duration.Input): number | undefined => {
  try {
    if (typeof value === "number" && !Number.isFinite(value)) return undefined
    const millis = Math.round(Duration.toMillis(Duration.fromInputUnsafe(value)))
    return Number.isFinite(millis) ? millis : undefined
  } catch {
    return undefined
  }
}

const formatMillis = (millis: number): string => (millis === 0 ? "0 ms" : Duration.format(Duration.millis(millis)))

const show = (value: unknown): string => {
  try {
    return Duration.isDuration(value) ? Duration.format(value) : String(value)
  } catch {
    return "an unreadable value"
  }
}
