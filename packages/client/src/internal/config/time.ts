/**
 * Monotonic time, and durations from the configuration. Leases and round-trip times are measured by the monotonic clock
 * only.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"

/** The monotonic clock in milliseconds. Only differences are meaningful. */
export const nowMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

/** A shorter timeout is probably meant in seconds, because no server responds reliably in less. */
export const suspiciousTimeoutMs = 100

/** A value that isn't a duration within its limits, in the shape of `InvalidRequest.fields`. */
export interface Problem {
  readonly field: string
  readonly expected: string
  readonly actual: string
}

/** A duration in whole milliseconds, as the protocol requires, or the problem with it. */
export const readDuration = (
  field: string,
  value: Duration.Input,
  [minimumMs, maximumMs]: readonly [number, number]
): number | Problem => {
  const ms = millisOf(value)
  return ms >= minimumMs && ms <= maximumMs
    ? ms
    : { field, expected: `${formatMillis(minimumMs)} to ${formatMillis(maximumMs)}`, actual: shown(value, ms) }
}

/** The message of a `RangeError` about problems. */
export const messageOf = (problems: ReadonlyArray<Problem>): string =>
  problems.map(({ actual, expected, field }) => `${field} must be ${expected}, got ${actual}`).join("; ")

/** A duration in whole milliseconds. Throws a `RangeError` with the field, the limits and the value otherwise. */
export const durationWithin = (field: string, value: Duration.Input, minimumMs: number, maximumMs: number): number => {
  const read = readDuration(field, value, [minimumMs, maximumMs])
  if (typeof read === "number") return read
  throw new RangeError(messageOf([read]))
}

/** The milliseconds of a duration; NaN if the value isn't one. Effect itself converts NaN to 0. */
const millisOf = (value: Duration.Input): number => {
  try {
    if (typeof value === "number" && Number.isNaN(value)) return Number.NaN
    const isWritten = typeof value === "object" && !Duration.isDuration(value)
    if (isWritten && Object.values(value).some(Number.isNaN)) return Number.NaN
    const ms = Duration.toMillis(Duration.fromInputUnsafe(value))
    return ms < 0 ? Math.floor(ms) : Math.round(ms)
  } catch {
    return Number.NaN
  }
}

const formatMillis = (ms: number): string => (ms === 0 ? "0 ms" : Duration.format(Duration.millis(ms)))

const shown = (value: unknown, ms: number): string => {
  try {
    if (typeof value !== "object") return String(value)
    return Number.isNaN(ms) ? "object" : Duration.format(Duration.millis(ms))
  } catch {
    return "an unreadable value"
  }
}
