/**
 * The whole client for Node, Bun and Deno in one layer: `Cycles` and `CyclesClient` over `NodeTransport`, with a
 * durable journal.
 *
 * **Gotchas**
 *
 * A runtime without `node:sqlite` journals to files, and `onCrash` has no effect there. A warning is logged.
 *
 * **Example** (Running a program with the client)
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 * import { NodeCycles } from "effect-cycles/node"
 *
 * const CyclesLive = NodeCycles.layer({
 *   baseUrl: "https://cycles.example.com",
 *   apiKey: Redacted.make("cyc_live_example"),
 *   subject: { tenant: "acme" }
 * })
 *
 * export const main = Effect.succeed("done").pipe(
 *   Cycles.withCycles({
 *     action: { kind: "tool.search", name: "web" },
 *     estimate: Amount.usd("0.01")
 *   }),
 *   Effect.provide(CyclesLive)
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Cycles from "../Cycles.ts"
import type { CyclesClient } from "../CyclesClient.ts"
import type { CyclesConfig } from "../CyclesConfig.ts"
import * as ConfigModule from "../CyclesConfig.ts"
import * as Env from "../internal/config/env.ts"
import type { SettlementJournal } from "../SettlementJournal.ts"
import { layerNone } from "../SettlementJournal.ts"
import { compile } from "./internal/compiled.ts"
import * as Sqlite from "./internal/sqlite.ts"
import * as Variables from "./internal/variables.ts"
import * as JournalFiles from "./JournalFiles.ts"
import * as JournalSqlite from "./JournalSqlite.ts"
import * as NodeTransport from "./NodeTransport.ts"

/**
 * The options of the Node layers besides `CyclesConfig`.
 *
 * @category options
 * @since 0.1.0
 */
export interface NodeOptions {
  /** The timeout of connecting to the server, 1 ms to 1 h. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * A dispatcher of undici, such as a `ProxyAgent` or an `Agent` for a Unix socket. It replaces the client's own
   * connections and the proxies of the environment. It isn't closed with the layer, and the transport doesn't repeat
   * requests over it. Default: none.
   */
  readonly dispatcher?: NodeTransport.Dispatcher | undefined
  /** The journal. Default: `JournalSqlite.layer()`, or `JournalFiles.layer()` if the runtime has no `node:sqlite`. */
  readonly journal?: Layer.Layer<SettlementJournal> | undefined
}

/**
 * Provides the client over `NodeTransport`, with a durable journal.
 *
 * Dies with a `RangeError` if an option is out of range.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (config: CyclesConfig, options?: NodeOptions): Layer.Layer<Cycles.Cycles | CyclesClient> => {
  compile()
  const { maxConcurrency } = config
  const transport = NodeTransport.layer({
    connectTimeout: options?.connectTimeout,
    // `Cycles.layer` reports a `maxConcurrency` out of range.
    connections: maxConcurrency !== undefined && maxConcurrency > 0 ? Math.ceil(maxConcurrency) : undefined,
    dispatcher: options?.dispatcher
  })
  return Cycles.layer(config).pipe(Layer.provide([options?.journal ?? defaultJournal, transport]))
}

/** SQLite, or files if the runtime has no `node:sqlite`. */
const defaultJournal: Layer.Layer<SettlementJournal> = Layer.unwrap(
  Effect.gen(function* () {
    if (Sqlite.isAvailable()) return JournalSqlite.layer()
    yield* Effect.ignoreCause(
      Effect.logWarning(
        "This runtime has no node:sqlite: pending spend is journaled in files, and onCrash has no effect. " +
          "Pass a journal to choose another place."
      )
    )
    return JournalFiles.layer()
  })
)

/**
 * Provides the client configured by `Config`. Without an argument it reads the variables that `CyclesConfig.config`
 * lists. In both cases it also reads:
 *
 * - `CYCLES_CONNECT_TIMEOUT`: `connectTimeout`, in milliseconds or as a duration such as `5 seconds`. Default 2 s.
 * - `CYCLES_JOURNAL_ENABLED`: false uses `SettlementJournal.layerNone`, which loses uncertain spend when the process
 *   ends. Default true.
 * - `CYCLES_JOURNAL_DIR`: a folder for `JournalFiles`, which other Cycles clients can share. Default: the default
 *   journal of `layer`.
 *
 * Fails with `ConfigError` if a variable is missing or invalid.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<CyclesConfig>
): Layer.Layer<Cycles.Cycles | CyclesClient, Config.ConfigError> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* Config.all({
        config: config === undefined ? ConfigModule.config : Config.unwrap(config),
        connectTimeout: Config.option(Variables.connectTimeout),
        isJournaled: Config.withDefault(Variables.isJournaled, true),
        folder: Config.option(Variables.journalFolder)
      })
      const connectTimeout = Option.getOrUndefined(settings.connectTimeout)
      yield* Env.warnIfShort("CYCLES_READ_TIMEOUT", settings.config.timeout)
      yield* Env.warnIfShort("CYCLES_CONNECT_TIMEOUT", connectTimeout)
      return layer(settings.config, {
        connectTimeout,
        journal: !settings.isJournaled
          ? layerNone
          : Option.isSome(settings.folder)
            ? JournalFiles.layer({ folder: settings.folder.value })
            : undefined
      })
    })
  )
