/**
 * The whole client for Node, Bun and Deno in one Layer: over `NodeTransport`, with the journal in SQLite, or in files if the
 * runtime has no `node:sqlite`.
 *
 * Source: ours; the `CYCLES_JOURNAL_*` and `CYCLES_CONNECT_TIMEOUT` variables are those of the other clients.
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
import * as JournalFiles from "./JournalFiles.ts"
import * as JournalSqlite from "./JournalSqlite.ts"
import * as NodeTransport from "./NodeTransport.ts"

/** The options of the Node layers besides `CyclesConfig`. */
export interface NodeOptions {
  /** How long connecting may take, 1 ms to 1 h. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * A dispatcher of undici, such as a `ProxyAgent` or one for a Unix socket, instead of the client's own connections and the
   * environment's proxies. It isn't closed with the layer, and no request is sent again over it.
   */
  readonly dispatcher?: NodeTransport.Dispatcher | undefined
  /**
   * Where pending spend is journaled. Default: SQLite in `~/.effect-cycles`. If the runtime has no `node:sqlite`, the default is
   * the folder of `JournalFiles`, and a warning is logged: `onCrash` needs `node:sqlite` in either journal.
   */
  readonly journal?: Layer.Layer<SettlementJournal> | undefined
}

/** A client over `NodeTransport`, with a durable journal. */
export const layer = (config: CyclesConfig, options?: NodeOptions): Layer.Layer<Cycles.Cycles | CyclesClient> => {
  compile()
  const { maxConcurrency } = config
  const transport = NodeTransport.layer({
    connectTimeout: options?.connectTimeout,
    // A number that can't be one is refused by `Cycles.layer`.
    connections: maxConcurrency !== undefined && maxConcurrency > 0 ? Math.ceil(maxConcurrency) : undefined,
    dispatcher: options?.dispatcher
  })
  return Cycles.layer(config).pipe(Layer.provide([options?.journal ?? defaultJournal, transport]))
}

/** A durable journal on every runtime: one in files is better than none. */
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
 * A client as the environment has it: the variables of `CyclesConfig.config`, and
 *
 * - `CYCLES_CONNECT_TIMEOUT`: milliseconds, or with a unit. Default 2 s.
 * - `CYCLES_JOURNAL_ENABLED`: false keeps no journal: spend whose charge is unknown is lost when the process ends.
 * - `CYCLES_JOURNAL_DIR`: a folder for the journal of files that all clients of the protocol share. Default: the journal of
 *   `layer`.
 */
export const layerConfig = (
  config?: Config.Wrap<CyclesConfig>
): Layer.Layer<Cycles.Cycles | CyclesClient, Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(
      Config.all({
        config: config === undefined ? ConfigModule.config : Config.unwrap(config),
        connectTimeout: Config.option(
          Env.duration("CYCLES_CONNECT_TIMEOUT", { minimum: "1 millis", maximum: "1 hour" })
        ),
        isJournaled: Config.withDefault(Env.flag("CYCLES_JOURNAL_ENABLED"), true),
        folder: Config.option(Config.NonEmptyString("CYCLES_JOURNAL_DIR"))
      }),
      ({ config, connectTimeout, folder, isJournaled }) =>
        layer(config, {
          connectTimeout: Option.getOrUndefined(connectTimeout),
          journal: !isJournaled
            ? layerNone
            : Option.isSome(folder)
              ? JournalFiles.layer({ folder: folder.value })
              : undefined
        })
    )
  )
