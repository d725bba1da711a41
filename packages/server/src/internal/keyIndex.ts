/**
 * The index of stored responses by idempotency key.
 *
 * Keys are random. If each key were written at once, nearly every one would change a different page, and these would be half of
 * the pages that a commit writes. New keys are therefore kept in memory and written in sorted order, so that adjacent keys share a
 * page. Each commit writes as many keys as it adds. After a crash, `open` reads the missing keys from the responses.
 */
import type { DatabaseSync } from "node:sqlite"

/** Finds the row number of the stored response of a key. */
export interface KeyIndex {
  readonly find: (id: string) => number | undefined
  /** Adds a key, or replaces its row number. */
  readonly add: (id: string, seq: number) => void
  /** Removes a key, unless it belongs to another row by now. Requires an open transaction. */
  readonly remove: (id: string, seq: number) => void
  /** Writes as many keys as were added since the last call. Requires an open transaction. */
  readonly write: () => void
  /** Writes all keys. Requires an open transaction. */
  readonly writeAll: () => void
}

/** The tables of the index. `key_marks` has one row: the keys of all responses up to `seq` are in `response_keys`. */
export const tables = `
  CREATE TABLE response_keys (id TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE key_marks (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
`

/** The number of keys that are sorted together. At most twice as many are kept in memory. */
const batchSize = 8_192

/** Opens the index of a file, with batches of at least `size` keys. */
export const open = (db: DatabaseSync, size: number = batchSize): KeyIndex => {
  const select = db.prepare("SELECT seq FROM response_keys WHERE id = ?")
  const insert = db.prepare(
    "INSERT INTO response_keys (id, seq) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq"
  )
  const remove = db.prepare("DELETE FROM response_keys WHERE id = ? AND seq = ?")
  const mark = db.prepare("INSERT OR REPLACE INTO key_marks (id, seq) VALUES (1, ?)")
  const missing = db.prepare(
    "SELECT id, seq FROM responses WHERE seq > (SELECT coalesce(max(seq), 0) FROM key_marks) AND parent IS NULL ORDER BY seq"
  )

  const written = (id: string): number | undefined => {
    const row = select.get(id)
    return row === undefined ? undefined : Number(row["seq"])
  }

  /** The keys that aren't written yet. */
  const unwritten = new Map<string, number>()
  /** The keys of the current batch in sorted order. The first `position` of them are written. */
  let batch: ReadonlyArray<string> = []
  let position = 0
  /** The greatest row number when the batch was started. */
  let batchSeq = 0
  let lastSeq = 0
  let added = 0

  const add = (id: string, seq: number): void => {
    unwritten.set(id, seq)
    lastSeq = Math.max(lastSeq, seq)
    added += 1
  }

  const startBatch = (): void => {
    batch = Array.from(unwritten.keys()).toSorted()
    position = 0
    batchSeq = lastSeq
  }

  const writeUpTo = (end: number): void => {
    for (; position < end; position += 1) {
      const id = batch[position]
      const seq = id === undefined ? undefined : unwritten.get(id)
      if (id === undefined || seq === undefined) continue
      insert.run(id, seq)
      unwritten.delete(id)
    }
    if (position === batch.length && batchSeq > 0) mark.run(batchSeq)
  }

  for (const row of missing.iterate()) {
    const [id, seq] = [String(row["id"]), Number(row["seq"])]
    if (written(id) !== seq) add(id, seq)
  }

  return {
    find: (id) => unwritten.get(id) ?? written(id),
    add,
    remove: (id, seq) => {
      if (unwritten.get(id) === seq) unwritten.delete(id)
      remove.run(id, seq)
    },
    write: () => {
      if (position === batch.length && unwritten.size >= size) startBatch()
      const end = Math.min(batch.length, position + added)
      added = 0
      if (position < end) writeUpTo(end)
    },
    writeAll: () => {
      startBatch()
      writeUpTo(batch.length)
    }
  }
}
