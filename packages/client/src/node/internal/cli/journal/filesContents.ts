/** Reads the journal of files, the folders of all owners. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { JournalOwner, JournalRecord } from "../../../../SettlementJournal.ts"
import { problemOf } from "../../files.ts"
import * as OwnerLock from "../../ownerLock.ts"
import * as RecordFiles from "../../recordFiles.ts"
import * as RecordFolder from "../../recordFolder.ts"
import type { Contents, Entry } from "./entries.ts"
import * as Entries from "./entries.ts"

/** Reads the folder. Throws if it can't be listed. */
export const read = (path: string): Contents => {
  const all = Fs.readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{16}$/.test(entry.name))
    .map(({ name }) => readOwner(Path.join(path, name), name))
  const living = new Set(all.flatMap(({ living }) => Array.from(living)))
  return {
    exists: true,
    entries: all.flatMap(({ entries }) => entries).toSorted((a, b) => a.record.recordedAtMs - b.record.recordedAtMs),
    damaged: all.flatMap(({ damaged }) => damaged),
    usedBy: living.size === 0 ? undefined : Entries.usedByOwners(living),
    isOld: false
  }
}

const readOwner = (folder: string, fingerprint: string) => {
  const living = OwnerLock.living(OwnerLock.folderIn(folder))
  const damaged: Array<string> = []
  const ownerOf = ({ baseUrl }: JournalRecord): JournalOwner => ({ baseUrl, fingerprint })

  const readAll = (folder: string, entryOf: (text: string) => Entry | undefined): ReadonlyArray<Entry> => {
    const names = list(folder)
    damaged.push(...names.filter((name) => name.endsWith(".corrupt")))
    return names
      .filter((name) => name.endsWith(".json"))
      .flatMap((name) => {
        const text = readText(Path.join(folder, name))
        // Settled in the meantime.
        if (text === undefined) return []
        const entry = text === unreadable ? undefined : entryOf(text)
        if (entry === undefined) damaged.push(name)
        return entry === undefined ? [] : [entry]
      })
  }

  const pending = (text: string): Entry | undefined => {
    const record = RecordFiles.parseRecord(text)
    return record === undefined ? undefined : Entries.make({ kind: "pending", owner: ownerOf(record), record })
  }
  const letter = (text: string): Entry | undefined => {
    const letter = RecordFiles.parseLetter(text)
    return letter === undefined
      ? undefined
      : Entries.make({ kind: "dead-letter", owner: ownerOf(letter.record), ...letter })
  }
  const open =
    (isAlive: boolean) =>
    (text: string): Entry | undefined => {
      const record = RecordFiles.parseRecord(text)
      return record === undefined ? undefined : Entries.make({ kind: "open", owner: ownerOf(record), record, isAlive })
    }

  const letters = RecordFolder.deadLettersOf(folder)
  const entries = [
    ...unique([...readAll(folder, pending), ...readAll(RecordFolder.furtherOf(folder), pending)]),
    ...unique([...readAll(letters, letter), ...readAll(RecordFolder.furtherOf(letters), letter)]),
    ...list(RecordFolder.openOf(folder)).flatMap((id) => readAll(RecordFolder.openOf(folder, id), open(living.has(id))))
  ]
  return { entries, damaged, living }
}

/** Two processes may have written the same record. An event replaces a commit. */
const unique = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> => {
  const found = new Map<string, Entry>()
  for (const entry of entries) if (found.get(entry.id)?.record.mode !== "event") found.set(entry.id, entry)
  return Array.from(found.values())
}

/** The names in a folder; none if it is missing. */
const list = (folder: string): ReadonlyArray<string> => (Fs.existsSync(folder) ? Fs.readdirSync(folder) : [])

const unreadable = Symbol("unreadable")

/** The text of a file; undefined if it no longer exists. */
const readText = (path: string): string | typeof unreadable | undefined => {
  try {
    return problemOf(Fs.statSync(path)) === undefined ? Fs.readFileSync(path, "utf8") : unreadable
  } catch {
    return Fs.existsSync(path) ? unreadable : undefined
  }
}
