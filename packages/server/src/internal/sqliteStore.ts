/**
 * The ledger's tables in a SQLite file: one row a thing, its JSON beside the columns that are searched.
 *
 * A command writes into the open transaction; `commit` makes it durable (WAL, `synchronous=FULL`) together with all that
 * was written since. What there is little of, tenants, keys, budgets and policies, is kept in memory as well, and read from
 * there alone.
 */
import * as Fs from "node:fs"
import type { StatementSync } from "node:sqlite"
import { DatabaseSync } from "node:sqlite"
import type { DueTable, Kind, Store, Table } from "./store.ts"
import { kinds, memoryTable } from "./store.ts"

/** Brings a file from the format before to the next: the first from 1 to 2. Each runs in one transaction with its version. */
export type Migration = (db: DatabaseSync) => void

const migrations: ReadonlyArray<Migration> = []

/** Memory for pages of the file: 64 MiB. */
const cacheKilobytes = 65_536

/** Pages that were changed before the log is put into the file: 32 MiB. */
const checkpointPages = 8_192

/** Marks the file as ours: "Cycl" in ASCII. */
const applicationId = 0x4379636c

/**
 * Opens a data file, or makes one. One of an older format is copied beside itself, as `FILE.format-1`, and then upgraded. A
 * file that is none, or is of a newer format, or is in use, is left alone, and an error says so.
 */
export const open = (filename: string, upgrades: ReadonlyArray<Migration> = migrations): Store => {
  const newest = upgrades.length + 1
  const isNew = isEmpty(filename)
  if (!isNew) checkHead(filename, newest)
  const db = connect(filename)
  try {
    prepare(db, filename, isNew, upgrades)
    return makeStore(db)
  } catch (error) {
    db.close()
    throw error instanceof DataFileError
      ? error
      : new DataFileError(`${filename} can't be read: ${messageOf(error)}`, { cause: error })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

class DataFileError extends Error {}

const isEmpty = (filename: string): boolean => {
  const stats = Fs.statSync(filename, { throwIfNoEntry: false })
  if (stats !== undefined && !stats.isFile()) throw new DataFileError(`${filename} is no file`)
  if (stats !== undefined && stats.size > 0) return false
  try {
    Fs.closeSync(Fs.openSync(filename, "a", 0o600))
  } catch (error) {
    throw new DataFileError(`${filename} can't be made: ${messageOf(error)}`, { cause: error })
  }
  return true
}

/**
 * Looks at the head of a file before SQLite does: opening and closing would already move what a killed server left in the
 * log beside it. A head that is being rolled back is not looked at; SQLite puts it right first.
 */
const checkHead = (filename: string, newest: number): void => {
  if (Fs.existsSync(`${filename}-journal`)) return
  const head = Buffer.alloc(72)
  try {
    const file = Fs.openSync(filename, "r")
    try {
      Fs.readSync(file, head, 0, head.length, 0)
    } finally {
      Fs.closeSync(file)
    }
  } catch (error) {
    throw new DataFileError(`${filename} can't be read: ${messageOf(error)}`, { cause: error })
  }
  if (head.toString("latin1", 0, 16) !== "SQLite format 3\u0000") throw foreign(filename)
  checkVersion(filename, head.readUInt32BE(68), head.readUInt32BE(60), newest)
}

const checkVersion = (filename: string, application: unknown, version: unknown, newest: number): number => {
  if (application !== applicationId) throw foreign(filename)
  if (typeof version === "number" && version >= 1 && version <= newest) return version
  throw new DataFileError(`${filename} has format ${String(version)}; this server reads format ${newest} and older`)
}

const foreign = (filename: string): DataFileError => new DataFileError(`${filename} is no data file of this server`)

const connect = (filename: string): DatabaseSync => {
  try {
    return new DatabaseSync(filename, { timeout: 1_000 })
  } catch (error) {
    throw new DataFileError(`${filename} can't be opened: ${messageOf(error)}`, { cause: error })
  }
}

const prepare = (db: DatabaseSync, filename: string, isNew: boolean, upgrades: ReadonlyArray<Migration>): void => {
  try {
    // The lock is held for as long as the file is open: two servers on one file would keep two sets of books.
    db.exec("PRAGMA locking_mode = EXCLUSIVE")
    // Before the log is in use, so that the head of the file itself says what it is.
    if (isNew) make(db)
    const version = checkVersion(
      filename,
      db.prepare("PRAGMA application_id").get()?.["application_id"],
      db.prepare("PRAGMA user_version").get()?.["user_version"],
      upgrades.length + 1
    )
    db.exec("PRAGMA journal_mode = WAL")
    db.exec("PRAGMA synchronous = FULL")
    // New rows fall all over the indexes: the pages that they touch stay at hand, and go into the file many changes at a time.
    db.exec(`PRAGMA cache_size = -${cacheKilobytes}`)
    db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`)
    db.exec("BEGIN IMMEDIATE; COMMIT")
    if (version <= upgrades.length) upgrade(db, filename, version, upgrades)
  } catch (error) {
    if (!(error instanceof DataFileError) && /locked|busy/.test(messageOf(error))) {
      throw new DataFileError(`${filename} is in use: another server runs on it`, { cause: error })
    }
    throw error
  }
}

const make = (db: DatabaseSync): void =>
  db.exec(`
    BEGIN EXCLUSIVE;
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = 1;
    CREATE TABLE things (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      owner TEXT NOT NULL,
      due INTEGER NOT NULL,
      body TEXT NOT NULL,
      PRIMARY KEY (kind, id)
    ) STRICT;
    CREATE INDEX things_by_owner ON things (kind, owner) WHERE owner <> '';
    CREATE INDEX things_by_due ON things (kind, due) WHERE due < ${Number.MAX_SAFE_INTEGER};
    COMMIT;
  `)

const upgrade = (db: DatabaseSync, filename: string, version: number, upgrades: ReadonlyArray<Migration>): void => {
  const copy = `${filename}.format-${version}`
  // A copy that is there already is that of an upgrade which did not come to its end: it is made anew.
  Fs.rmSync(copy, { force: true })
  db.prepare("VACUUM INTO ?").run(copy)
  upgrades.slice(version - 1).forEach((migration, i) => {
    db.exec("BEGIN IMMEDIATE")
    try {
      migration(db)
      db.exec(`PRAGMA user_version = ${version + i + 1}`)
      db.exec("COMMIT")
    } catch (error) {
      db.exec("ROLLBACK")
      throw new DataFileError(
        `${filename} can't be brought to format ${version + i + 1}; a copy is in ${copy}: ${messageOf(error)}`,
        { cause: error }
      )
    }
  })
  // So that the head of the file itself has the new version.
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

