/**
 * What a client has to be told: the server, the keys, whose spend it is, and the policies that hold where a call does
 * not say otherwise.
 *
 * Source: the `CYCLES_*` variables are those of the other clients; each field has its default.
 */
import * as Subject from "@effect-cycles/protocol/Subject"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import * as Env from "./internal/config/env.ts"
import { retryPolicy } from "./internal/config/retryPolicy.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The connection to a server: what `CyclesClient` needs. */
export interface ClientConfig {
  /** `http://` or `https://`, with or without a path; trailing slashes and a trailing `/v1` are ignored. */
  readonly baseUrl: string | URL
  /** The key of the tenant, sent as `X-Cycles-API-Key`. */
  readonly apiKey: Redacted.Redacted
  /** The administrator's key, for the reads and the release that allow it (`X-Admin-API-Key`). */
  readonly adminKey?: Redacted.Redacted | undefined
  /** The time limit of one call, the time it waits to be sent included, 1 ms to 1 h. Default 10 s: a key check can take 9 s. */
  readonly timeout?: Duration.Input | undefined
  /**
   * How many calls are in flight at once, 3 to 10,000. Default 64. Lease extensions go first, then settlements, then callers; a
   * sixteenth of the places, at least one, is guaranteed to each. Bodies don't count.
   */
  readonly maxConcurrency?: number | undefined
  /**
   * After this long without a response the next call, the idle probe, goes first and others wait for it, at most 1 s: a server
   * that checks keys slowly and remembers the result then checks once, not once for each call of a burst. 1 s to 24 h. Default
   * 50 s: the reference server remembers a key for 60 s.
   */
  readonly idleProbeAfter?: Duration.Input | undefined
}

/** What happens to the spend of a body that did not succeed. */
export type OnFailure =
  /** What was recorded is committed, the rest goes back; nothing recorded means release. */
  | "partial"
  /** What was recorded is committed; where nothing was recorded, the estimate is. */
  | "estimate"
  /** Everything goes back, whatever was recorded: for acts that cost nothing when they fail. */
  | "release"

/** How long the caller waits for the settlement. The journal is written before the caller continues, in every mode. */
export type Settle =
  /** For the journal (at most 2 s) and the first attempt (at most one `timeout`). Further attempts run in the background. */
  | "attempt"
  /** Until the settlement is final, or until the attempts of this run are used up. */
  | "wait"
  /** For the journal only: the caller gets `Pending`, and all attempts run in the background. */
  | "background"

/**
 * What happens to the spend of a body whose process dies.
 *
 * With `recorded` and `estimate` the open reservation is journaled before the body starts, and `record` and `add` return
 * when the new total is durable. The next client on the same journal commits it.
 */
export type OnCrash =
  /** Nothing: the lease runs out, and the spend of the body isn't charged. */
  | "expire"
  /** The recorded total is committed. */
  | "recorded"
  /** The recorded total is committed; the estimate if nothing was recorded. */
  | "estimate"

