/**
 * The tables of the ledger, with an implementation in memory.
 *
 * Tables are read and written synchronously, so a command is atomic: nothing runs in between. A durable store buffers writes
 * until `commit`, which must precede the responses (group commit).
 */
import type { ApiKey, Budget, Policy, Reservation, StoredResponse, Tenant } from "./model.ts"
import type { Direction, CreationKey, CreationIndex } from "./creationIndex.ts"
import { makeCreationIndex } from "./creationIndex.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Rows of one type, by id. */
export interface Table<A> {
  readonly get: (id: string) => A | undefined
  /** Inserts or replaces a row. */
  readonly put: (value: A) => void
  /** The rows of an owner, ordered by insertion. */
  readonly ofOwner: (owner: string) => Iterable<A>
  readonly all: () => Iterable<A>
}

/** Rows with a due time. */
export interface DueTable<A> extends Table<A> {
  /** The rows that are due at a time, the earliest first. */
  readonly due: (nowMs: number, limit: number) => ReadonlyArray<A>
  readonly remove: (id: string) => void
  readonly size: () => number
}

/** Reservations. `ofOwner` orders them by creation. */
export interface ReservationTable extends DueTable<Reservation> {
  /** Iterates lazily over the reservations of an owner, starting after a key. */
  readonly byCreation: (owner: string, direction: Direction, after?: CreationKey) => Iterable<Reservation>
}

/** Stored responses by idempotency key. */
export interface ResponseTable {
  /** `parentId` is the reservation that the request settled or extended, if any. */
  readonly get: (id: string, parentId: string | undefined) => StoredResponse | undefined
  readonly put: (response: StoredResponse) => void
  /** Removes responses whose retention has ended, up to a limit, and returns their number. */
  readonly forget: (nowMs: number, limit: number) => number
  readonly size: () => number
}

/** The ledger's tables. */
export interface Store {
  readonly tenants: Table<Tenant>
  readonly keys: Table<ApiKey>
  readonly budgets: Table<Budget>
  readonly policies: Table<Policy>
  readonly reservations: ReservationTable
  readonly responses: ResponseTable
  /** Whether there are uncommitted writes. */
  readonly isDirty: () => boolean
  /**
   * Makes all writes durable, if there are any. If it throws, the process must exit, because the memory and the file differ.
   */
  readonly commit: () => void
  readonly close: () => void
}

/** How a table derives the name, id, owner and due time of a row. */
export interface TableSchema<A> {
  readonly name: string
  readonly id: (value: A) => string
  readonly owner: (value: A) => string
  readonly due: (value: A) => number
}

// ---------------------------------------------------------------------------------------------------------------------
// table schemas
// ---------------------------------------------------------------------------------------------------------------------

/** The id of a budget in its table. */
export const budgetId = (scope: string, unit: string): string => `${unit} ${scope}`

/** A day in milliseconds. */
export const dayMs = 86_400_000

/** How long an ended reservation is stored, in milliseconds; the same as in the reference server. */
const reservationRetentionMs = 30 * dayMs

/** The due time of rows that are never due. */
const never = Number.MAX_SAFE_INTEGER

/** All tables. An active reservation is due at the end of its grace period, an ended one when it may be removed. */
export const tableSchemas = {
  tenants: { name: "tenants", id: (_: Tenant) => _.id, owner: () => "", due: () => never },
  keys: { name: "keys", id: (_: ApiKey) => _.hash, owner: (_: ApiKey) => _.tenantId, due: () => never },
  budgets: {
    name: "budgets",
    id: (_: Budget) => budgetId(_.scope, _.unit),
    owner: (_: Budget) => _.tenantId,
    due: () => never
  },
  policies: { name: "policies", id: (_: Policy) => _.id, owner: (_: Policy) => _.tenantId, due: () => never },
  reservations: {
    name: "reservations",
    id: (_: Reservation) => _.id,
    owner: (_: Reservation) => _.tenantId,
    due: (_: Reservation) =>
      _.status === "ACTIVE"
        ? _.expiresAtMs + _.graceMs
        : (_.finalizedAtMs ?? _.expiresAtMs + _.graceMs) + reservationRetentionMs
  },
  responses: {
    name: "responses",
    id: (_: StoredResponse) => _.id,
    owner: () => "",
    due: (_: StoredResponse) => _.forgetAtMs
  }
} satisfies Record<string, TableSchema<never>>

// ---------------------------------------------------------------------------------------------------------------------
// memory
// ---------------------------------------------------------------------------------------------------------------------