// ---------------------------------------------------------------------------------------------------------------------
// the tables
// ---------------------------------------------------------------------------------------------------------------------

const makeStore = (db: DatabaseSync): Store => {
  let isOpen = false
  let failure: unknown

  /** Writes. Once a write has failed a command may be half done: nothing that came since is made durable, ever. */
  const writing = (write: () => void): void => {
    try {
      if (!isOpen) db.exec("BEGIN IMMEDIATE")
      isOpen = true
      write()
    } catch (error) {
      failure = error
      throw error
    }
  }

  const upsert = db.prepare(
    "INSERT INTO things (kind, id, owner, due, body) VALUES (?, ?, ?, ?, ?) " +
      "ON CONFLICT (kind, id) DO UPDATE SET owner = excluded.owner, due = excluded.due, body = excluded.body"
  )

  const write = <A>(kind: Kind<A>, value: A): void => {
    writing(() => upsert.run(kind.name, kind.id(value), kind.owner(value), kind.due(value), encode(value)))
  }

  /** What is in memory is written once for all its changes: many reservations of a turn move the same budget. */
  const changed = new Map<string, () => void>()

  const cached = <A>(kind: Kind<A>): Table<A> => {
    const memory = memoryTable(kind)
    for (const row of db.prepare("SELECT body FROM things WHERE kind = ? ORDER BY rowid").iterate(kind.name)) {
      memory.put(decode<A>(row["body"]))
    }
    return {
      get: memory.get,
      ofOwner: memory.ofOwner,
      all: memory.all,
      put: (value) => {
        memory.put(value)
        changed.set(`${kind.name} ${kind.id(value)}`, () => write(kind, value))
      }
    }
  }

  const stored = <A>(kind: Kind<A>): DueTable<A> => {
    const one = db.prepare("SELECT body FROM things WHERE kind = ? AND id = ?")
    const owned = db.prepare("SELECT body FROM things WHERE kind = ? AND owner = ? AND owner <> '' ORDER BY rowid")
    const every = db.prepare("SELECT body FROM things WHERE kind = ? ORDER BY rowid")
    const dueBy = db.prepare(
      `SELECT body FROM things WHERE kind = ? AND due <= ? AND due < ${Number.MAX_SAFE_INTEGER} ORDER BY due, id LIMIT ?`
    )
    const firstDue = db.prepare(
      `SELECT min(due) AS due FROM things WHERE kind = ? AND due < ${Number.MAX_SAFE_INTEGER}`
    )
    const remove = db.prepare("DELETE FROM things WHERE kind = ? AND id = ?")
    const size = db.prepare("SELECT count(*) AS n FROM things WHERE kind = ?")
    let nextDue = Number(firstDue.get(kind.name)?.["due"] ?? Number.POSITIVE_INFINITY)

    const all = function* (statement: StatementSync, ...parameters: ReadonlyArray<string>): Iterable<A> {
      for (const row of statement.iterate(...parameters)) yield decode<A>(row["body"])
    }

    return {
      get: (id) => {
        const row = one.get(kind.name, id)
        return row === undefined ? undefined : decode<A>(row["body"])
      },
      put: (value) => {
        write(kind, value)
        nextDue = Math.min(nextDue, kind.due(value))
      },
      ofOwner: (owner) => all(owned, kind.name, owner),
      all: () => all(every, kind.name),
      due: (nowMs, limit) => {
        if (nextDue > nowMs) return []
        const rows = dueBy.all(kind.name, nowMs, limit)
        if (rows.length < limit) {
          const after = db
            .prepare(
              `SELECT min(due) AS due FROM things WHERE kind = ? AND due > ? AND due < ${Number.MAX_SAFE_INTEGER}`
            )
            .get(kind.name, nowMs)
          nextDue = Number(after?.["due"] ?? Number.POSITIVE_INFINITY)
        }
        return rows.map((row) => decode<A>(row["body"]))
      },
      remove: (id) => {
        writing(() => remove.run(kind.name, id))
      },
      size: () => Number(size.get(kind.name)?.["n"] ?? 0)
    }
  }

  const commit = (): void => {
    try {
      if (failure === undefined) changed.forEach((writeLast) => writeLast())
    } catch (error) {
      failure = error
    }
    if (failure !== undefined) throw new DataFileError(`the data file can't be written: ${messageOf(failure)}`)
    changed.clear()
    if (!isOpen) return
    db.exec("COMMIT")
    isOpen = false
  }

  return {
    tenants: cached(kinds.tenants),
    keys: cached(kinds.keys),
    budgets: cached(kinds.budgets),
    policies: cached(kinds.policies),
    reservations: stored(kinds.reservations),
    answers: stored(kinds.answers),
    isDirty: () => isOpen || changed.size > 0 || failure !== undefined,
    commit,
    close: () => {
      if (failure === undefined) commit()
      db.close()
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** A bigint is written as an object with this one key. */
const marker = "\u0000int64"

/** An object of a user's that has one of these keys is written as the list of its fields under this one. */
const escaped = "\u0000object"

const encode = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "bigint") return { [marker]: inner.toString() }
    return isMarked(inner) ? { [escaped]: Object.entries(inner).flat() } : inner
  })

const decode = <A>(body: unknown): A =>
  JSON.parse(String(body), (_key, inner: unknown) => {
    if (!isMarked(inner)) return inner
    const fields = inner[escaped]
    if (!Array.isArray(fields)) return BigInt(String(inner[marker]))
    return Object.fromEntries(fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : [])))
  })

const isMarked = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && (Object.hasOwn(value, marker) || Object.hasOwn(value, escaped))
