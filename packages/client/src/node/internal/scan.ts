/**
 * Scans the folders of the files journal for pending records, dead letters, and open records of dead owners. An
 * unreadable file doesn't affect the others.
 */
import * as Path from "node:path"
import type { DeadLetter, JournalOwner, JournalRecord } from "../../SettlementJournal.ts"
import * as Files from "./files.ts"
import { messageOf } from "./problem.ts"
import * as RecordFiles from "./recordFiles.ts"
import * as RecordFolder from "./recordFolder.ts"

/** The found entries, and a description of each problem. */
export interface Found<A> {
  readonly found: ReadonlyArray<A>
  readonly problems: ReadonlyArray<string>
}

/** Reads one file. */
type Read<A> = (folder: string, name: string) => Promise<Entry<A>>

/** The content of a file; undefined if it isn't a file for this reader. */
type Entry<A> = A | typeof isCorrupt | undefined

const isCorrupt = Symbol("corrupt")

/**
 * Reads pending records in slices, so that a large journal is settled while it is read. Each slice is sorted, oldest
 * first. `reported` contains the unreadable files that were already reported.
 */
export const readPending = async function* (
  folder: string,
  owner: JournalOwner,
  reported: Set<string>
): AsyncGenerator<Found<JournalRecord>, void> {
  const further = await readAll(
    RecordFolder.furtherOf(folder),
    (folder, name) => readFurther(folder, name, owner),
    reported
  )
  const others = new Map(further.found.map((record) => [RecordFiles.identityOf(record), record]))
  const names = await namesIn(folder)
  // Old names first: their records are moved to new names, which may be in the list too.
  const isOld = (name: string): boolean => !RecordFiles.isDigest(name)
  const moved = new Set<string>()
  const readOne: Read<JournalRecord> = (folder, name) => readFirst(folder, name, owner)
  const old = await readEach(folder, names.filter(isOld), 1, readOne, reported)
  for (const record of old.found) moved.add(RecordFiles.nameOf(record.reservationId))
  const current = names.filter((name) => !isOld(name) && !moved.has(name))
  let before: Found<JournalRecord> = { found: old.found, problems: [...further.problems, ...old.problems] }
  for (let start = 0; start === 0 || start < current.length; start += sliceSize) {
    const slice = current.slice(start, start + sliceSize)
    const read = await readEach(folder, slice, readConcurrency, readOne, reported)
    const found = [...before.found, ...read.found].map((record) => {
      const identity = RecordFiles.identityOf(record)
      const other = others.get(identity)
      others.delete(identity)
      // Two processes may have written the same record. An event replaces a commit.
      return record.mode === "event" ? record : (other ?? record)
    })
    const isLast = start + sliceSize >= current.length
    yield {
      found: oldestFirst(isLast ? [...found, ...others.values()] : found),
      problems: [...before.problems, ...read.problems]
    }
    before = { found: [], problems: [] }
  }
}

/** The number of files that are read before the first record of a scan, which must be found within 10 s. */
const sliceSize = 1_000

const oldestFirst = (records: ReadonlyArray<JournalRecord>): ReadonlyArray<JournalRecord> =>
  records.toSorted((a, b) => a.recordedAtMs - b.recordedAtMs || (a.reservationId < b.reservationId ? -1 : 1))

/** Reads dead letters, oldest first. */
export const readLetters = async (folder: string, reported: Set<string>): Promise<Found<DeadLetter>> => {
  const first = await readAll(folder, readLetter, reported)
  const further = await readAll(RecordFolder.furtherOf(folder), readLetter, reported)
  return {
    found: [...first.found, ...further.found].toSorted((a, b) => a.diedAtMs - b.diedAtMs),
    problems: [...first.problems, ...further.problems]
  }
}

/** Moves the open records of a dead owner to the pending records. */
export const adopt = async (
  folder: string,
  open: string,
  { baseUrl }: JournalOwner,
  reported: Set<string>
): Promise<Found<boolean>> => {
  const read: Read<boolean> = async (open, name) => {
    const path = Path.join(open, name)
    const text = await Files.readText(path)
    if (text === undefined) return undefined
    const record = RecordFiles.parseRecord(text)
    if (record === undefined || name !== RecordFiles.openNameOf(record.reservationId)) {
      await Files.rename(path, Path.join(folder, `${name}.corrupt`))
      return isCorrupt
    }
    return record.baseUrl === baseUrl ? RecordFolder.place(folder, path, record, "keep") : undefined
  }
  const all = await readEach(open, await namesIn(open), 1, read, reported)
  for (const name of await Files.list(open)) if (Files.isTemporary(name)) await Files.discard(Path.join(open, name))
  await Files.discardFolder(open)
  return all
}

