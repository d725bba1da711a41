/** Reads the journal in a SQLite file over a read-only connection. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { JournalOwner } from "../../../../SettlementJournal.ts"
import * as Format from "../../journalFormat.ts"
import * as OwnerLock from "../../ownerLock.ts"
import type { Row } from "../../rows.ts"
import { letterOf, recordOf } from "../../rows.ts"
import * as Sqlite from "../../sqlite.ts"
import type { Contents, Entry } from "./entries.ts"
import * as Entries from "./entries.ts"

/** Reads the file. Throws if it can't be read, isn't a journal, or has a newer format. */
export const read = (path: string): Contents => {
  const filename = Fs.realpathSync(path)
  const living = OwnerLock.living(OwnerLock.folderIn(Path.dirname(filename)))
  const db = Sqlite.open(filename, { readOnly: true })
  let found: { readonly format: ReturnType<typeof Format.inspect>; readonly tables: Tables }
  try {
    const format = Format.inspect(filename, db)
    const rows = (table: string): ReadonlyArray<Row> => {
      const exists = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(table)
      if (exists === undefined) return []
      const statement = db.prepare(`SELECT * FROM ${table}`)
      statement.setReadBigInts(true)
      return statement.all()
    }
    found = {
      format,
      tables: {
        records: rows("records"),
        letters: rows("dead_letters"),
        open: rows("open_records"),
        quarantine: rows("quarantine")
      }
    }
  } finally {
    db.close()
  }
  const { entries, damaged } = entriesOf(found.tables, living)
  return { exists: true, entries, damaged, usedBy: usedBy(filename, living), isOld: found.format === "v1" }
}

interface Tables {
  readonly records: ReadonlyArray<Row>
  readonly letters: ReadonlyArray<Row>
  readonly open: ReadonlyArray<Row>
  readonly quarantine: ReadonlyArray<Row>
}

const entriesOf = (
  { letters, open, quarantine, records }: Tables,
  living: ReadonlySet<string>
): Pick<Contents, "entries" | "damaged"> => {
  const damaged = quarantine.map(() => "a row that was set aside (table quarantine)")
  const read = (rows: ReadonlyArray<Row>, entryOf: (row: Row, owner: JournalOwner) => Entry | undefined) =>
    rows.flatMap((row) => {
      const { base_url, fingerprint } = row
      const entry =
        typeof base_url === "string" && typeof fingerprint === "string"
          ? entryOf(row, { baseUrl: base_url, fingerprint })
          : undefined
      if (entry === undefined) damaged.push("an unreadable row")
      return entry === undefined ? [] : [entry]
    })
  const entries = [
    ...read(records, (row, owner) => {
      const record = recordOf(row)
      return record === undefined ? undefined : Entries.make({ kind: "pending", owner, record })
    }),
    ...read(letters, (row, owner) => {
      const letter = letterOf(row)
      return letter === undefined ? undefined : Entries.make({ kind: "dead-letter", owner, ...letter })
    }),
    ...read(open, (row, owner) => {
      const record = recordOf(row)
      const isAlive = living.has(String(row["owner"]))
      return record === undefined ? undefined : Entries.make({ kind: "open", owner, record, isAlive })
    })
  ]
  return { entries: entries.toSorted((a, b) => a.record.recordedAtMs - b.record.recordedAtMs), damaged }
}

/**
 * Whether a process has the file open. Each connection to a file with a write-ahead log holds a shared lock, so an
 * exclusive lock proves that there is no other connection. It is released at once.
 */
const usedBy = (filename: string, living: ReadonlySet<string>): string | undefined => {
  if (living.size > 0) return Entries.usedByOwners(living)
  let db: ReturnType<typeof Sqlite.open> | undefined
  try {
    Fs.accessSync(filename, Fs.constants.W_OK)
    db = Sqlite.open(filename)
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; ROLLBACK")
    return undefined
  } catch (error) {
    return Sqlite.isBusy(error) ? "a running process has the file open" : undefined
  } finally {
    db?.close()
  }
}
