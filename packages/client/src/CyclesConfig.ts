/**
 * The configuration of a client: the server, the keys, the subject, and defaults for the options of guards and
 * reservations.
 *
 * **Details**
 *
 * - Every field except `baseUrl` and `apiKey` has a default.
 * - The `CYCLES_*` variables have the names and defaults of the other Cycles clients.
 *
 * **Gotchas**
 *
 * A field that is out of range doesn't fail: making the client dies with a `RangeError`. Invalid variables fail with
 * `ConfigError`.
 *
 * **Example** (Setting defaults for all guards)
 *
 * ```ts
 * import { Redacted } from "effect"
 * import { CyclesConfig } from "effect-cycles"
 *
 * export const config: CyclesConfig.CyclesConfig = {
 *   baseUrl: "https://cycles.example.com",
 *   apiKey: Redacted.make("cyc_live_example"),
 *   subject: { tenant: "acme", app: "support" },
 *   ttl: "30 seconds",
 *   settle: "background",
 *   retry: CyclesConfig.retryPolicy({ times: 8 })
 * }
 * ```
 *
 * @see ReservationCreateRequest (`ttl_ms`, `grace_period_ms`, `overage_policy`) of the protocol
 * @since 0.1.0
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

/**
 * The connection to a server, as `CyclesClient` needs it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientConfig {
  /**
   * The base URL, `http://` or `https://`, with or without a path. Trailing slashes and a trailing `/v1` are ignored.
   */
  readonly baseUrl: string | URL
  /** The API key of the tenant, sent as `X-Cycles-API-Key`. */
  readonly apiKey: Redacted.Redacted
  /** The administrator's key, sent as `X-Admin-API-Key` by calls with the option `as: "admin"`. Default: none. */
  readonly adminKey?: Redacted.Redacted | undefined
  /**
   * The deadline of one call, including the time in the queue, 1 ms to 1 h. Default 10 s, because the server can take 9
   * s to check a key.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * The number of calls in flight at the same time, 3 to 10,000. Default 64. The bodies of guards don't count.
   *
   * Lease extensions have priority over settlements, and settlements over other calls. At least a sixteenth of the
   * limit, and at least one call, is reserved for each of the three partitions.
   */
  readonly maxConcurrency?: number | undefined
  /**
   * The idle time after which the next call is an idle probe, 1 s to 24 h. Default 50 s, because the reference server
   * caches a key check for 60 s.
   *
   * The probe is sent alone, and other calls wait for its response, at most 1 s. A server with a slow key check then
   * checks the key once, not once for each call of a burst.
   */
  readonly idleProbeAfter?: Duration.Input | undefined
}

/**
 * The settlement of a body that failed, died or was interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export type OnFailure =
  /** Commits the recorded total and returns the rest of the estimate. Releases the estimate if nothing was recorded. */
  | "partial"
  /** Commits the recorded total, or the estimate if nothing was recorded. */
  | "estimate"
  /** Releases the whole estimate, even if spend was recorded. For calls that cost nothing when they fail. */
  | "release"

/**
 * How long a guard waits for its settlement. In every mode it writes the journal before it returns.
 *
 * @category models
 * @since 0.1.0
 */
export type Settle =
  /**
   * Waits for the journal (at most 2 s) and for the first attempt (at most `timeout`). Further attempts run in the
   * background.
   */
  | "attempt"
  /** Waits until the settlement is final, or until all retries of `retry` have failed. */
  | "wait"
  /**
   * Waits for the journal only, and all attempts run in the background. The settlement is `Pending`, or `Released` with
   * `isConfirmed: false`.
   */
  | "background"

/**
 * The settlement of a body whose process crashes.
 *
 * **Details**
 *
 * With `recorded` and `estimate` the open reservation is journaled before the body starts, and `record` and `add`
 * return after the new total is durable. The next client that opens the same journal commits it.
 *
 * **Gotchas**
 *
 * Needs a durable journal that supports open records: SQLite, or files on a runtime with `node:sqlite`.
 *
 * @category models
 * @since 0.1.0
 */
