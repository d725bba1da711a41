/**
 * Monotonic milliseconds, and durations that a user gave.
 *
 * Leases and round trips are measured by these alone: never by a wall clock, never by the `Date` header.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"

/** Milliseconds of the monotonic clock; only differences mean something. */
export const nowMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

/** A duration in whole milliseconds, as the protocol has it. */
export const millis = (duration: Duration.Input): number =>
  Math.round(Duration.toMillis(Duration.fromInputUnsafe(duration)))

/** A duration in whole milliseconds. Anything outside of the limits throws a `RangeError` that names field, limits and value. */
export const durationWithin = (name: string, value: Duration.Input, minimumMs: number, maximumMs: number): number => {
  const ms = millisOf(value)
  if (ms >= minimumMs && ms <= maximumMs) return ms
  const range = `${Duration.format(Duration.millis(minimumMs))} to ${Duration.format(Duration.millis(maximumMs))}`
  throw new RangeError(`${name} must be ${range}, got ${shown(value, ms)}`)
}

/** NaN for a value that isn't a duration: Effect reads NaN and negative numbers as 0. */
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
