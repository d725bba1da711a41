/**
 * Reads a journal without changing it: no file is created, upgraded, renamed or set aside, and no record is adopted.
 * Finds out whether a process uses it.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import { messageOf } from "../../problem.ts"
import { CliFailure } from "../failure.ts"
import * as Sqlite from "../../sqlite.ts"
import type { Contents } from "./entries.ts"
import * as FilesContents from "./filesContents.ts"
import type { Location } from "./location.ts"
import * as SqliteContents from "./sqliteContents.ts"

const empty: Contents = { exists: false, entries: [], damaged: [], usedBy: undefined, isOld: false }

/** Reads the journal at a location. */
export const read = (location: Location): Effect.Effect<Contents, CliFailure> => {
  if (location.kind === "none" || !Fs.existsSync(location.path)) return Effect.succeed(empty)
  const { path } = location
  return Effect.try({
    try: () => (location.kind === "sqlite" ? SqliteContents.read(path) : FilesContents.read(path)),
    catch: (cause) => new Unreadable({ cause })
  }).pipe(
    // A process that opens, upgrades or closes the file locks it for a moment.
    Effect.retry({ while: ({ cause }) => Sqlite.isBusy(cause), schedule: Schedule.spaced("50 millis"), times: 40 }),
    Effect.mapError(({ cause }) => unreadable(path, cause))
  )
}

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly cause: unknown }> {}

const unreadable = (path: string, error: unknown): CliFailure => {
  const text = messageOf(error)
  const isNewer = /has format \d+; this client reads/.test(text)
  const advice = isNewer
    ? "A newer version of effect-cycles wrote it: update effect-cycles. The file isn't changed."
    : /is not a journal of this client/.test(text)
      ? "Another program wrote this file: pass the path of a journal. The file isn't changed."
      : Sqlite.isUnreadable(error)
        ? "The file is damaged. Stop the programs that use it, keep a copy, and move it away: the next client creates a new journal."
        : "Check the path and the permissions of the file and its folder."
  return new CliFailure({ problem: `The journal ${path} can't be read: ${text}`, advice })
}

/** Reads a journal that must exist if its path was passed: a misspelled one would look like an empty journal. */
export const readExisting = (flag: Option.Option<string>, location: Location): Effect.Effect<Contents, CliFailure> =>
  Effect.filterOrFail(
    read(location),
    ({ exists }) => exists || Option.isNone(flag),
    () =>
      new CliFailure({
        problem: `The journal ${location.path} doesn't exist.`,
        advice: "Check the path in --journal."
      })
  )

/** Fails if a process uses the journal. */
export const requireUnused = (
  { path }: Location,
  { usedBy }: Contents,
  advice: string
): Effect.Effect<void, CliFailure> =>
  usedBy === undefined
    ? Effect.void
    : Effect.fail(new CliFailure({ problem: `The journal ${path} is in use, so it is read-only: ${usedBy}.`, advice }))