export type OnCrash =
  /** The lease ends, and the spend isn't charged. */
  | "expire"
  /** Commits the recorded total. */
  | "recorded"
  /** Commits the recorded total, or the estimate if nothing was recorded. */
  | "estimate"

/**
 * What a client does with the decisions of the server and of runs.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode =
  /** A denied call doesn't run. Calls that run are charged. */
  | "enforce"
  /**
   * Nothing is denied, reserved or charged. Every guarded call is checked by a dry run and then runs; each call that
   * would be denied is logged and counted.
   */
  | "shadow"

/**
 * What a guard does if the server can't be reached: the connection is refused or breaks, the deadline passes, or the
 * response has a status from 500.
 *
 * **Details**
 *
 * Any other response reaches the caller with both values: a denial of the budget, 401, 403, 404, 429, and a page that
 * isn't from a Cycles server.
 *
 * @category models
 * @since 0.1.0
 */
export type OnUnreachable =
  /** Fails with the error. The body doesn't run. */
  | "fail"
  /**
   * Runs the body without a reservation. Its spend is journaled, and charged as an event when the server is back. The
   * budgets of runs are enforced.
   */
  | "allow"

/**
 * What a guard inside the body of another guard does.
 *
 * **Gotchas**
 *
 * In a run with `hold` every guard draws on the reservation of the run, with `independent` as well.
 *
 * @category models
 * @since 0.1.0
 */
export type Nested =
  /** Makes its own reservation and settles it. The `actual` of the outer guard must leave out its spend. */
  | "independent"
  /**
   * Draws on the reservation of the nearest open guard around it with the same unit, and sends nothing. The `actual` of
   * the outer guard is the total of everything inside. If there is no such guard, or not enough room in its estimate,
   * the guard makes its own reservation.
   */
  | "join"
  /** Fails with `InvalidRequest`, and sends nothing. */
  | "reject"

/**
 * The connection, and the defaults of guards and reservations.
 *
 * @category models
 * @since 0.1.0
 */
