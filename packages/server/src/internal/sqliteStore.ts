/**
 * The ledger's tables in a SQLite file.
 *
 * What a turn has changed is kept in memory, and written when the turn is made durable (WAL, `synchronous=FULL`): many
 * reservations of a turn move the same budget, which is written once. What there is little of, tenants, keys, budgets and
 * policies, is in memory altogether; of reservations the latest are, which is nearly all that is asked for.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Format } from "./dataFile.ts"
import * as DataFile from "./dataFile.ts"
import * as Migrations from "./migrations.ts"
import type { Reservation, StoredAnswer } from "./model.ts"
import { decode, decodeReservation, encode, encodeReservation } from "./rows.ts"
import type { AnswerTable, Kind, ReservationTable, Store, Table } from "./store.ts"
import { kinds, memoryTable } from "./store.ts"
import type { Direction, Place } from "./timeline.ts"

/** Opens a data file, or makes one. Throws one error, which says why, for a file that can't be used. */
export const open = (filename: string, format: Format = Migrations.format): Store =>
  DataFile.open(filename, format, makeStore)

/** The latest reservations that stay in memory, and as many before them: at most some 20 MiB. */
const maxRecent = 8_192

const makeStore = (db: DatabaseSync): Store => {
  const begin = db.prepare("BEGIN IMMEDIATE")
  const end = db.prepare("COMMIT")
  let isOpen = false
  let failure: unknown

  /** Writes. Once a write has failed a turn may be half done: nothing that came since is made durable, ever. */
  const writing: Writing = (write) => {
    if (failure !== undefined) throw failure
    try {
      if (!isOpen) begin.run()
      isOpen = true
      write()
    } catch (error) {
      failure = error
      throw error
    }
  }

  const records = makeRecords(db, writing)
  const reservations = makeReservations(db, writing)
  const answers = makeAnswers(db, writing, reservations.find)
  const parts = [records, reservations, answers]

  const isDirty = (): boolean => isOpen || failure !== undefined || parts.some((part) => part.isDirty())

  const commit = (): void => {
    if (!isDirty()) return
    try {
      for (const part of parts) if (part.isDirty()) part.flush()
      if (failure !== undefined) throw failure
      if (isOpen) end.run()
      isOpen = false
    } catch (error) {
      failure = error
      throw new DataFile.DataFileError(`the data file can't be written: ${DataFile.messageOf(failure)}`)
    }
  }

  return {
    ...records.tables,
    reservations: reservations.table,
    answers: answers.table,
    isDirty,
    commit,
    close: () => {
      if (failure === undefined) commit()
      db.close()
    }
  }
}

type Writing = (write: () => void) => void

