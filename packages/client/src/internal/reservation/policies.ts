/** The policies of a client with all defaults, validated and in milliseconds. */
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Schedule from "effect/Schedule"
import * as Struct from "effect/Struct"
import type { CyclesConfig, Mode, Nested, OnCrash, OnFailure, OnUnreachable, Settle } from "../../CyclesConfig.ts"
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
  readonly onUnreachable: OnUnreachable
  readonly nested: Nested
  readonly settle: Settle
}

/** The options of a client or of a call that set policies. */
export interface PolicyOptions extends Pick<
  CyclesConfig,
  | "ttl"
  | "extendBy"
  | "gracePeriod"
  | "maxRetryAfter"
  | "overagePolicy"
  | "onFailure"
  | "onCrash"
  | "onUnreachable"
  | "nested"
  | "settle"
> {
  /** Only a call sets it. */
  readonly heartbeat?: Heartbeat | undefined
}

/** The configuration of a client. */
export interface Resolved {
  readonly baseUrl: string
  readonly mode: Mode
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

const defaults: Policies = {
  ttlMs: 60_000,
  extendByMs: 60_000,
  gracePeriodMs: undefined,
  maxRetryAfterMs: 0,
  overagePolicy: undefined,
  heartbeat: "warn",
  onFailure: "partial",
  onCrash: "expire",
  onUnreachable: "fail",
  nested: "independent",
  settle: "attempt"
}

/** Adds the defaults. Throws a `RangeError` with every option that is out of range. */
export const resolve = (
  config: CyclesConfig,
  { baseUrl, timeoutMs }: Pick<Connection, "baseUrl" | "timeoutMs">
): Resolved => {
  const problems: Array<Problem> = []
  const reader = Limits.reader(problems)
  const policies = read(reader, config, defaults, undefined)
  const resolved: Resolved = {
    baseUrl,
    mode: reader.literal("mode", config.mode) ?? "enforce",
    subject: config.subject ?? none,
    extendByMs: config.extendBy === undefined ? undefined : policies.extendByMs,
    policies,
    retry: config.retry ?? retryPolicy(),
    timeoutMs,
    flushTimeoutMs: reader.duration("flushTimeout", config.flushTimeout) ?? 10_000,
    scanIntervalMs: reader.duration("scanInterval", config.scanInterval) ?? 60_000
  }
  // The tenant identifies the owner of the journal, before a request is made and validated.
  const tenant: unknown = resolved.subject.tenant
  if (tenant !== undefined && typeof tenant !== "string") {
    problems.push({ field: "subject.tenant", expected: "a string", actual: typeof tenant })
  }
  if (problems.length > 0) throw new RangeError(messageOf(problems))
  return resolved
}

/**
 * Reads policies, which are the defaults themselves if no option differs from them. An absent `extendBy` is `extendByMs` or, if that is
 * absent too, the `ttl`.
 */
export const read = (
  reader: Limits.Reader,
  options: PolicyOptions,
  defaults: Policies,
  extendByMs: number | undefined
): Policies => {
  const ttlMs = reader.duration("ttl", options.ttl) ?? defaults.ttlMs
  const policies: Policies = {
    ttlMs,
    extendByMs: reader.duration("extendBy", options.extendBy) ?? extendByMs ?? ttlMs,
    gracePeriodMs: reader.duration("gracePeriod", options.gracePeriod) ?? defaults.gracePeriodMs,
    maxRetryAfterMs: reader.duration("maxRetryAfter", options.maxRetryAfter) ?? defaults.maxRetryAfterMs,
    overagePolicy: reader.literal("overagePolicy", options.overagePolicy) ?? defaults.overagePolicy,
    heartbeat: reader.literal("heartbeat", options.heartbeat) ?? defaults.heartbeat,
    onFailure: reader.literal("onFailure", options.onFailure) ?? defaults.onFailure,
    onCrash: reader.literal("onCrash", options.onCrash) ?? defaults.onCrash,
    onUnreachable: reader.literal("onUnreachable", options.onUnreachable) ?? defaults.onUnreachable,
    nested: reader.literal("nested", options.nested) ?? defaults.nested,
    settle: reader.literal("settle", options.settle) ?? defaults.settle
  }
  return Struct.keys(policies).every((name) => policies[name] === defaults[name]) ? defaults : policies
}
