/** The policies of a client with all defaults, validated and in milliseconds. */
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Schedule from "effect/Schedule"
import type { CyclesConfig, OnCrash, OnFailure, Settle } from "../../CyclesConfig.ts"
import type { Heartbeat } from "../../Heartbeat.ts"
import { none } from "../../Subject.ts"
import { retryPolicy } from "../config/retryPolicy.ts"
import type { Problem } from "../config/time.ts"
import { messageOf } from "../config/time.ts"
import type { Connection } from "../transport/connection.ts"
import * as Limits from "./limits.ts"

/** The policies of one reservation. */
export interface Policies {
  readonly ttlMs: number
  readonly extendByMs: number
  readonly gracePeriodMs: number | undefined
  readonly maxRetryAfterMs: number
  readonly overagePolicy: OveragePolicy | undefined
  readonly heartbeat: Heartbeat
  readonly onFailure: OnFailure
  readonly onCrash: OnCrash
  readonly settle: Settle
}

/** The configuration of a client. */
export interface Resolved {
  readonly baseUrl: string
  readonly subject: Subject
  /** The configured extension. If it is absent, a call extends by its own `ttl`. */
  readonly extendByMs: number | undefined
  /** The default policies of a call. */
  readonly policies: Policies
  readonly retry: Schedule.Schedule<unknown>
  readonly timeoutMs: number
  readonly flushTimeoutMs: number
  readonly scanIntervalMs: number
}

/** Adds the defaults. Throws a `RangeError` with every option that is out of range. */
export const resolve = (
  config: CyclesConfig,
  { baseUrl, timeoutMs }: Pick<Connection, "baseUrl" | "timeoutMs">
): Resolved => {
  const problems: Array<Problem> = []
  const read = Limits.reader(problems)
  const ttlMs = read.duration("ttl", config.ttl) ?? 60_000
  const extendByMs = read.duration("extendBy", config.extendBy)
  const resolved: Resolved = {
    baseUrl,
    subject: config.subject ?? none,
    extendByMs,
    policies: {
      ttlMs,
      extendByMs: extendByMs ?? ttlMs,
      gracePeriodMs: read.duration("gracePeriod", config.gracePeriod),
      maxRetryAfterMs: read.duration("maxRetryAfter", config.maxRetryAfter) ?? 0,
      overagePolicy: read.literal("overagePolicy", config.overagePolicy),
      heartbeat: "warn",
      onFailure: read.literal("onFailure", config.onFailure) ?? "partial",
      onCrash: read.literal("onCrash", config.onCrash) ?? "expire",
      settle: read.literal("settle", config.settle) ?? "attempt"
    },
    retry: config.retry ?? retryPolicy(),
    timeoutMs,
    flushTimeoutMs: read.duration("flushTimeout", config.flushTimeout) ?? 10_000,
    scanIntervalMs: read.duration("scanInterval", config.scanInterval) ?? 60_000
  }
  if (problems.length > 0) throw new RangeError(messageOf(problems))
  return resolved
}
