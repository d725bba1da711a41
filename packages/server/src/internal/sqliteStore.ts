/**
 * A store in a SQLite file.
 *
 * Writes are buffered in memory and flushed by `commit` in one transaction (WAL, `synchronous=FULL`). Several reservations of
 * one batch change the same budget, which is then written once. Tenants, keys, budgets and policies are few and always in
 * memory. Recent reservations are cached, which covers nearly all reads. `keyIndex.ts` writes the index of idempotency keys.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Format } from "./dataFile.ts"
import * as DataFile from "./dataFile.ts"
import * as KeyIndex from "./keyIndex.ts"
import * as Migrations from "./migrations.ts"
import type { Reservation, StoredResponse } from "./model.ts"
import { decode, decodeReservation, encode, encodeReservation } from "./codec.ts"
import type { ResponseTable, TableSchema, ReservationTable, Store, Table } from "./store.ts"
import { tableSchemas, memoryTable } from "./store.ts"
import type { Direction, CreationKey } from "./creationIndex.ts"

/** Opens or creates a data file. Throws a `DataFileError` if the file can't be used. */
export const open = (filename: string, format: Format = Migrations.format): Store =>
  DataFile.open(filename, format, makeStore)

/** The size of each of the two generations of the cache: together at most about 20 MiB. */
const cacheGenerationSize = 8_192

const makeStore = (db: DatabaseSync): Store => {
  const beginTransaction = db.prepare("BEGIN IMMEDIATE")
  const commitTransaction = db.prepare("COMMIT")
  let isInTransaction = false
  let failure: unknown

  /**
   * Writes within the open transaction. After a failed write nothing is committed any more, because a command may be half
   * written.
   */
  const transact: Transact = (write) => {
    if (failure !== undefined) throw failure
    try {
      if (!isInTransaction) beginTransaction.run()
      isInTransaction = true
      write()
    } catch (error) {
      failure = error
      throw error
    }
  }

  const records = makeRecords(db, transact)
  const reservations = makeReservations(db, transact)
  const responses = makeResponses(db, transact, reservations.find)
  const groups = [records, reservations, responses]

  const isDirty = (): boolean => isInTransaction || failure !== undefined || groups.some((part) => part.isDirty())

  const commit = (): void => {
    if (!isDirty()) return
    try {
      for (const part of groups) part.flush()
      if (failure !== undefined) throw failure
      if (isInTransaction) commitTransaction.run()
      isInTransaction = false
    } catch (error) {
      failure = error
      throw new DataFile.DataFileError(`the data file can't be written: ${DataFile.messageOf(failure)}`)
    }
  }

  return {
    ...records.tables,
    reservations: reservations.table,
    responses: responses.table,
    isDirty,
    commit,
    close: () => {
      if (failure === undefined) {
        responses.writeKeys()
        commit()
      }
      db.close()
    }
  }
}

type Transact = (write: () => void) => void