export interface CyclesConfig extends ClientConfig {
  /** The default subject. The ambient subject and the subject of a call override it field by field. */
  readonly subject?: Subject.Subject | undefined
  /** The lease of a reservation, 1 s to 24 h. It ends unless a heartbeat extends it. Default 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** How much a heartbeat extends the lease, 1 ms to 24 h. Default: `ttl`. A tenant allows 10 extensions by default. */
  readonly extendBy?: Duration.Input | undefined
  /** How long after the end of its lease a reservation can still be settled, 0 to 60 s. Default: the server's, 5 s. */
  readonly gracePeriod?: Duration.Input | undefined
  /** What the server does if the actual amount exceeds the estimate. Default: the server's, ALLOW_IF_AVAILABLE. */
  readonly overagePolicy?: OveragePolicy | undefined
  /** The settlement of a body that failed, died or was interrupted. Default `partial`. */
  readonly onFailure?: OnFailure | undefined
  /** The settlement of a body whose process crashes. Default `expire`. */
  readonly onCrash?: OnCrash | undefined
  /** Whether calls are denied and charged, or only checked. Default `enforce`. */
  readonly mode?: Mode | undefined
  /** What a guard does if the server can't be reached. Default `fail`. */
  readonly onUnreachable?: OnUnreachable | undefined
  /** What a guard inside the body of another guard does. Default `independent`. */
  readonly nested?: Nested | undefined
  /** How long a guard waits for its settlement. Default `attempt`. */
  readonly settle?: Settle | undefined
  /** When a settlement is retried. Default: 5 retries, with exponential backoff from 0.5 s to 30 s and jitter. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * The longest `Retry-After` that a reserve or decide waits for after 429 or 503, 0 to 1 h. Default 0: it fails at
   * once.
   */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** How long closing the layer waits for open settlements, 0 to 1 h. Default 10 s. */
  readonly flushTimeout?: Duration.Input | undefined
  /** How often the journal is scanned for unsettled records, 1 s to 24 h, with jitter. Default 60 s. */
  readonly scanInterval?: Duration.Input | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// policies
// ---------------------------------------------------------------------------------------------------------------------

export {
  /** Makes a retry policy for `CyclesConfig.retry`. Without options it is the default. */
  retryPolicy
} from "./internal/config/retryPolicy.ts"

// ---------------------------------------------------------------------------------------------------------------------
// config
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The connection from the environment: `CYCLES_BASE_URL` and `CYCLES_API_KEY` (both required), `CYCLES_ADMIN_API_KEY`,
 * and `CYCLES_READ_TIMEOUT` (milliseconds or a duration such as `5 seconds`, 1 ms to 1 h).
 *
 * @category configuration
 * @since 0.1.0
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
 * The configuration from the environment. Durations are milliseconds, or have a unit (`5 seconds`).
 *
 * - `CYCLES_BASE_URL`, `CYCLES_API_KEY`: required.
 * - `CYCLES_ADMIN_API_KEY`: the administrator's key.
 * - `CYCLES_TENANT`, `CYCLES_WORKSPACE`, `CYCLES_APP`, `CYCLES_WORKFLOW`, `CYCLES_AGENT`, `CYCLES_TOOLSET`: the
 *   subject.
 * - `CYCLES_MODE`: `enforce` or `shadow`. Default `enforce`.
 * - `CYCLES_ON_UNREACHABLE`: `fail` or `allow`. Default `fail`.
 * - `CYCLES_READ_TIMEOUT`: `timeout`, 1 ms to 1 h. Default 10 s.
 * - `CYCLES_RETRY_ENABLED`: false disables retries. Default true.
 * - `CYCLES_RETRY_MAX_ATTEMPTS`: the number of retries, 0 to 1,000. Default 5.
 * - `CYCLES_RETRY_INITIAL_DELAY`, `CYCLES_RETRY_MAX_DELAY`: the backoff, 1 ms to 24 h. Defaults 500 ms and 30 s.
 * - `CYCLES_RETRY_MULTIPLIER`: the factor of the backoff, 1 to 100. Default 2.
 * - `CYCLES_RETRY_FLUSH_TIMEOUT`: `flushTimeout`, 0 to 1 h. Default 10 s.
 *
 * @category configuration
 * @since 0.1.0
 */
export const config: Config.Config<CyclesConfig> = Config.map(
  Config.all({
    client: clientConfig,
    subject: Env.subject,
    mode: Config.option(Env.mode),
    onUnreachable: Config.option(Env.onUnreachable),
    retryEnabled: Config.withDefault(Env.flag("CYCLES_RETRY_ENABLED"), true),
    times: Config.option(Env.integer("CYCLES_RETRY_MAX_ATTEMPTS", { minimum: 0, maximum: 1_000 })),
    initial: Config.option(Env.duration("CYCLES_RETRY_INITIAL_DELAY", { minimum: "1 millis", maximum: "24 hours" })),
    factor: Config.option(Env.decimal("CYCLES_RETRY_MULTIPLIER", { minimum: 1, maximum: 100 })),
    max: Config.option(Env.duration("CYCLES_RETRY_MAX_DELAY", { minimum: "1 millis", maximum: "24 hours" })),
    flushTimeout: Config.option(Env.duration("CYCLES_RETRY_FLUSH_TIMEOUT", { minimum: "0 millis", maximum: "1 hour" }))
  }),
  ({
    client,
    factor,
    flushTimeout,
    initial,
    max,
    mode,
    onUnreachable,
    retryEnabled,
    subject,
    times
  }): CyclesConfig => ({
    ...client,
    subject,
    mode: Option.getOrUndefined(mode),
    onUnreachable: Option.getOrUndefined(onUnreachable),
    retry: retryPolicy({
      times: retryEnabled ? Option.getOrUndefined(times) : 0,
      initial: Option.getOrUndefined(initial),
      factor: Option.getOrUndefined(factor),
      max: Option.getOrUndefined(max)
    }),
    flushTimeout: Option.getOrUndefined(flushTimeout)
  })
)
