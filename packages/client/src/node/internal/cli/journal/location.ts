/** Where the journal is: the flag `--journal`, or else the variables that `NodeCycles.layerConfig` reads. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import type { SettlementJournal } from "../../../../SettlementJournal.ts"
import { layerNone } from "../../../../SettlementJournal.ts"
import * as JournalFiles from "../../../JournalFiles.ts"
import * as JournalSqlite from "../../../JournalSqlite.ts"
import * as Folder from "../../folder.ts"
import * as JournalFile from "../../journalFile.ts"
import * as RecordFolder from "../../recordFolder.ts"
import * as Sqlite from "../../sqlite.ts"
import * as Variables from "../../variables.ts"
import type { Environment } from "../redact.ts"
import { read } from "../settings.ts"

/** A place of records. */
export interface Location {
  /** The store; `none` if the journal is disabled. */
  readonly kind: "sqlite" | "files" | "none"
  /** The absolute path of the file or folder; empty for `none`. */
  readonly path: string
}

/** The location of the journal. */
export const locationOf = (
  flag: Option.Option<string>,
  env: Environment
): Effect.Effect<Location, Config.ConfigError> =>
  Effect.gen(function* () {
    if (Option.isSome(flag)) return ofPath(flag.value)
    const isEnabled = yield* read(Config.withDefault(Variables.isJournaled, true), env)
    if (!isEnabled) return { kind: "none", path: "" }
    const folder = yield* read(Config.option(Variables.journalFolder), env)
    if (Option.isSome(folder)) return { kind: "files", path: Folder.expand(folder.value) }
    return Sqlite.isAvailable()
      ? { kind: "sqlite", path: Folder.expand(JournalFile.defaultPath) }
      : { kind: "files", path: Folder.expand(RecordFolder.defaultPath) }
  })

/** A folder is a files journal. Everything else is a SQLite file. */
const ofPath = (path: string): Location => {
  const absolute = Folder.expand(path)
  const isFolder = Fs.statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? path.endsWith("/")
  return { kind: isFolder ? "files" : "sqlite", path: absolute }
}

/** The store at a location. */
export const layerOf = ({ kind, path }: Location): Layer.Layer<SettlementJournal> =>
  kind === "none"
    ? layerNone
    : kind === "files"
      ? JournalFiles.layer({ folder: path })
      : JournalSqlite.layer({ filename: path })

/** A location for messages. */
export const describe = ({ kind, path }: Location): string =>
  kind === "none" ? "no journal" : kind === "sqlite" ? path : `${path} (files)`
