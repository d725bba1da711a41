/** Checks the journal: whether it can be opened and written, and its entries. It changes nothing. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Sqlite from "../../sqlite.ts"
import { configProblem } from "../failure.ts"
import * as Reader from "../journal/contents.ts"
import type { Contents, Entry } from "../journal/entries.ts"
import * as Entries from "../journal/entries.ts"
import type { Location } from "../journal/location.ts"
import * as Locations from "../journal/location.ts"
import { age, count, shown } from "../output.ts"
import type { Environment } from "../redact.ts"
import type { Finding } from "./finding.ts"
import { failed, ok, warning } from "./finding.ts"

/** Checks the journal that the flag or the environment selects. */
export const check = (flag: Option.Option<string>, env: Environment): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const location = yield* Effect.mapError(Locations.locationOf(flag, env), (error) => [
      failed("journal", configProblem(error))
    ])
    if (location.kind === "none") {
      return [
        warning(
          "journal",
          "The journal is disabled: spend that isn't settled is lost when the process ends.",
          "Remove CYCLES_JOURNAL_ENABLED=false if this machine has a durable disk."
        )
      ]
    }
    const contents = yield* Effect.mapError(Reader.read(location), ({ problem, advice }) => [
      failed("journal", shown(problem), advice)
    ])
    return findingsOf(location, contents)
  }).pipe(Effect.catch((findings) => Effect.succeed(findings)))

const findingsOf = (location: Location, contents: Contents): ReadonlyArray<Finding> => {
  const unwritable = unwritablePath(location)
  const problems = [
    ...(unwritable === undefined
      ? []
      : [
          failed(
            "journal",
            `${unwritable} isn't writable: spend that isn't settled can't be journaled.`,
            "Change its permissions or its owner, or set CYCLES_JOURNAL_DIR to another folder."
          )
        ]),
    ...entryFindings(location, contents)
  ]
  if (problems.length > 0) return problems
  const where = Locations.describe(location)
  if (!contents.exists) return [ok("journal", `${where} doesn't exist yet; the first client creates it`)]
  return [
    ok(
      "journal",
      `${where}: ${Entries.summary(contents.entries)}${contents.usedBy === undefined ? "" : `; ${contents.usedBy}`}` +
        (contents.isOld ? "; the next client upgrades its format" : "")
    )
  ]
}

/** How long a record may be pending before it is a warning: several scans of a client. */
const overdueMs = 10 * 60_000

const entryFindings = (location: Location, { damaged, entries, usedBy }: Contents): ReadonlyArray<Finding> => {
  const where = Locations.describe(location)
  const letters = entries.filter(({ kind }) => kind === "dead-letter")
  const overdue = entries.filter(({ kind, record }) => kind === "pending" && ageOf(record) > overdueMs)
  const ended = entries.filter(({ isAlive, kind }) => kind === "open" && isAlive === false)
  const oldest = overdue[0]
  return [
    ...(Sqlite.isAvailable()
      ? []
      : [
          warning(
            "journal",
            "This runtime has no node:sqlite: pending spend is journaled in files, and onCrash has no effect.",
            "Use Node 22.13 or later."
          )
        ]),
    ...(letters.length === 0
      ? []
      : [
          warning(
            "journal",
            `${count(letters.length, "dead letter")} in ${where}: spend that no budget shows.`,
            "effect-cycles journal list --kind dead-letter shows the reasons; retry or forget each of them.",
            letters.slice(0, 3).map(lineOf)
          )
        ]),
    ...(oldest === undefined
      ? []
      : [
          warning(
            "journal",
            `${count(overdue.length, "record")} in ${where} pending for up to ${age(ageOf(oldest.record))}.`,
            usedBy === undefined
              ? "No process uses the journal: run effect-cycles journal retry."
              : "Its client retries them. Check the server, the key and the log of the client."
          )
        ]),
    ...(ended.length === 0
      ? []
      : [
          warning(
            "journal",
            `${count(ended.length, "open record")} of a process that has ended in ${where}.`,
            "The next client that opens the journal commits them; effect-cycles journal retry does so now."
          )
        ]),
    ...(damaged.length === 0
      ? []
      : [
          warning(
            "journal",
            `${count(damaged.length, "damaged entry", "damaged entries")} in ${where}: ${damaged.slice(0, 3).map(shown).join(", ")}.`,
            "Keep a copy, and compare the balances with your own records: their spend may not be charged."
          )
        ])
  ]
}

const lineOf = ({ id, reason, record }: Entry): string => shown(`${id}: ${record.reservationId}, ${reason ?? ""}`)

const ageOf = ({ recordedAtMs }: Entry["record"]): number => Date.now() - recordedAtMs

/** The path that isn't writable, if any: the file, its folder, or the nearest parent that exists. */
const unwritablePath = ({ kind, path }: Location): string | undefined => {
  const needed = kind === "sqlite" ? [path, Path.dirname(path)] : [path]
  return Array.from(new Set(needed.map(nearest))).find((path) => !isWritable(path))
}

const nearest = (path: string): string =>
  Fs.existsSync(path) || Path.dirname(path) === path ? path : nearest(Path.dirname(path))

/** Creates and removes a file in a folder, since permissions don't show that a file system is read-only. */
const isWritable = (path: string): boolean => {
  try {
    if (!Fs.statSync(path).isDirectory()) {
      Fs.accessSync(path, Fs.constants.R_OK | Fs.constants.W_OK)
      return true
    }
    const file = Path.join(path, `.effect-cycles-doctor-${randomBytes(8).toString("hex")}`)
    Fs.closeSync(Fs.openSync(file, "wx", 0o600))
    Fs.unlinkSync(file)
    return true
  } catch {
    return false
  }
}