/** Some of the tables. */
interface Part {
  /** Whether something is in memory alone. */
  readonly isDirty: () => boolean
  /** Writes that into the open transaction. */
  readonly flush: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// tenants, keys, budgets, policies
// ---------------------------------------------------------------------------------------------------------------------

const makeRecords = (
  db: DatabaseSync,
  writing: Writing
): Part & { readonly tables: Pick<Store, "tenants" | "keys" | "budgets" | "policies"> } => {
  const upsert = db.prepare(
    "INSERT INTO records (kind, id, body) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"
  )
  const changed = new Map<string, () => void>()

  const cached = <A>(kind: Kind<A>): Table<A> => {
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
      tenants: cached(kinds.tenants),
      keys: cached(kinds.keys),
      budgets: cached(kinds.budgets),
      policies: cached(kinds.policies)
    },
    isDirty: () => changed.size > 0,
    flush: () => {
      writing(() => changed.forEach((write) => write()))
      changed.clear()
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// reservations
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation that is in memory, and its number in the file. */
interface Recent {
  readonly seq: number
  readonly isNew: boolean
  readonly reservation: Reservation
}

interface Reservations extends Part {
  readonly table: ReservationTable
  readonly find: (id: string) => Recent | undefined
}

const makeReservations = (db: DatabaseSync, writing: Writing): Reservations => {
  const insert = db.prepare(
    "INSERT INTO reservations (seq, id, owner, created_at, due, body) VALUES (?, ?, ?, ?, ?, ?)"
  )
  const update = db.prepare("UPDATE reservations SET due = ?, body = ? WHERE seq = ?")
  const remove = db.prepare("DELETE FROM reservations WHERE seq = ?")
  const removeAnswers = db.prepare("DELETE FROM answers WHERE parent = ?")
  const one = db.prepare("SELECT seq, body FROM reservations WHERE id = ?")
  const every = db.prepare("SELECT body FROM reservations ORDER BY seq")
  const dueBy = db.prepare("SELECT body FROM reservations WHERE due <= ? ORDER BY due, seq LIMIT ?")
  const firstDue = db.prepare("SELECT min(due) AS due FROM reservations WHERE due > ?")
  const size = db.prepare("SELECT count(*) AS n FROM reservations")
  const select = "SELECT body FROM reservations WHERE owner = ? AND"
  const older = db.prepare(`${select} (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC`)
  const newer = db.prepare(`${select} (created_at, id) > (?, ?) ORDER BY created_at, id`)
  const last = db.prepare("SELECT max(seq) AS seq FROM reservations").get()

  const changed = new Map<string, Recent>()
  // The latest, and those before them: what is in neither is read from the file.
  let latest = new Map<string, Recent>()
  let before = new Map<string, Recent>()
  let nextSeq = Number(last?.["seq"] ?? 0) + 1
  let nextDue = dueAfter(firstDue, Number.NEGATIVE_INFINITY)

  const remember = (known: Recent): Recent => {
    if (latest.size >= maxRecent) {
      before = latest
      latest = new Map()
    }
    latest.set(known.reservation.id, known)
    return known
  }

  const find = (id: string): Recent | undefined => {
    const known = changed.get(id) ?? latest.get(id)
    if (known !== undefined) return known
    const earlier = before.get(id)
    if (earlier !== undefined) return remember(earlier)
    const row = one.get(id)
    if (row === undefined) return undefined
    return remember({ seq: Number(row["seq"]), isNew: false, reservation: decodeReservation(row["body"]) })
  }

  const isDirty = (): boolean => changed.size > 0

  const flush = (): void => {
    writing(() => {
      for (const [id, { isNew, reservation, seq }] of changed) {
        const body = encodeReservation(reservation)
        const due = kinds.reservations.due(reservation)
        if (isNew) insert.run(seq, id, reservation.tenantId, reservation.createdAtMs, due, body)
        else update.run(due, body, seq)
        remember({ seq, isNew: false, reservation })
      }
    })
    changed.clear()
  }

  const flushed = (): void => {
    if (isDirty()) flush()
  }

  const byCreation = function* (owner: string, direction: Direction, after?: Place): Iterable<Reservation> {
    flushed()
    const rows =
      direction === "asc"
        ? newer.iterate(owner, after?.createdAtMs ?? -1, after?.id ?? "")
        : older.iterate(owner, after?.createdAtMs ?? Number.MAX_SAFE_INTEGER, after?.id ?? "")
    for (const row of rows) yield decodeReservation(row["body"])
  }

  return {
    find,
    isDirty,
    flush,
    table: {
      get: (id) => find(id)?.reservation,
      put: (reservation) => {
        const { id } = reservation
        const { isNew, seq } = find(id) ?? { seq: nextSeq++, isNew: true }
        changed.set(id, { seq, isNew, reservation })
        nextDue = Math.min(nextDue, kinds.reservations.due(reservation))
      },
      ofOwner: (owner) => byCreation(owner, "asc"),
      byCreation,
      *all() {
        flushed()
        for (const row of every.iterate()) yield decodeReservation(row["body"])
      },
      due: (nowMs, limit) => {
        if (nextDue > nowMs) return []
        flushed()
        const rows = dueBy.all(nowMs, limit)
        if (rows.length < limit) nextDue = dueAfter(firstDue, nowMs)
        return rows.map((row) => decodeReservation(row["body"]))
      },
      remove: (id) => {
        flushed()
        const known = find(id)
        if (known === undefined) return
        latest.delete(id)
        before.delete(id)
        writing(() => {
          removeAnswers.run(known.seq)
          remove.run(known.seq)
        })
      },
      size: () => {
        flushed()
        return Number(size.get()?.["n"] ?? 0)
      }
    }
  }
}

const dueAfter = (first: StatementSync, ms: number): number =>
  Number(first.get(ms)?.["due"] ?? Number.POSITIVE_INFINITY)

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

const makeAnswers = (
  db: DatabaseSync,
  writing: Writing,
  reservationOf: Reservations["find"]
): Part & { readonly table: AnswerTable } => {
  // A key may come anew while the answer that it had before is not forgotten yet.
  const insert = db.prepare(
    "INSERT OR REPLACE INTO answers (id, parent, due, request, status, body, reservation, expires_at)" +
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
  )
  const select = "SELECT due, request, status, body, reservation, expires_at FROM answers WHERE"
  const byId = db.prepare(`${select} id = ? AND parent IS NULL`)
  const byParent = db.prepare(`${select} parent = ? AND id = ?`)
  const remove = db.prepare(
    "DELETE FROM answers WHERE seq IN" +
      " (SELECT seq FROM answers WHERE parent IS NULL AND due <= ? ORDER BY due LIMIT ?)"
  )
  const firstDue = db.prepare("SELECT min(due) AS due FROM answers WHERE parent IS NULL AND due > ?")
  const size = db.prepare("SELECT count(*) AS n FROM answers")
  const changed = new Map<string, StoredAnswer>()
  let nextDue = dueAfter(firstDue, Number.NEGATIVE_INFINITY)

  const isDirty = (): boolean => changed.size > 0

  const flush = (): void => {
    writing(() => {
      for (const [id, answer] of changed) {
        const { body, expiresAtMs, forgetAtMs, parentId, request, reservationId, status } = answer
        const parent = parentId === undefined ? undefined : reservationOf(parentId)?.seq
        insert.run(id, parent ?? null, forgetAtMs, request, status, body, reservationId ?? null, expiresAtMs ?? null)
      }
    })
    changed.clear()
  }

  const flushed = (): void => {
    if (isDirty()) flush()
  }

  const read = (id: string, parentId: string | undefined) => {
    if (parentId === undefined) return byId.get(id)
    const parent = reservationOf(parentId)
    // Nothing is looked for where nothing can be: an answer is kept of what changed a reservation, and of nothing else.
    if (parent === undefined || isUntouched(parent.reservation)) return undefined
    return byParent.get(parent.seq, id)
  }

  return {
    isDirty,
    flush,
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
      put: (answer) => {
        changed.set(answer.id, answer)
        if (answer.parentId === undefined) nextDue = Math.min(nextDue, answer.forgetAtMs)
      },
      forget: (nowMs, limit) => {
        if (nextDue > nowMs) return 0
        flushed()
        let count = 0
        writing(() => {
          count = Number(remove.run(nowMs, limit).changes)
        })
        if (count < limit) nextDue = dueAfter(firstDue, nowMs)
        return count
      },
      size: () => {
        flushed()
        return Number(size.get()?.["n"] ?? 0)
      }
    }
  }
}

/** Neither settled nor extended. */
const isUntouched = ({ extensions, status }: Reservation): boolean =>
  extensions === 0 && (status === "ACTIVE" || status === "EXPIRED")
