/** The variables that the layers for Node read besides those of `CyclesConfig.config`. */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Env from "../../internal/config/env.ts"

/** The timeout of connecting to the server. */
export const connectTimeout: Config.Config<Duration.Duration> = Env.duration("CYCLES_CONNECT_TIMEOUT", {
  minimum: "1 millis",
  maximum: "1 hour"
})

/** Whether there is a journal. */
export const isJournaled: Config.Config<boolean> = Env.flag("CYCLES_JOURNAL_ENABLED")

/** The folder of a files journal. */
export const journalFolder: Config.Config<string> = Config.NonEmptyString("CYCLES_JOURNAL_DIR")