/** Creates a table in memory. */
export const memoryTable = <A>(kind: TableSchema<A>): DueTable<A> => {
  const entries = new Map<string, Entry<A>>()
  const owners = new Map<string, Set<string>>()
  const dueQueue = makeDueQueue()

  return {
    get: (id) => entries.get(id)?.value,
    put: (value) => {
      const id = kind.id(value)
      let entry = entries.get(id)
      if (entry === undefined) {
        entry = { value, queuedForMs: never }
        entries.set(id, entry)
        const owner = kind.owner(value)
        if (owner !== "") {
          const owned = owners.get(owner)
          if (owned === undefined) owners.set(owner, new Set([id]))
          else owned.add(id)
        }
      } else entry.value = value
      const due = kind.due(value)
      // A row whose due time moved to a later time keeps its queue entry. It is queued again when that entry is popped.
      if (due < entry.queuedForMs) {
        entry.queuedForMs = due
        dueQueue.push({ due, id })
      }
    },
    *ofOwner(owner) {
      for (const id of owners.get(owner) ?? []) {
        const entry = entries.get(id)
        if (entry !== undefined) yield entry.value
      }
    },
    *all() {
      for (const { value } of entries.values()) yield value
    },
    due: (nowMs, limit) => {
      const result: Array<A> = []
      while (result.length < limit) {
        const queued = dueQueue.pop(nowMs)
        if (queued === undefined) break
        const entry = entries.get(queued.id)
        if (entry === undefined || entry.queuedForMs !== queued.due) continue
        const due = kind.due(entry.value)
        if (due > queued.due) {
          entry.queuedForMs = due
          if (due < never) dueQueue.push({ due, id: queued.id })
          continue
        }
        entry.queuedForMs = never
        result.push(entry.value)
      }
      return result
    },
    remove: (id) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      entries.delete(id)
      const owner = kind.owner(entry.value)
      const owned = owners.get(owner)
      owned?.delete(id)
      if (owned?.size === 0) owners.delete(owner)
    },
    size: () => entries.size
  }
}

interface Entry<A> {
  value: A
  /** The due time of its entry in the queue, in epoch milliseconds. */
  queuedForMs: number
}

interface DueEntry {
  readonly due: number
  readonly id: string
}

/** A priority queue by due time, as a binary heap. */
const makeDueQueue = () => {
  const heap: Array<DueEntry> = []
  return {
    push: (queued: DueEntry): void => {
      let pos = heap.length
      heap.push(queued)
      while (pos > 0) {
        const parentPos = (pos - 1) >> 1
        const parent = heap[parentPos]
        if (parent === undefined || parent.due <= queued.due) break
        heap[pos] = parent
        pos = parentPos
      }
      heap[pos] = queued
    },
    /** Removes and returns the earliest entry, if it is due. */
    pop: (nowMs: number): DueEntry | undefined => {
      const first = heap[0]
      if (first === undefined || first.due > nowMs) return undefined
      const last = heap.pop()
      if (last === undefined || heap.length === 0) return first
      let pos = 0
      while (true) {
        const leftPos = 2 * pos + 1
        const left = heap[leftPos]
        if (left === undefined) break
        const right = heap[leftPos + 1]
        const [child, childPos] = right !== undefined && right.due < left.due ? [right, leftPos + 1] : [left, leftPos]
        if (last.due <= child.due) break
        heap[pos] = child
        pos = childPos
      }
      heap[pos] = last
      return first
    }
  }
}

const memoryReservations = (): ReservationTable => {
  // The creation index below replaces the index by owner.
  const table = memoryTable({ ...tableSchemas.reservations, owner: () => "" })
  const indexes = new Map<string, CreationIndex>()

  const byCreation = function* (owner: string, direction: Direction, after?: CreationKey): Iterable<Reservation> {
    for (const { id } of indexes.get(owner)?.from(direction, after) ?? []) {
      const reservation = table.get(id)
      if (reservation !== undefined) yield reservation
    }
  }

  return {
    ...table,
    put: (reservation) => {
      const { createdAtMs, id, tenantId } = reservation
      if (table.get(id) === undefined) {
        let index = indexes.get(tenantId)
        if (index === undefined) {
          index = makeCreationIndex((key) => table.get(key.id) !== undefined)
          indexes.set(tenantId, index)
        }
        index.add({ createdAtMs, id })
      }
      table.put(reservation)
    },
    ofOwner: (owner) => byCreation(owner, "asc"),
    byCreation,
    remove: (id) => {
      const reservation = table.get(id)
      if (reservation === undefined) return
      table.remove(id)
      indexes.get(reservation.tenantId)?.removed()
    }
  }
}

const memoryResponses = (): ResponseTable => {
  const table = memoryTable(tableSchemas.responses)
  return {
    get: table.get,
    put: table.put,
    forget: (nowMs, limit) => {
      const expired = table.due(nowMs, limit)
      for (const response of expired) table.remove(response.id)
      return expired.length
    },
    size: table.size
  }
}

/** Creates a store in memory. */
export const makeMemory = (): Store => ({
  tenants: memoryTable(tableSchemas.tenants),
  keys: memoryTable(tableSchemas.keys),
  budgets: memoryTable(tableSchemas.budgets),
  policies: memoryTable(tableSchemas.policies),
  reservations: memoryReservations(),
  responses: memoryResponses(),
  isDirty: () => false,
  commit: () => {},
  close: () => {}
})