/** One or more tables with a common write buffer. */
interface TableGroup {
  /** Whether there are buffered writes. */
  readonly isDirty: () => boolean
  /** Writes the buffer, unless it is empty, into the open transaction. */
  readonly flush: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// tenants, keys, budgets, policies
// ---------------------------------------------------------------------------------------------------------------------

const makeRecords = (
  db: DatabaseSync,
  transact: Transact
): TableGroup & { readonly tables: Pick<Store, "tenants" | "keys" | "budgets" | "policies"> } => {
  const upsert = db.prepare(
    "INSERT INTO records (kind, id, body) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"
  )
  const changed = new Map<string, () => void>()

  const cachedTable = <A>(kind: TableSchema<A>): Table<A> => {
    const memory = memoryTable(kind)
    for (const row of db.prepare("SELECT body FROM records WHERE kind = ? ORDER BY rowid").iterate(kind.name)) {
      memory.put(decode<A>(row["body"]))
    }
    return {
      get: memory.get,
      ofOwner: memory.ofOwner,
      all: memory.all,
      put: (value) => {
        const id = kind.id(value)
        memory.put(value)
        changed.set(`${kind.name} ${id}`, () => upsert.run(kind.name, id, encode(value)))
      }
    }
  }

  return {
    tables: {
      tenants: cachedTable(tableSchemas.tenants),
      keys: cachedTable(tableSchemas.keys),
      budgets: cachedTable(tableSchemas.budgets),
      policies: cachedTable(tableSchemas.policies)
    },
    isDirty: () => changed.size > 0,
    flush: () => {
      if (changed.size === 0) return
      transact(() => changed.forEach((write) => write()))
      changed.clear()
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// reservations
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation in memory, with its row number in the file. */
interface CachedReservation {
  readonly seq: number
  readonly isNew: boolean
  readonly reservation: Reservation
}

interface Reservations extends TableGroup {
  readonly table: ReservationTable
  readonly find: (id: string) => CachedReservation | undefined
}

const makeReservations = (db: DatabaseSync, transact: Transact): Reservations => {
  const insert = db.prepare(
    "INSERT INTO reservations (seq, id, owner, created_at, due, body) VALUES (?, ?, ?, ?, ?, ?)"
  )
  const update = db.prepare("UPDATE reservations SET due = ?, body = ? WHERE seq = ?")
  const remove = db.prepare("DELETE FROM reservations WHERE seq = ?")
  const removeResponses = db.prepare("DELETE FROM responses WHERE parent = ?")
  const byId = db.prepare("SELECT seq, body FROM reservations WHERE id = ?")
  const selectAll = db.prepare("SELECT body FROM reservations ORDER BY seq")
  const dueBy = db.prepare("SELECT body FROM reservations WHERE due <= ? ORDER BY due, seq LIMIT ?")
  const firstDue = db.prepare("SELECT min(due) AS due FROM reservations WHERE due > ?")
  const size = db.prepare("SELECT count(*) AS n FROM reservations")
  const select = "SELECT body FROM reservations WHERE owner = ? AND"
  const older = db.prepare(`${select} (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC`)
  const newer = db.prepare(`${select} (created_at, id) > (?, ?) ORDER BY created_at, id`)
  const lastSeq = db.prepare("SELECT max(seq) AS seq FROM reservations").get()

  const changed = new Map<string, CachedReservation>()
  // A cache with two generations: when the young one is full, it replaces the old one.
  let young = new Map<string, CachedReservation>()
  let old = new Map<string, CachedReservation>()
  let nextSeq = Number(lastSeq?.["seq"] ?? 0) + 1
  let nextDue = dueAfter(firstDue, Number.NEGATIVE_INFINITY)

  const cache = (known: CachedReservation): CachedReservation => {
    if (young.size >= cacheGenerationSize) {
      old = young
      young = new Map()
    }
    young.set(known.reservation.id, known)
    return known
  }

  const find = (id: string): CachedReservation | undefined => {
    const known = changed.get(id) ?? young.get(id)
    if (known !== undefined) return known
    const earlier = old.get(id)
    if (earlier !== undefined) return cache(earlier)
    const row = byId.get(id)
    if (row === undefined) return undefined
    return cache({ seq: Number(row["seq"]), isNew: false, reservation: decodeReservation(row["body"]) })
  }

  const flush = (): void => {
    if (changed.size === 0) return
    transact(() => {
      for (const [id, { isNew, reservation, seq }] of changed) {
        const body = encodeReservation(reservation)
        const due = tableSchemas.reservations.due(reservation)
        if (isNew) insert.run(seq, id, reservation.tenantId, reservation.createdAtMs, due, body)
        else update.run(due, body, seq)
        cache({ seq, isNew: false, reservation })
      }
    })
    changed.clear()
  }

  const byCreation = function* (owner: string, direction: Direction, after?: CreationKey): Iterable<Reservation> {
    flush()
    const rows =
      direction === "asc"
        ? newer.iterate(owner, after?.createdAtMs ?? -1, after?.id ?? "")
        : older.iterate(owner, after?.createdAtMs ?? Number.MAX_SAFE_INTEGER, after?.id ?? "")
    for (const row of rows) yield decodeReservation(row["body"])
  }

  return {
    find,
    isDirty: () => changed.size > 0,
    flush,
    table: {
      get: (id) => find(id)?.reservation,
      put: (reservation) => {
        const { id } = reservation
        const { isNew, seq } = find(id) ?? { seq: nextSeq++, isNew: true }
        changed.set(id, { seq, isNew, reservation })
        nextDue = Math.min(nextDue, tableSchemas.reservations.due(reservation))
      },
      ofOwner: (owner) => byCreation(owner, "asc"),
      byCreation,
      *all() {
        flush()
        for (const row of selectAll.iterate()) yield decodeReservation(row["body"])
      },
      due: (nowMs, limit) => {
        if (nextDue > nowMs) return []
        flush()
        const rows = dueBy.all(nowMs, limit)
        if (rows.length < limit) nextDue = dueAfter(firstDue, nowMs)
        return rows.map((row) => decodeReservation(row["body"]))
      },
      remove: (id) => {
        flush()
        const known = find(id)
        if (known === undefined) return
        young.delete(id)
        old.delete(id)
        transact(() => {
          removeResponses.run(known.seq)
          remove.run(known.seq)
        })
      },
      size: () => {
        flush()
        return Number(size.get()?.["n"] ?? 0)
      }
    }
  }
}

const dueAfter = (first: StatementSync, ms: number): number =>
  Number(first.get(ms)?.["due"] ?? Number.POSITIVE_INFINITY)

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

interface Responses extends TableGroup {
  readonly table: ResponseTable
  /** Writes all keys, so that the next start needn't read them from the responses. */
  readonly writeKeys: () => void
}

const makeResponses = (db: DatabaseSync, transact: Transact, reservationOf: Reservations["find"]): Responses => {
  // The key of a response with a parent can be reused after its retention but before the old row was removed. `INSERT OR REPLACE`
  // would copy each changed page to a temporary file.
  const insert = db.prepare(
    "INSERT INTO responses (seq, id, parent, due, request, status, body, reservation, expires_at)" +
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)" +
      " ON CONFLICT (parent, id) WHERE parent IS NOT NULL DO UPDATE SET due = excluded.due, request = excluded.request," +
      " status = excluded.status, body = excluded.body, reservation = excluded.reservation, expires_at = excluded.expires_at"
  )
  const select = "SELECT due, request, status, body, reservation, expires_at FROM responses WHERE"
  const bySeq = db.prepare(`${select} seq = ?`)
  const byParent = db.prepare(`${select} parent = ? AND id = ?`)
  const remove = db.prepare(
    "DELETE FROM responses WHERE seq IN" +
      " (SELECT seq FROM responses WHERE parent IS NULL AND due <= ? ORDER BY due LIMIT ?) RETURNING id, seq"
  )
  const firstDue = db.prepare("SELECT min(due) AS due FROM responses WHERE parent IS NULL AND due > ?")
  const size = db.prepare("SELECT count(*) AS n FROM responses")
  // Rows after the last one may have been removed. Their numbers aren't used again, because the index counts them as written.
  const lastSeq = db
    .prepare(
      "SELECT max(seq) AS seq FROM (SELECT max(seq) AS seq FROM responses UNION ALL SELECT max(seq) FROM key_marks)"
    )
    .get()
  const keys = KeyIndex.open(db)
  const changed = new Map<string, StoredResponse>()
  let nextSeq = Number(lastSeq?.["seq"] ?? 0) + 1
  let nextDue = dueAfter(firstDue, Number.NEGATIVE_INFINITY)

  const flush = (): void => {
    if (changed.size === 0) return
    transact(() => {
      for (const [id, response] of changed) {
        const { body, expiresAtMs, forgetAtMs, parentId, request, reservationId, status } = response
        const parent = parentId === undefined ? undefined : reservationOf(parentId)?.seq
        const seq = nextSeq++
        insert.run(
          seq,
          id,
          parent ?? null,
          forgetAtMs,
          request,
          status,
          body,
          reservationId ?? null,
          expiresAtMs ?? null
        )
        if (parentId === undefined) keys.add(id, seq)
      }
      keys.write()
    })
    changed.clear()
  }

  const read = (id: string, parentId: string | undefined) => {
    if (parentId === undefined) {
      const seq = keys.find(id)
      return seq === undefined ? undefined : bySeq.get(seq)
    }
    const parent = reservationOf(parentId)
    // An unmodified reservation has no stored responses, which saves the lookup for nearly every settlement.
    if (parent === undefined || isUnmodified(parent.reservation)) return undefined
    return byParent.get(parent.seq, id)
  }

  return {
    isDirty: () => changed.size > 0,
    flush,
    writeKeys: () => {
      flush()
      transact(keys.writeAll)
    },
    table: {
      get: (id, parentId) => {
        const known = changed.get(id)
        if (known !== undefined) return known
        const row = read(id, parentId)
        if (row === undefined) return undefined
        const { body, due, expires_at, request, reservation, status } = row
        return {
          id,
          parentId,
          request: String(request),
          status: Number(status),
          body: String(body),
          reservationId: typeof reservation === "string" ? reservation : undefined,
          expiresAtMs: typeof expires_at === "number" ? expires_at : undefined,
          forgetAtMs: Number(due)
        }
      },
      put: (response) => {
        changed.set(response.id, response)
        if (response.parentId === undefined) nextDue = Math.min(nextDue, response.forgetAtMs)
      },
      forget: (nowMs, limit) => {
        if (nextDue > nowMs) return 0
        flush()
        let count = 0
        transact(() => {
          for (const { id, seq } of remove.all(nowMs, limit)) {
            keys.remove(String(id), Number(seq))
            count += 1
          }
        })
        if (count < limit) nextDue = dueAfter(firstDue, nowMs)
        return count
      },
      size: () => {
        flush()
        return Number(size.get()?.["n"] ?? 0)
      }
    }
  }
}

/** Whether a reservation was neither settled nor extended. */
const isUnmodified = ({ extensions, status }: Reservation): boolean =>
  extensions === 0 && (status === "ACTIVE" || status === "EXPIRED")
