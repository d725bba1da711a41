/**
 * The format of data files, and upgrades from older formats.
 *
 * Format 1 stored all rows as JSON in one table, `things`. Format 2 has separate tables for reservations and responses
 * (`answers`), with columns for the fields that are searched. Format 3 renames the latter to `responses`, and indexes their
 * idempotency keys in a table, which is written later than the responses: see `keyIndex.ts`.
 */
import type { Format, Migration } from "./dataFile.ts"
import type { Reservation, StoredResponse } from "./model.ts"
import { decode, encodeReservation } from "./codec.ts"
import * as KeyIndex from "./keyIndex.ts"
import { tableSchemas } from "./store.ts"

const recordTables = `
  CREATE TABLE records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
  ) STRICT;

  CREATE TABLE reservations (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX reservations_by_creation ON reservations (owner, created_at, id);
  CREATE INDEX reservations_by_due ON reservations (due);
`

const responseTable = (name: string): string => `
  CREATE TABLE ${name} (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    parent INTEGER,
    due INTEGER NOT NULL,
    request TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    reservation TEXT,
    expires_at INTEGER
  ) STRICT;
`

/** Responses of a reservation are found by its row number: unlike ids, new row numbers are adjacent in the index. */
const responseIndexes = `
  CREATE UNIQUE INDEX responses_by_parent ON responses (parent, id) WHERE parent IS NOT NULL;
  CREATE INDEX responses_by_due ON responses (due) WHERE parent IS NULL;
`

/** Upgrades format 1 to format 2. */
const toFormat2: Migration = (db) => {
  db.exec(recordTables + responseTable("answers"))
  db.exec(`
    CREATE UNIQUE INDEX answers_by_id ON answers (id) WHERE parent IS NULL;
    CREATE UNIQUE INDEX answers_by_parent ON answers (parent, id) WHERE parent IS NOT NULL;
    CREATE INDEX answers_by_due ON answers (due) WHERE parent IS NULL;
  `)
  db.exec(`
    INSERT INTO records (kind, id, body)
      SELECT kind, id, body FROM things WHERE kind NOT IN ('reservations', 'answers') ORDER BY rowid
  `)
  const things = db.prepare("SELECT body FROM things WHERE kind = ? ORDER BY rowid")
  const putReservation = db.prepare(
    "INSERT INTO reservations (id, owner, created_at, due, body) VALUES (?, ?, ?, ?, ?)"
  )
  for (const { body } of things.iterate("reservations")) {
    const reservation = decode<Reservation>(body)
    const { createdAtMs, id, tenantId } = reservation
    putReservation.run(
      id,
      tenantId,
      createdAtMs,
      tableSchemas.reservations.due(reservation),
      encodeReservation(reservation)
    )
  }
  const selectSeq = db.prepare("SELECT seq FROM reservations WHERE id = ?")
  const putResponse = db.prepare(
    "INSERT INTO answers (id, parent, due, request, status, body, reservation, expires_at)" +
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
  )
  for (const { body } of things.iterate("answers")) {
    const response = decode<Omit<StoredResponse, "parentId">>(body)
    const [operation = "", name = ""] = response.id.split(" ")
    const belongsToReservation = ["commit", "release", "extend"].includes(operation)
    const parent = belongsToReservation ? selectSeq.get(name)?.["seq"] : null
    // The reservation was removed, so the response can't be requested any more.
    if (parent === undefined) continue
    putResponse.run(
      response.id,
      parent,
      response.forgetAtMs,
      response.request,
      response.status,
      response.body,
      response.reservationId ?? null,
      response.expiresAtMs ?? null
    )
  }
  db.exec("DROP TABLE things")
}

/** Upgrades format 2 to format 3. */
const toFormat3: Migration = (db) => {
  db.exec(`
    DROP INDEX answers_by_id;
    DROP INDEX answers_by_parent;
    DROP INDEX answers_by_due;
    ALTER TABLE answers RENAME TO responses;
  `)
  db.exec(responseIndexes + KeyIndex.tables)
  db.exec(`
    INSERT INTO response_keys SELECT id, seq FROM responses WHERE parent IS NULL ORDER BY id;
    INSERT INTO key_marks SELECT 1, max(seq) FROM responses HAVING count(*) > 0;
  `)
}

/** The current format. */
export const format: Format = {
  make: (db) => db.exec(recordTables + responseTable("responses") + responseIndexes + KeyIndex.tables),
  upgrades: [toFormat2, toFormat3]
}
