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
