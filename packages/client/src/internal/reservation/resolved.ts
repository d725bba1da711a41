/**
 * The policies of a client as they hold: in milliseconds, in range, and with every default filled in.
 */
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Schedule from "effect/Schedule"
import type { CyclesConfig, OnFailure, Settle } from "../../CyclesConfig.ts"
import { retryPolicy } from "../../CyclesConfig.ts"
import type * as HeartbeatPolicy from "../../Heartbeat.ts"
import { none } from "../../Subject.ts"
import { durationWithin } from "../config/time.ts"

/** The policies of a client. */
export interface Resolved {
  readonly baseUrl: string
  readonly subject: Subject
  readonly ttlMs: number
  readonly extendByMs: number | undefined
  readonly gracePeriodMs: number | undefined
  readonly overagePolicy: OveragePolicy | undefined
  readonly heartbeat: HeartbeatPolicy.Policy
  readonly onFailure: OnFailure
  readonly settle: Settle
  readonly retry: Schedule.Schedule<unknown>
  readonly timeoutMs: number
  readonly maxRetryAfterMs: number
  readonly flushTimeoutMs: number
  readonly rescanIntervalMs: number
}

/** Fills in every default. Options out of range throw a `RangeError`. */
export const resolve = (config: CyclesConfig, baseUrl: string): Resolved => ({
  baseUrl,
  subject: config.subject ?? none,
  ttlMs: durationWithin("ttl", config.ttl ?? "60 seconds", 1_000, 86_400_000),
  extendByMs: config.extendBy === undefined ? undefined : durationWithin("extendBy", config.extendBy, 1, 86_400_000),
  gracePeriodMs:
    config.gracePeriod === undefined ? undefined : durationWithin("gracePeriod", config.gracePeriod, 0, 60_000),
  overagePolicy: config.overagePolicy,
  heartbeat: config.heartbeat ?? "warn",
  onFailure: config.onFailure ?? "partial",
  settle: config.settle ?? "attempt",
  retry: config.retry ?? retryPolicy(),
  timeoutMs: durationWithin("timeout", config.timeout ?? "10 seconds", 1, 3_600_000),
  maxRetryAfterMs: durationWithin("maxRetryAfter", config.maxRetryAfter ?? 0, 0, 3_600_000),
  flushTimeoutMs: durationWithin("flushTimeout", config.flushTimeout ?? "10 seconds", 0, 3_600_000),
  rescanIntervalMs: durationWithin("rescanInterval", config.rescanInterval ?? "60 seconds", 1_000, 86_400_000)
})
