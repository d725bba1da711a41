/** The ranges of durations and the values of policies, for the configuration and for the options of a call. */
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type * as Duration from "effect/Duration"
import type { Mode, Nested, OnCrash, OnFailure, OnUnreachable, Settle } from "../../CyclesConfig.ts"
import type { Heartbeat } from "../../Heartbeat.ts"
import type { OnRepeat } from "../models/guardOptions.ts"
import type { Problem } from "../config/time.ts"
import { readDuration } from "../config/time.ts"

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** Minimum and maximum, in milliseconds. */
const durations = {
  ttl: [1_000, dayMs],
  extendBy: [1, dayMs],
  gracePeriod: [0, 60_000],
  maxRetryAfter: [0, hourMs],
  flushTimeout: [0, hourMs],
  scanInterval: [1_000, dayMs]
} as const satisfies Readonly<Record<string, readonly [number, number]>>

interface Literals {
  readonly overagePolicy: OveragePolicy
  readonly heartbeat: Heartbeat
  readonly onFailure: OnFailure
  readonly onCrash: OnCrash
  readonly mode: Mode
  readonly onUnreachable: OnUnreachable
  readonly nested: Nested
  readonly settle: Settle
  readonly onUnsettled: "report" | "fail"
  readonly onRepeat: OnRepeat
}

const literals: { readonly [K in keyof Literals]: ReadonlyArray<Literals[K]> } = {
  overagePolicy: ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"],
  heartbeat: ["warn", "failOnFinalize", "cancel"],
  onFailure: ["partial", "estimate", "release"],
  onCrash: ["expire", "recorded", "estimate"],
  mode: ["enforce", "shadow"],
  onUnreachable: ["fail", "allow"],
  nested: ["independent", "join", "reject"],
  settle: ["attempt", "wait", "background"],
  onUnsettled: ["report", "fail"],
  onRepeat: ["refuse", "ifReleased", "again"]
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
    const read = durationOf(name, value)
    if (typeof read === "number") return read
    problems.push(read)
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

/** One duration in whole milliseconds, or the problem with it. */
export const durationOf = (name: keyof typeof durations, value: Duration.Input): number | Problem =>
  readDuration(name, value, durations[name])

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const show = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return "an unreadable value"
  }
}
