/**
 * The format of the SQLite journal: its tables, and the upgrade of older files. Format 2 adds the body to the key of a
 * record, and adds open records. The columns of format 1 are unchanged, so that a process with an older client that has
 * the file open continues to work.
 */
import * as Fs from "node:fs"
import * as Sqlite from "./sqlite.ts"

/**
 * Upgrades a file to this format. Writes nothing if the file has it already. Throws, without changing the file, if the
 * file belongs to another program or a newer client.
 */
export const migrate = (filename: string, db: Sqlite.Database): void => {
  const found = inspect(filename, db)
  // No effect if the file has these settings already.
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
  if (found === "current") return
  db.exec("BEGIN IMMEDIATE")
  // Another process may have upgraded the file in the meantime.
  const now = inspect(filename, db)
  if (now === "v1") {
    backUp(filename)
    db.exec(upgrade)
  } else if (now === "empty") db.exec(schema)
  db.exec("COMMIT")
}

/**
 * Checks a file with a write-ahead log before it is opened for writing. The last connection to close moves the log into
 * the file, which would change a file of another program.
 */
export const checkUntouched = (filename: string): void => {
  if ((Fs.statSync(`${filename}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0) return
  const db = Sqlite.open(filename, { readOnly: true })
  try {
    inspect(filename, db)
  } finally {
    db.close()
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// inspect
// ---------------------------------------------------------------------------------------------------------------------

/** The format of a file. A file whose creation was interrupted counts as empty. */
export const inspect = (filename: string, db: Sqlite.Database): "empty" | "v1" | "current" => {
  const { application, journalTables, tables, version } = { ...db.prepare(formatOf).get() }
  if (tables === 0 && version === 0 && (application === 0 || application === applicationId)) return "empty"
  if (application !== applicationId) throw new Error(`${filename} is not a journal of this client`)
  if (version === formatVersion) return journalTables === 4 ? "current" : "empty"
  if (version === 1) return journalTables === 3 ? "v1" : "empty"
  throw new Error(`${filename} has format ${String(version)}; this client reads format ${formatVersion} and older`)
}

const formatVersion = 2

/** The SQLite application id of a journal: "CyJo" in ASCII. */
const applicationId = 0x43794a6f

const formatOf = `
  SELECT
    (SELECT application_id FROM pragma_application_id) AS application,
    (SELECT user_version FROM pragma_user_version) AS version,
    (SELECT count(*) FROM sqlite_schema WHERE type = 'table') AS tables,
    (SELECT count(*) FROM sqlite_schema
      WHERE name IN ('records', 'dead_letters', 'open_records', 'quarantine')) AS journalTables`

// ---------------------------------------------------------------------------------------------------------------------
// tables
// ---------------------------------------------------------------------------------------------------------------------

/** The columns of a record, in all tables. */
const recordColumns = `
    fingerprint TEXT NOT NULL,
    base_url TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    commit_body TEXT NOT NULL,
    event_body TEXT,
    recorded_at_ms INTEGER NOT NULL,
    not_before_ms INTEGER NOT NULL`

// The key contains the whole body instead of a digest. In a table without a rowid the key is the row, so this takes no
// more space, and no digest has to be computed.
const tables = `
  CREATE TABLE IF NOT EXISTS records (${recordColumns},
    PRIMARY KEY (fingerprint, base_url, reservation_id, commit_body)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS dead_letters (${recordColumns},
    reason TEXT NOT NULL,
    died_at_ms INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, base_url, reservation_id, commit_body)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS open_records (${recordColumns},
    owner TEXT NOT NULL,
    PRIMARY KEY (fingerprint, base_url, owner, reservation_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS quarantine (content TEXT NOT NULL, found_at_ms INTEGER NOT NULL) STRICT;`

const schema = `
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${formatVersion};
  ${tables}`

const upgrade = `
  ALTER TABLE records RENAME TO records_v1;
  ALTER TABLE dead_letters RENAME TO dead_letters_v1;
  ${tables}
  INSERT INTO records SELECT * FROM records_v1;
  INSERT INTO dead_letters SELECT * FROM dead_letters_v1;
  DROP TABLE records_v1;
  DROP TABLE dead_letters_v1;
  PRAGMA user_version = ${formatVersion};`

// ---------------------------------------------------------------------------------------------------------------------
// the copy of an older file
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Copies a file of format 1, with its write-ahead log, to `<file>.v1.bak`. The caller holds the write lock, so that no
 * other process changes or copies the file. An earlier copy isn't overwritten.
 */
const backUp = (filename: string): void => {
  const temporary = `${filename}.v1.bak.tmp`
  try {
    Fs.rmSync(temporary, { force: true })
    // Set the permissions before anything is written to the file.
    Fs.closeSync(Fs.openSync(temporary, "wx", 0o600))
    const db = Sqlite.open(filename, { readOnly: true })
    try {
      db.prepare("VACUUM INTO ?").run(temporary)
    } finally {
      db.close()
    }
    const descriptor = Fs.openSync(temporary, "r+")
    try {
      Fs.fsyncSync(descriptor)
    } finally {
      Fs.closeSync(descriptor)
    }
    Fs.renameSync(temporary, freeName(`${filename}.v1.bak`))
  } catch (error) {
    Fs.rmSync(temporary, { force: true })
    throw error
  }
}

const freeName = (name: string): string => {
  let free = name
  for (let n = 2; Fs.existsSync(free); n++) free = `${name}.${n}`
  return free
}
