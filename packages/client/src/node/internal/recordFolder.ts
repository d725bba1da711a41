/**
 * A folder of records or of dead letters. The first record of a reservation has the file name that all Cycles clients
 * use. Further records of the same reservation are in the subfolder `further`.
 */
import * as Path from "node:path"
import type { JournalRecord } from "../../SettlementJournal.ts"
import * as Files from "./files.ts"
import * as Folder from "./folder.ts"
import * as RecordFiles from "./recordFiles.ts"

/** The path of a files journal if none is configured. The other Cycles clients use it too. */
export const defaultPath = "~/.runcycles/commit-journal"

/** The subfolder of an owner's folder for dead letters. */
export const deadLettersOf = (folder: string): string => Path.join(folder, "dead-letters")

/** The subfolder of an owner's folder for open records, or the folder in it of one process. */
export const openOf = (folder: string, owner = ""): string => Path.join(folder, "open", owner)

/** The subfolder for further records. */
export const furtherOf = (folder: string): string => Path.join(folder, "further")

/**
 * Moves the file of a record into a folder, atomically and durably. A record with the same identity is replaced or
 * kept; other records don't change. Returns whether the record is new.
 */
export const place = async (
  folder: string,
  file: string,
  record: JournalRecord,
  onSame: "replace" | "keep"
): Promise<boolean> => {
  const first = Path.join(folder, RecordFiles.nameOf(record.reservationId))
  const further = Path.join(furtherOf(folder), RecordFiles.furtherNameOf(record))
  const isFurther = await Files.exists(further)
  if (!isFurther && (await Files.moveToFree(file, first))) return true
  const same = isFurther ? further : (await isRecord(first, record)) ? first : undefined
  if (same === undefined) {
    Folder.make(furtherOf(folder))
    await Files.move(file, further)
    return true
  }
  await (onSame === "replace" ? Files.move(file, same) : Files.unlink(file))
  return false
}

/** Removes a record. Records of the same reservation with other bodies stay. */
export const remove = async (folder: string, record: JournalRecord): Promise<void> => {
  const first = Path.join(folder, RecordFiles.nameOf(record.reservationId))
  if (await isRecord(first, record)) await Files.unlink(first)
  await Files.unlink(Path.join(furtherOf(folder), RecordFiles.furtherNameOf(record)))
}

/** Whether a folder has a record of a reservation. */
export const has = async (folder: string, id: string): Promise<boolean> => {
  const further = (await Files.list(furtherOf(folder))).filter((name) => RecordFiles.isFurtherName(name, id))
  const paths = [
    Path.join(folder, RecordFiles.nameOf(id)),
    Path.join(folder, RecordFiles.oldNameOf(id)),
    ...further.map((name) => Path.join(furtherOf(folder), name))
  ]
  for (const path of paths) if ((await read(path))?.reservationId === id) return true
  return false
}

const isRecord = async (path: string, record: JournalRecord): Promise<boolean> => {
  const present = await read(path)
  return present !== undefined && RecordFiles.isSame(present, record)
}

/** The record of a file; undefined if it doesn't exist or is unreadable. */
const read = async (path: string): Promise<JournalRecord | undefined> => {
  const text = await Files.readText(path).catch(() => undefined)
  return text === undefined ? undefined : RecordFiles.parseRecord(text)
}
