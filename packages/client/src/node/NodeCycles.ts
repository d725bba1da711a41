/**
 * The whole client for Node in one Layer: over undici, with the journal in SQLite.
 *
 * Source: ours; the `CYCLES_JOURNAL_*` and `CYCLES_CONNECT_TIMEOUT` variables are those of the other clients.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
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
import * as JournalFiles from "./JournalFiles.ts"
import * as JournalSqlite from "./JournalSqlite.ts"
import * as UndiciHttpClient from "./UndiciHttpClient.ts"

/** What the Node layers can be told besides `CyclesConfig`. */
export interface NodeOptions {
  /** How long connecting may take. Default 2 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Where pending spend is written down. Default: SQLite in `~/.effect-cycles`. */
  readonly journal?: Layer.Layer<SettlementJournal> | undefined
}

/** A client over undici, with the journal in SQLite. */
export const layer = (config: CyclesConfig, options?: NodeOptions): Layer.Layer<Cycles.Cycles | CyclesClient> => {
  compile()
  return Cycles.layer(config).pipe(
    Layer.provide(options?.journal ?? JournalSqlite.layer()),
    Layer.provide(
      UndiciHttpClient.layer({
        connectTimeout: options?.connectTimeout,
        connections: config.maxInFlight,
        isRepeatable
      })
    )
  )
}

/** Every POST has an idempotency key. A heartbeat has rules of its own for an extension whose outcome is unknown. */
const isRepeatable = (request: HttpClientRequest.HttpClientRequest): boolean => !request.url.endsWith("/extend")

/**
 * A client as the environment has it: the variables of `CyclesConfig.config`, and
 *
 * - `CYCLES_CONNECT_TIMEOUT`: milliseconds, or with a unit. Default 2 s.
 * - `CYCLES_JOURNAL_ENABLED`: false keeps no journal: spend whose charge is unknown is lost when the process ends.
 * - `CYCLES_JOURNAL_DIR`: a folder for the journal of files that all clients of the protocol share. Default: the SQLite
 *   journal in `~/.effect-cycles`.
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