/** A client: the connection, and the policies that hold where a call does not say otherwise. */
export interface CyclesConfig extends ClientConfig {
  /** Whose spend it is where a call does not say. Merged field by field with the ambient subject and the call's own. */
  readonly subject?: Subject.Subject | undefined
  /** How long a reservation lives without a heartbeat, 1 s to 24 h. Default 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** By how much a heartbeat extends, 1 ms to 24 h. Default: the ttl. A tenant allows 10 extensions by default. */
  readonly extendBy?: Duration.Input | undefined
  /** How long after its end a reservation can still be settled, 0 to 60 s. Default: the server's, 5 s. */
  readonly gracePeriod?: Duration.Input | undefined
  /** What happens where the actual amount exceeds the estimate. Default: the server's, ALLOW_IF_AVAILABLE. */
  readonly overagePolicy?: OveragePolicy | undefined
  /** What happens to the spend of a body that did not succeed. Default `partial`. */
  readonly onFailure?: OnFailure | undefined
  /** What happens to the spend of a body whose process dies. Default `expire`. */
  readonly onCrash?: OnCrash | undefined
  /** How long the caller waits for the settlement. Default `attempt`. */
  readonly settle?: Settle | undefined
  /** When a settlement is tried again. Default: 5 times, from 0.5 s doubling to 30 s, with jitter. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** The longest `Retry-After` that a reserve or decide waits for, on 429 and 503. Default 0: it fails at once. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** How long closing the layer waits for open settlements. Default 10 s. */
  readonly flushTimeout?: Duration.Input | undefined
  /** How often the journal is scanned for unsettled records, 1 s to 24 h, with jitter. Default 60 s. */
  readonly scanInterval?: Duration.Input | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// policies
// ---------------------------------------------------------------------------------------------------------------------

export {
  /** When settlements are tried again: the default of `CyclesConfig.retry`, and how to change it. */
  retryPolicy
} from "./internal/config/retryPolicy.ts"

// ---------------------------------------------------------------------------------------------------------------------
// config
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The connection as the environment has it: `CYCLES_BASE_URL`, `CYCLES_API_KEY`, `CYCLES_ADMIN_API_KEY` and
 * `CYCLES_READ_TIMEOUT`.
 */
export const clientConfig: Config.Config<ClientConfig> = Config.map(
  Config.all({
    baseUrl: Env.baseUrl,
    apiKey: Env.secret("CYCLES_API_KEY"),
    adminKey: Config.option(Env.secret("CYCLES_ADMIN_API_KEY")),
    timeout: Config.option(Env.duration("CYCLES_READ_TIMEOUT", { minimum: "1 millis", maximum: "1 hour" }))
  }),
  ({ adminKey, apiKey, baseUrl, timeout }): ClientConfig => ({
    baseUrl,
    apiKey,
    adminKey: Option.getOrUndefined(adminKey),
    timeout: Option.getOrUndefined(timeout)
  })
)

/**
 * A client as the environment has it. Durations are milliseconds, or carry a unit (`5 seconds`).
 *
 * - `CYCLES_BASE_URL`, `CYCLES_API_KEY`: required.
 * - `CYCLES_TENANT`, `CYCLES_WORKSPACE`, `CYCLES_APP`, `CYCLES_WORKFLOW`, `CYCLES_AGENT`, `CYCLES_TOOLSET`: the subject.
 * - `CYCLES_READ_TIMEOUT`: the time limit of a call. Default 10 s.
 * - `CYCLES_RETRY_ENABLED`, `CYCLES_RETRY_MAX_ATTEMPTS`, `CYCLES_RETRY_INITIAL_DELAY`, `CYCLES_RETRY_MULTIPLIER`,
 *   `CYCLES_RETRY_MAX_DELAY`: when settlements are tried again. Defaults true, 5, 500, 2, 30000.
 * - `CYCLES_RETRY_FLUSH_TIMEOUT`: how long closing waits. Default 10 s.
 */
export const config: Config.Config<CyclesConfig> = Config.map(
  Config.all({
    client: clientConfig,
    subject: Env.subject,
    retryEnabled: Config.withDefault(Env.flag("CYCLES_RETRY_ENABLED"), true),
    times: Config.option(Env.integer("CYCLES_RETRY_MAX_ATTEMPTS", { minimum: 0, maximum: 1_000 })),
    initial: Config.option(Env.duration("CYCLES_RETRY_INITIAL_DELAY", { minimum: "1 millis", maximum: "24 hours" })),
    factor: Config.option(Env.decimal("CYCLES_RETRY_MULTIPLIER", { minimum: 1, maximum: 100 })),
    max: Config.option(Env.duration("CYCLES_RETRY_MAX_DELAY", { minimum: "1 millis", maximum: "24 hours" })),
    flushTimeout: Config.option(Env.duration("CYCLES_RETRY_FLUSH_TIMEOUT", { minimum: "0 millis", maximum: "1 hour" }))
  }),
  ({ client, factor, flushTimeout, initial, max, retryEnabled, subject, times }): CyclesConfig => ({
    ...client,
    subject,
    retry: retryPolicy({
      times: retryEnabled ? Option.getOrUndefined(times) : 0,
      initial: Option.getOrUndefined(initial),
      factor: Option.getOrUndefined(factor),
      max: Option.getOrUndefined(max)
    }),
    flushTimeout: Option.getOrUndefined(flushTimeout)
  })
)
