/**
 * Where the ledger keeps things: a few tables, read and written synchronously, so that a command is atomic by running to
 * its end. A store that survives the process makes what a turn has written durable before its answers leave.
 */
import type { ApiKey, Budget, Policy, Reservation, StoredResponse, Tenant } from "./model.ts"
import type { Direction, CreationKey, CreationIndex } from "./creationIndex.ts"
import { makeCreationIndex } from "./creationIndex.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Things of one kind, by name. */
export interface Table<A> {
  readonly get: (id: string) => A | undefined
  readonly put: (value: A) => void
  /** All of one owner, in the order in which they were first put. */
  readonly ofOwner: (owner: string) => Iterable<A>
  readonly all: () => Iterable<A>
}

/** Things that fall due. */
export interface DueTable<A> extends Table<A> {
  /** Those that are due, the earliest first. */
  readonly due: (nowMs: number, limit: number) => ReadonlyArray<A>
  readonly remove: (id: string) => void
  readonly size: () => number
}

/** Reservations; those of an owner are in the order of their creation. */
export interface ReservationTable extends DueTable<Reservation> {
  /** Those of an owner behind a place in that order, one after another, as far as somebody asks for them. */
  readonly byCreation: (owner: string, direction: Direction, after?: CreationKey) => Iterable<Reservation>
}

/** Answers that are kept until they may be forgotten. */
export interface ResponseTable {
  /** An answer of a reservation is found by that as well. */
  readonly get: (id: string, parentId: string | undefined) => StoredResponse | undefined
  readonly put: (response: StoredResponse) => void
  /** Forgets answers whose time has come, and returns how many. */
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
  /** Whether something was written that is not durable yet. */
  readonly isDirty: () => boolean
  /** Makes durable what was written. Throws when that can't be done; then the process has to end, and starts with the file. */
  readonly commit: () => void
  readonly close: () => void
}

/** What a table has to know of its things. */
export interface TableSchema<A> {
  readonly name: string
  readonly id: (value: A) => string
  readonly owner: (value: A) => string
  readonly due: (value: A) => number
}

// ---------------------------------------------------------------------------------------------------------------------
// kinds
// ---------------------------------------------------------------------------------------------------------------------

/** The name of a budget. */
export const budgetId = (scope: string, unit: string): string => `${unit} ${scope}`

/** A day. */
export const dayMs = 86_400_000

/** How long a reservation is remembered after its end, as the reference does. */
const reservationRetentionMs = 30 * dayMs

/** Nothing that falls due. */
const never = Number.MAX_SAFE_INTEGER

/** The kinds of things. An active reservation falls due when its grace ends, a finished one when it may be forgotten. */
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
    name: "answers",
    id: (_: StoredResponse) => _.id,
    owner: () => "",
    due: (_: StoredResponse) => _.forgetAtMs
  }
} satisfies Record<string, unknown>

// ---------------------------------------------------------------------------------------------------------------------
// memory
// ---------------------------------------------------------------------------------------------------------------------

/** A table in memory. */
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
      // One that was put off is looked at when it was due before, and put off then.
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
        const alarm = dueQueue.pop(nowMs)
        if (alarm === undefined) break
        const entry = entries.get(alarm.id)
        if (entry === undefined || entry.queuedForMs !== alarm.due) continue
        const due = kind.due(entry.value)
        if (due > alarm.due) {
          entry.queuedForMs = due
          if (due < never) dueQueue.push({ due, id: alarm.id })
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
  /** When its next alarm is. */
  queuedForMs: number
}

interface DueEntry {
  readonly due: number
  readonly id: string
}

/** Alarms, the earliest first: a binary heap. */
const makeDueQueue = () => {
  const heap: Array<DueEntry> = []
  return {
    push: (alarm: DueEntry): void => {
      let pos = heap.length
      heap.push(alarm)
      while (pos > 0) {
        const parentPos = (pos - 1) >> 1
        const parent = heap[parentPos]
        if (parent === undefined || parent.due <= alarm.due) break
        heap[pos] = parent
        pos = parentPos
      }
      heap[pos] = alarm
    },
    /** The earliest, if its time has come. */
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
  // Their owners have them by creation instead.
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
        let timeline = indexes.get(tenantId)
        if (timeline === undefined) {
          timeline = makeCreationIndex((place) => table.get(place.id) !== undefined)
          indexes.set(tenantId, timeline)
        }
        timeline.add({ createdAtMs, id })
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

/** A store that lasts as long as the process. */
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