/** Reads all files of a folder. */
const readAll = async <A>(folder: string, read: Read<A>, reported: Set<string>): Promise<Found<A>> =>
  readEach(folder, await namesIn(folder), readConcurrency, read, reported)

const namesIn = async (folder: string): Promise<ReadonlyArray<string>> =>
  (await Files.list(folder)).filter((name) => name.endsWith(".json")).toSorted()

/** Reads files of a folder. */
const readEach = async <A>(
  folder: string,
  names: ReadonlyArray<string>,
  concurrency: number,
  read: Read<A>,
  reported: Set<string>
): Promise<Found<A>> => {
  const found: Array<A> = []
  const problems: Array<string> = []
  await forEachConcurrently(names, concurrency, async (name) => {
    try {
      const one = await read(folder, name)
      if (one === isCorrupt) problems.push(`${name} is invalid or doesn't match its name, and was set aside`)
      else if (one !== undefined) found.push(one)
    } catch (error) {
      const path = Path.join(folder, name)
      if (!reported.has(path)) problems.push(`${name} can't be read: ${messageOf(error)}`)
      reported.add(path)
    }
  })
  return { found, problems: problems.toSorted() }
}

const readConcurrency = 16

const forEachConcurrently = async (
  names: ReadonlyArray<string>,
  concurrency: number,
  run: (name: string) => Promise<void>
) => {
  let next = 0
  const loop = async (): Promise<void> => {
    for (let name = names[next]; name !== undefined; name = names[next]) {
      next += 1
      await run(name)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, loop))
}

const setAside = async (path: string): Promise<typeof isCorrupt> => {
  await Files.rename(path, `${path}.corrupt`)
  return isCorrupt
}

// ---------------------------------------------------------------------------------------------------------------------
// one file
// ---------------------------------------------------------------------------------------------------------------------

/** Reads and parses a file; undefined if it doesn't exist. Sets an invalid one aside. */
const readFile = async <A>(path: string, parse: (text: string) => A | undefined): Promise<Entry<A>> => {
  const text = await Files.readText(path)
  return text === undefined ? undefined : (parse(text) ?? setAside(path))
}

/** Reads the first record of a reservation, and renames a file with an old name. */
const readFirst = async (folder: string, name: string, owner: JournalOwner): Promise<Entry<JournalRecord>> => {
  const path = Path.join(folder, name)
  const record = await readFile(path, RecordFiles.parseRecord)
  if (record === undefined || record === isCorrupt) return record
  if (record.baseUrl !== owner.baseUrl) return undefined
  if (name === RecordFiles.nameOf(record.reservationId)) return record
  // Several ids may share an old name, so the id in the record decides. A digest belongs to one id.
  if (RecordFiles.isDigest(name) && name !== RecordFiles.oldNameOf(record.reservationId)) return setAside(path)
  return migrate(folder, path, record)
}

const readFurther = async (folder: string, name: string, owner: JournalOwner): Promise<Entry<JournalRecord>> => {
  const path = Path.join(folder, name)
  const record = await readFile(path, RecordFiles.parseRecord)
  if (record === undefined || record === isCorrupt) return record
  if (name !== RecordFiles.furtherNameOf(record)) return setAside(path)
  return record.baseUrl === owner.baseUrl ? record : undefined
}

const readLetter: Read<DeadLetter> = (folder, name) => readFile(Path.join(folder, name), RecordFiles.parseLetter)

/**
 * Renames a file with an old name. If a record with the new name exists, it stays, unless the old one is the same
 * record in mode `event`. A different old record is set aside.
 */
const migrate = async (folder: string, path: string, record: JournalRecord): Promise<Entry<JournalRecord>> => {
  const target = Path.join(folder, RecordFiles.nameOf(record.reservationId))
  const text = await Files.readText(target)
  if (text === undefined) {
    await Files.rename(path, target)
    return record
  }
  const present = RecordFiles.parseRecord(text)
  // This scan sets the existing file aside when it reads it. The next scan then renames the old one.
  if (present?.reservationId !== record.reservationId || present.baseUrl !== record.baseUrl) return undefined
  if (present.commitBody !== record.commitBody || present.eventBody !== record.eventBody) return setAside(path)
  await (record.mode === "event" && present.mode === "commit" ? Files.rename(path, target) : Files.unlink(path))
  return undefined
}
