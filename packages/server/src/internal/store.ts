/**
 * Where the ledger keeps things: a few tables, read and written synchronously, so that a command is atomic by running to
 * its end. A store that survives the process makes what a turn has written durable before its answers leave.
 */
import type { ApiKey, Budget, Policy, Reservation, StoredAnswer, Tenant } from "./model.ts"

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

/** The ledger's tables. */
export interface Store {
  readonly tenants: Table<Tenant>
  readonly keys: Table<ApiKey>
  readonly budgets: Table<Budget>
  readonly policies: Table<Policy>
  readonly reservations: DueTable<Reservation>
  readonly answers: DueTable<StoredAnswer>
  /** Whether something was written that is not durable yet. */
  readonly isDirty: () => boolean
  /** Makes durable what was written. Throws when that can't be done; then the process has to end, and starts with the file. */
  readonly commit: () => void
  readonly close: () => void
}

/** What a table has to know of its things. */
export interface Kind<A> {
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
const rememberMs = 30 * dayMs

/** Nothing that falls due. */
const never = Number.MAX_SAFE_INTEGER

/** The kinds of things. An active reservation falls due when its grace ends, a finished one when it may be forgotten. */
export const kinds = {
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
      _.status === "ACTIVE" ? _.expiresAtMs + _.graceMs : (_.finalizedAtMs ?? _.expiresAtMs + _.graceMs) + rememberMs
  },
  answers: {
    name: "answers",
    id: (_: StoredAnswer) => _.id,
    owner: () => "",
    due: (_: StoredAnswer) => _.forgetAtMs
  }
} satisfies Record<string, unknown>

// ---------------------------------------------------------------------------------------------------------------------
// memory
// ---------------------------------------------------------------------------------------------------------------------

/** A table in memory. */
export const memoryTable = <A>(kind: Kind<A>): DueTable<A> => {
  const values = new Map<string, A>()
  const owners = new Map<string, Set<string>>()
  const heap: Array<{ readonly due: number; readonly id: string }> = []

  const push = (entry: { readonly due: number; readonly id: string }): void => {
    let pos = heap.length
    heap.push(entry)
    while (pos > 0) {
      const parentPos = (pos - 1) >> 1
      const parent = heap[parentPos]
      if (parent === undefined || parent.due <= entry.due) break
      heap[pos] = parent
      pos = parentPos
    }
    heap[pos] = entry
  }

  const pop = (): void => {
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
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
  }

  return {
    get: (id) => values.get(id),
    put: (value) => {
      const id = kind.id(value)
      const owner = kind.owner(value)
      values.set(id, value)
      const owned = owners.get(owner)
      if (owned === undefined) owners.set(owner, new Set([id]))
      else owned.add(id)
      const due = kind.due(value)
      if (due < never) push({ due, id })
    },
    *ofOwner(owner) {
      for (const id of owners.get(owner) ?? []) {
        const value = values.get(id)
        if (value !== undefined) yield value
      }
    },
    all: () => values.values(),
    due: (nowMs, limit) => {
      const result: Array<A> = []
      while (result.length < limit) {
        const first = heap[0]
        if (first === undefined || first.due > nowMs) break
        pop()
        const value = values.get(first.id)
        // A thing whose time was moved stands in the heap more than once; only its last place counts.
        if (value !== undefined && kind.due(value) === first.due) result.push(value)
      }
      return result
    },
    remove: (id) => {
      const value = values.get(id)
      if (value === undefined) return
      values.delete(id)
      const owner = kind.owner(value)
      const owned = owners.get(owner)
      owned?.delete(id)
      if (owned?.size === 0) owners.delete(owner)
    },
    size: () => values.size
  }
}

/** A store that lasts as long as the process. */
export const makeMemory = (): Store => ({
  tenants: memoryTable(kinds.tenants),
  keys: memoryTable(kinds.keys),
  budgets: memoryTable(kinds.budgets),
  policies: memoryTable(kinds.policies),
  reservations: memoryTable(kinds.reservations),
  answers: memoryTable(kinds.answers),
  isDirty: () => false,
  commit: () => {},
  close: () => {}
})
