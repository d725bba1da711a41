/**
 * Monotonic time, and durations from the configuration. Leases and round-trip times are measured by the monotonic clock
 * only.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"

/** The monotonic clock in milliseconds. Only differences are meaningful. */
export const nowMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

/** A duration in whole milliseconds, as the protocol requires. */
export const millis = (duration: Duration.Input): number =>
  Math.round(Duration.toMillis(Duration.fromInputUnsafe(duration)))

/**
 * A duration in whole milliseconds. Throws a `RangeError` with the field, the limits and the value if it is out of
 * range.
 */
export const durationWithin = (name: string, value: Duration.Input, minimumMs: number, maximumMs: number): number => {
  const ms = millisOf(value)
  if (ms >= minimumMs && ms <= maximumMs) return ms
  const range = `${Duration.format(Duration.millis(minimumMs))} to ${Duration.format(Duration.millis(maximumMs))}`
  throw new RangeError(`${name} must be ${range}, got ${shown(value, ms)}`)
}

/** The milliseconds of a duration; NaN if the value isn't one. Effect itself converts NaN and negative numbers to 0. */
const millisOf = (value: Duration.Input): number => {
  if (typeof value === "number" && !(value >= 0)) return Number.NaN
  try {
    const isWritten = typeof value === "object" && !Duration.isDuration(value)
    if (isWritten && Object.values(value).some(Number.isNaN)) return Number.NaN
    return millis(value)
  } catch {
    return Number.NaN
  }
}

const shown = (value: Duration.Input, ms: number): string => {
  if (typeof value === "number" || typeof value === "string" || typeof value === "bigint") return String(value)
  return Number.isNaN(ms) ? typeof value : Duration.format(Duration.fromInputUnsafe(value))
}
