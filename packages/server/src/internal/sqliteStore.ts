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

/** The version of the file's format. */
const formatVersion = 1

/** Memory for pages of the file: 64 MiB. */
const cacheKilobytes = 65_536

/** Pages that were changed before the log is put into the file: 32 MiB. */
const checkpointPages = 8_192

/** Marks the file as ours: "Cycl" in ASCII. */
const applicationId = 0x4379636c

/** Opens a data file, or makes one. A file that is none, or is of a newer version, or is in use, is left alone. */
export const open = (filename: string): Store => {
  const isNew = !Fs.existsSync(filename) || Fs.statSync(filename).size === 0
  if (isNew) Fs.closeSync(Fs.openSync(filename, "a", 0o600))
  const db = connect(filename)
  try {
    prepare(db, filename, isNew)
  } catch (error) {
    db.close()
    throw error
  }
  return makeStore(db)
}

// ---------------------------------------------------------------------------------------------------------------------
// the file
// ---------------------------------------------------------------------------------------------------------------------

const connect = (filename: string): DatabaseSync => {
  try {
    return new DatabaseSync(filename, { timeout: 1_000 })
  } catch (error) {
    throw new Error(`${filename} can't be opened: ${messageOf(error)}`, { cause: error })
  }
}

const prepare = (db: DatabaseSync, filename: string, isNew: boolean): void => {
  if (!isNew) {
    let application: unknown
    let version: unknown
    try {
      application = db.prepare("PRAGMA application_id").get()?.["application_id"]
      version = db.prepare("PRAGMA user_version").get()?.["user_version"]
    } catch (error) {
      throw new Error(`${filename} is no data file of this server: ${messageOf(error)}`, { cause: error })
    }
    if (application !== applicationId) throw new Error(`${filename} is no data file of this server`)
    if (version !== formatVersion) {
      throw new Error(`${filename} has format ${String(version)}; this server reads format ${formatVersion}`)
    }
  }
  try {
    // The lock is held for as long as the file is open: two servers on one file would keep two sets of books.
    db.exec("PRAGMA locking_mode = EXCLUSIVE")
    db.exec("PRAGMA journal_mode = WAL")
    db.exec("PRAGMA synchronous = FULL")
    // New rows fall all over the indexes: the pages that they touch stay at hand, and go into the file many changes at a time.
    db.exec(`PRAGMA cache_size = -${cacheKilobytes}`)
    db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`)
    if (isNew) {
      db.exec(`PRAGMA application_id = ${applicationId}`)
      db.exec(`PRAGMA user_version = ${formatVersion}`)
    }
    db.exec(`
      CREATE TABLE IF NOT EXISTS things (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        due INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, id)
      ) STRICT;
      CREATE INDEX IF NOT EXISTS things_by_owner ON things (kind, owner) WHERE owner <> '';
      CREATE INDEX IF NOT EXISTS things_by_due ON things (kind, due) WHERE due < ${Number.MAX_SAFE_INTEGER};
      BEGIN IMMEDIATE; COMMIT;
    `)
  } catch (error) {
    throw new Error(`${filename} can't be used; is another server running on it? ${messageOf(error)}`, { cause: error })
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

// ---------------------------------------------------------------------------------------------------------------------
// the tables
// ---------------------------------------------------------------------------------------------------------------------

const makeStore = (db: DatabaseSync): Store => {
  let isOpen = false

  const begin = (): void => {
    if (isOpen) return
    db.exec("BEGIN IMMEDIATE")
    isOpen = true
  }

  const upsert = db.prepare(
    "INSERT INTO things (kind, id, owner, due, body) VALUES (?, ?, ?, ?, ?) " +
      "ON CONFLICT (kind, id) DO UPDATE SET owner = excluded.owner, due = excluded.due, body = excluded.body"
  )

  const write = <A>(kind: Kind<A>, value: A): void => {
    begin()
    upsert.run(kind.name, kind.id(value), kind.owner(value), kind.due(value), encode(value))
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
        begin()
        remove.run(kind.name, id)
      },
      size: () => Number(size.get(kind.name)?.["n"] ?? 0)
    }
  }

  const commit = (): void => {
    for (const writeLast of changed.values()) writeLast()
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
    isDirty: () => isOpen || changed.size > 0,
    commit,
    close: () => {
      commit()
      db.close()
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** A bigint is written as an object with this one key, which no JSON of a user's has. */
const marker = "\u0000int64"

const encode = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? { [marker]: inner.toString() } : inner))

const decode = <A>(body: unknown): A =>
  JSON.parse(String(body), (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && marker in inner && typeof inner[marker] === "string"
      ? BigInt(inner[marker])
      : inner
  )
