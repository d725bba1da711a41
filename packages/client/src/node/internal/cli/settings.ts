/** The configuration of a command: the `CYCLES_*` variables as `NodeCycles.layerConfig` reads them, and its flags. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { CyclesConfig } from "../../../CyclesConfig.ts"
import { config as configOfVariables } from "../../../CyclesConfig.ts"
import * as BaseUrl from "../../../internal/config/baseUrl.ts"
import { fingerprint } from "../../../internal/config/fingerprint.ts"
import type { JournalOwner } from "../../../SettlementJournal.ts"
import * as Subject from "../../../Subject.ts"
import * as Connections from "../connections.ts"
import * as Variables from "../variables.ts"
import type { CliFailure } from "./failure.ts"
import { ofConfig } from "./failure.ts"
import type { Environment } from "./redact.ts"

/** The variables of the process. */
export const CurrentEnvironment = Context.Reference<Environment>("effect-cycles/cli/Environment", {
  defaultValue: () => process.env
})

/** The flags that override variables. */
export interface Overrides {
  readonly baseUrl: Option.Option<string>
  readonly subject: Subject.Subject
}

/** The variables with their overrides. */
export const environmentOf = ({ baseUrl, subject }: Overrides): Effect.Effect<Environment> =>
  Effect.map(CurrentEnvironment, (env) => ({
    ...env,
    ...(Option.isSome(baseUrl) ? { CYCLES_BASE_URL: baseUrl.value } : undefined),
    ...Object.fromEntries(
      Object.entries(subject).flatMap(([field, value]) =>
        typeof value === "string" ? [[`CYCLES_${field.toUpperCase()}`, value]] : []
      )
    )
  }))

/** Reads a configuration from variables. */
export const read = <A>(config: Config.Config<A>, env: Environment): Effect.Effect<A, Config.ConfigError> =>
  config.parse(ConfigProvider.fromEnvRecord(env))

/** The settings of the client, and the timeout of connecting. */
export interface Settings {
  readonly config: CyclesConfig
  /** The normalized base URL. */
  readonly baseUrl: string
  readonly connectTimeout: Duration.Duration
  readonly timeout: Duration.Duration
}

/** Reads all settings. */
export const settingsOf = (env: Environment): Effect.Effect<Settings, Config.ConfigError> =>
  Effect.gen(function* () {
    const config = yield* read(configOfVariables, env)
    const connectTimeout = yield* read(Config.option(Variables.connectTimeout), env)
    return {
      config,
      baseUrl: Result.getOrElse(BaseUrl.parse(config.baseUrl), () => String(config.baseUrl)),
      connectTimeout: Option.getOrElse(connectTimeout, () => Connections.defaultConnectTimeout),
      timeout: Duration.fromInputUnsafe(config.timeout ?? "10 seconds")
    }
  })

/** Reads all settings. Fails with a message for the terminal. */
export const settings = (env: Environment): Effect.Effect<Settings, CliFailure> =>
  Effect.mapError(settingsOf(env), ofConfig)

/** The owner of the records that a client with these settings reads. */
export const ownerOf = ({ baseUrl, config }: Settings): Effect.Effect<JournalOwner> =>
  Effect.map(fingerprint({ baseUrl, tenant: config.subject?.tenant, apiKey: config.apiKey }), (fingerprint) => ({
    baseUrl,
    fingerprint
  }))
