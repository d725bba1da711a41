/**
 * The journal as files, one a record, in the format and the folder that the other clients of the protocol use: they find our
 * records, and we theirs.
 *
 * A record is written to a temporary file, synced, renamed, and its folder synced. What is no record, or another one than its
 * name says, is renamed to `.corrupt`; temporary files that are older than an hour are removed. Several processes may use
 * one folder.
 *
 * Source: journal format 1 of the client recovery profile (CR-DURABLE-001 to 007); dead letters, in the folder
 * `dead-letters`, are ours.
 */
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import type { DeadLetter, Journal, JournalOwner, JournalRecord } from "../SettlementJournal.ts"
import { JournalError, SettlementJournal } from "../SettlementJournal.ts"
import * as Folder from "./internal/folder.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Where the journal is. */
export interface Options {
  /** The folder; `~` is the home folder. Default `~/.runcycles/commit-journal`, which all clients share. */
  readonly folder?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** The journal as files. */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.sync(SettlementJournal, () => {
    const base = Folder.expand(options?.folder ?? "~/.runcycles/commit-journal")
    return {
      isDurable: true,
      open: (owner) =>
        attempt("open", async () => {
          const folder = Path.join(base, owner.fingerprint)
          Folder.make(base)
          Folder.make(folder)
          await removeOldTemporaries(folder)
          return journalOf(folder, owner)
        })
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const journalOf = (folder: string, owner: JournalOwner): Journal => {
  const graves = Path.join(folder, "dead-letters")
  return {
    put: (record) => attempt("put", () => write(folder, fileName(record.reservationId), recordText(record))),
    remove: (id) => attempt("remove", () => unlink(Path.join(folder, fileName(id)))),
    bury: (letter) =>
      attempt("bury", async () => {
        Folder.make(graves)
        await write(graves, fileName(letter.record.reservationId), letterText(letter))
        await unlink(Path.join(folder, fileName(letter.record.reservationId)))
      }),
    pending: fromFolder(folder, (name) => readPending(folder, name, owner)),
    deadLetters: fromFolder(graves, (name) => readLetter(graves, name)),
    forget: (id) => attempt("forget", () => unlink(Path.join(graves, fileName(id))))
  }
}

/** Reads a folder file by file. What is no record is set aside and told of; a file that can't be read is told of once. */
const fromFolder = <A>(
  folder: string,
  read: (name: string) => Promise<A | typeof isCorrupt | undefined>
): Stream.Stream<A, JournalError> => {
  const unreadable = new Set<string>()
  return Stream.unwrap(
    Effect.map(
      attempt("read", async () => {
        const names = (await list(folder)).filter((name) => name.endsWith(".json")).toSorted()
        const found: Array<A> = []
        const problems: Array<string> = []
        // Files under an old name come first: they are moved to a name that may be in the list as well.
        for (const name of [...names.filter((name) => !isDigest(name)), ...names.filter(isDigest)]) {
          try {
            const one = await read(name)
            if (one === isCorrupt) problems.push(`${name} does not hold the record of its name and was set aside`)
            else if (one !== undefined) found.push(one)
          } catch (error) {
            if (!unreadable.has(name)) problems.push(`${name} can't be read: ${textOf(error)}`)
            unreadable.add(name)
          }
        }
        return { found, problems }
      }).pipe(
        Effect.tap(({ problems }) =>
          problems.length === 0
            ? Effect.void
            : Effect.logError(`The settlement journal in ${folder} has files in disorder: ${problems.join("; ")}`)
        )
      ),
      ({ found }) => Stream.fromIterable(found)
    )
  )
}

const isCorrupt = Symbol("corrupt")

const setAside = async (path: string): Promise<typeof isCorrupt> => {
  await rename(path, `${path}.corrupt`)
  return isCorrupt
}

/** Reads a pending record. One that is none is set aside; one under an old name is moved to its own. */
const readPending = async (
  folder: string,
  name: string,
  owner: JournalOwner
): Promise<JournalRecord | typeof isCorrupt | undefined> => {
  const path = Path.join(folder, name)
  const text = await readText(path)
  if (text === undefined) return undefined
  const record = parseRecord(parse(text))
  if (record === undefined) return setAside(path)
  if (record.baseUrl !== owner.baseUrl) return undefined
  if (name === fileName(record.reservationId)) return record
  // An old name may stand for several ids, so only the record's own id decides; a digest stands for one.
  if (isDigest(name) && name !== oldName(record.reservationId)) return setAside(path)
  return migrate(folder, path, record)
}

/**
 * Moves a record from its old name to its own. A record that is there stays, unless the old one is the same and further on; an
 * old one that differs is set aside.
 */
const migrate = async (
  folder: string,
  path: string,
  record: JournalRecord
): Promise<JournalRecord | typeof isCorrupt | undefined> => {
  const target = Path.join(folder, fileName(record.reservationId))
  const text = await readText(target)
  if (text === undefined) {
    await rename(path, target)
    return record
  }
  const present = parseRecord(parse(text))
  // What is there is set aside when its turn comes; the next look moves the old one.
  if (present?.reservationId !== record.reservationId || present.baseUrl !== record.baseUrl) return undefined
  if (present.commitBody !== record.commitBody || present.eventBody !== record.eventBody) return setAside(path)
  await (record.mode === "event" && present.mode === "commit" ? rename(path, target) : unlink(path))
  return undefined
}

const readLetter = async (folder: string, name: string): Promise<DeadLetter | typeof isCorrupt | undefined> => {
  const path = Path.join(folder, name)
  const text = await readText(path)
  if (text === undefined) return undefined
  const value = parse(text)
  const record = parseRecord(value)
  if (record === undefined || !Predicate.isObject(value)) return setAside(path)
  const { died_at_ms, reason } = { died_at_ms: undefined, reason: undefined, ...value }
  return typeof reason === "string" && typeof died_at_ms === "number"
    ? { record, reason, diedAtMs: died_at_ms }
    : setAside(path)
}

// ---------------------------------------------------------------------------------------------------------------------
// the format
// ---------------------------------------------------------------------------------------------------------------------

/** The file of a reservation. */
export const fileName = (id: string): string => `v2-${createHash("sha256").update(id, "utf8").digest("hex")}.json`

const isDigest = (name: string): boolean => name.startsWith("v2-")

/** The file of a reservation before there were digests; ids that differ may have the same. */
const oldName = (id: string): string => `${id.replaceAll(/[^A-Za-z0-9_-]/g, "_")}.json`

/** The bodies are put in as they are, so that not a digit is lost. */
const recordFields = (record: JournalRecord): string =>
  `"version":1,"reservation_id":${JSON.stringify(record.reservationId)},"base_url":${JSON.stringify(record.baseUrl)},` +
  `"mode":"${record.mode}","commit_body":${record.commitBody},` +
  `"event_fallback_body":${record.eventBody ?? "null"},` +
  `"recorded_at_ms":${record.recordedAtMs},"not_before_ms":${record.notBeforeMs}`

const recordText = (record: JournalRecord): string => `{${recordFields(record)}}`

const letterText = (letter: DeadLetter): string =>
  `{${recordFields(letter.record)},"reason":${JSON.stringify(letter.reason)},"died_at_ms":${letter.diedAtMs}}`

const parse = (text: string): unknown => {
  try {
    return Json.parse(text)
  } catch {
    return undefined
  }
}

const parseRecord = (value: unknown): JournalRecord | undefined => {
  if (!Predicate.isObject(value)) return undefined
  const fields: Readonly<Record<string, unknown>> = { ...value }
  const { base_url, commit_body, event_fallback_body, not_before_ms, recorded_at_ms, reservation_id, version } = fields
  const mode = "mode" in fields ? fields["mode"] : "commit"
  if (version !== 1 || typeof reservation_id !== "string" || typeof base_url !== "string") return undefined
  if (mode !== "commit" && mode !== "event") return undefined
  if (!Predicate.isObject(commit_body)) return undefined
  if (event_fallback_body !== undefined && event_fallback_body !== null && !Predicate.isObject(event_fallback_body)) {
    return undefined
  }
  return {
    reservationId: ReservationId.make(reservation_id, { disableChecks: true }),
    baseUrl: base_url,
    mode,
    commitBody: Json.stringify(commit_body),
    eventBody: Predicate.isObject(event_fallback_body) ? Json.stringify(event_fallback_body) : undefined,
    recordedAtMs: typeof recorded_at_ms === "number" ? recorded_at_ms : Date.now(),
    notBeforeMs: typeof not_before_ms === "number" ? not_before_ms : 0
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// files
// ---------------------------------------------------------------------------------------------------------------------

const write = async (folder: string, name: string, text: string): Promise<void> => {
  const target = Path.join(folder, name)
  const temporary = `${target}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`
  const file = await Fs.open(temporary, "wx", 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(text, "utf8")
    await file.sync()
  } finally {
    await file.close()
  }
  await Fs.rename(temporary, target)
  const handle = await Fs.open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const isMissing = (error: unknown): boolean => Predicate.isObject(error) && "code" in error && error.code === "ENOENT"

const unlink = (path: string): Promise<void> =>
  Fs.unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error
  })

/** Another look, or another process, may have been faster. */
const rename = (from: string, to: string): Promise<void> =>
  Fs.rename(from, to).catch((error: unknown) => {
    if (!isMissing(error)) throw error
  })

const readText = (path: string): Promise<string | undefined> =>
  Fs.readFile(path, "utf8").catch((error: unknown) => {
    // Another process has settled it in the meantime.
    if (isMissing(error)) return undefined
    throw error
  })

const list = (folder: string): Promise<ReadonlyArray<string>> =>
  Fs.readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })

const hourMs = 3_600_000

const removeOldTemporaries = async (folder: string): Promise<void> => {
  for (const name of await list(folder)) {
    if (!name.endsWith(".tmp")) continue
    const path = Path.join(folder, name)
    const { mtimeMs } = await Fs.stat(path).catch(() => ({ mtimeMs: Date.now() }))
    // One that can't be removed is in nobody's way.
    if (Date.now() - mtimeMs > hourMs) await unlink(path).catch(() => {})
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const attempt = <A>(operation: JournalError["operation"], f: () => Promise<A>): Effect.Effect<A, JournalError> =>
  Effect.tryPromise({
    try: f,
    catch: (error) => new JournalError({ operation, problem: textOf(error) })
  })

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
