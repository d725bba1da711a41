/**
 * Reading the books: one reservation, lists of them, balances.
 *
 * Source: getReservation, listReservations and getBalances of the protocol.
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import { SortBy } from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { JsonResponse } from "./response.ts"
import { json } from "./response.ts"
import { balanceRow, money } from "./accounting.ts"
import type { Caller, Context } from "./context.ts"
import type { Reservation } from "./model.ts"
import * as Parse from "./parse.ts"
import { invalidRequest, tenantMismatch } from "./errorResponse.ts"
import { reservationExpired, ownedReservation } from "./reservations.ts"
import * as Scopes from "./scopes.ts"
import type { Store } from "./store.ts"

/** Whether a key may see a path, given with all paths above it. */
export type IsVisible = (scopes: ReadonlyArray<string>) => boolean

/** `GET /v1/reservations/{id}` */
export const getReservation = (context: Context, caller: Caller | "admin", id: string): JsonResponse => {
  const reservation = ownedReservation(context, caller, id)
  if (reservation.status === "EXPIRED") throw reservationExpired()
  return json(200, reservationRow(reservation, allFields))
}

// ---------------------------------------------------------------------------------------------------------------------
// lists
// ---------------------------------------------------------------------------------------------------------------------

/** `GET /v1/reservations` */
export const listReservations = (
  context: Context,
  caller: Caller | "admin",
  query: URLSearchParams,
  isVisible: IsVisible
): JsonResponse => {
  const tenantId = tenantOf(caller, query)
  const order = orderOf(query)
  const filter = filterOf(query)
  const limit = limitOf(query)
  const start = startOf(query, order, filterFingerprint(tenantId, query))
  const effectiveOrder: Order = {
    by: order.by ?? start?.by ?? "created_at_ms",
    direction: order.direction ?? start?.direction ?? "desc"
  }
  const include = new Set((query.get("include") ?? "").split(",").map((name) => name.trim().toLowerCase()))

  const isIncluded = (reservation: Reservation): boolean => isVisible(reservation.affectedScopes) && filter(reservation)
  const rows =
    effectiveOrder.by === "created_at_ms"
      ? pageByCreation(context.store, tenantId, effectiveOrder, start?.after, isIncluded, limit + 1)
      : allSorted(context.store, tenantId, effectiveOrder, start?.after, isIncluded)
  const page = rows.slice(0, limit)
  const hasMore = rows.length > limit
  const last = page[page.length - 1]
  const isSorted = isOrderRequested(order) || start?.filters !== undefined
  return json(200, {
    reservations: page.map((reservation) => reservationRow(reservation, include)),
    has_more: hasMore,
    next_cursor:
      hasMore && last !== undefined
        ? encodeCursor({
            after: last.id,
            at: String(keyOf(last, effectiveOrder.by)),
            ...effectiveOrder,
            filters: isSorted ? filterFingerprint(tenantId, query) : undefined
          })
        : null
  })
}

/** In the order in which the store has them, as many as are needed. */
const pageByCreation = (
  store: Store,
  tenantId: string,
  sort: Order,
  after: Position | undefined,
  isShown: (reservation: Reservation) => boolean,
  count: number
): ReadonlyArray<Reservation> => {
  const isAscending = sort.direction === "asc"
  const at = after === undefined ? undefined : Number(after.key)
  // Downwards from the end of the instant: what is alike ascends all the same.
  const place =
    after === undefined || at === undefined
      ? undefined
      : isAscending
        ? { createdAtMs: at, id: after.id }
        : { createdAtMs: at + 1, id: "" }
  const stored = store.reservations.byCreation(tenantId, sort.direction, place)
  const rows: Array<Reservation> = []
  for (const reservation of isAscending ? stored : sameInstantAscending(stored)) {
    if (after !== undefined && comparePositions(sort, positionOf(reservation, sort.by), after) <= 0) continue
    if (isShown(reservation) && rows.push(reservation) === count) break
  }
  return rows
}

/** Rows that descend by their creation; those of one instant ascend by name. */
function* sameInstantAscending(rows: Iterable<Reservation>): Iterable<Reservation> {
  let sameInstant: Array<Reservation> = []
  for (const row of rows) {
    if (sameInstant[0] !== undefined && sameInstant[0].createdAtMs !== row.createdAtMs) {
      yield* sameInstant.toReversed()
      sameInstant = []
    }
    sameInstant.push(row)
  }
  yield* sameInstant.toReversed()
}

/** In any order: all of a tenant are read. */
const allSorted = (
  store: Store,
  tenantId: string,
  sort: Order,
  after: Position | undefined,
  isShown: (reservation: Reservation) => boolean
): ReadonlyArray<Reservation> =>
  Array.from(store.reservations.ofOwner(tenantId))
    // By place, not by name: the row that was last may have left the filter.
    .filter(
      (row) => isShown(row) && (after === undefined || comparePositions(sort, positionOf(row, sort.by), after) > 0)
    )
    .toSorted((a, b) => comparePositions(sort, positionOf(a, sort.by), positionOf(b, sort.by)))

/** Rows that are alike ascend by name in both directions. */
const comparePositions = ({ direction }: Order, a: Position, b: Position): number =>
  (direction === "asc" ? 1 : -1) * compare(a.key, b.key) || compare(a.id, b.id)

/** The rows of a page; an empty limit counts as none. */
const limitOf = (query: URLSearchParams): number => {
  const text = query.get("limit") ?? ""
  return text === "" ? Limits.defaultPageSize : Parse.integer("limit", text, 1, Limits.maxPageSize)
}

/** What is asked for besides the order. */
const filterFingerprint = (tenantId: string, query: URLSearchParams): string =>
  [
    tenantId,
    ...filterNames.map((name) => query.get(name) ?? ""),
    // An instant may be written in more than one way.
    ...windows.flatMap(([from, to]) => [windowBound(query, from) ?? "", windowBound(query, to) ?? ""])
  ].join("\n")

const directions = ["asc", "desc"] as const

interface Order {
  readonly by: SortBy
  readonly direction: (typeof directions)[number]
}

/** What a query says of the order. */
type RequestedOrder = { readonly [K in keyof Order]: Order[K] | undefined }

const orderOf = (query: URLSearchParams): RequestedOrder => {
  const by = query.get("sort_by")
  const direction = query.get("sort_dir")
  return {
    by: by === null ? undefined : Parse.literal("sort_by", by.toLowerCase(), SortBy.literals),
    direction: direction === null ? undefined : Parse.literal("sort_dir", direction.toLowerCase(), directions)
  }
}

const isOrderRequested = (order: RequestedOrder): boolean => order.by !== undefined || order.direction !== undefined

const keyOf = (reservation: Reservation, by: SortBy): string | bigint | number => {
  switch (by) {
    case "reservation_id":
      return reservation.id
    case "tenant":
      return reservation.tenantId
    case "scope_path":
      return reservation.scopePath
    case "status":
      return reservation.status
    case "reserved":
      return reservation.amount
    case "created_at_ms":
      return reservation.createdAtMs
    case "expires_at_ms":
      return reservation.expiresAtMs
  }
}

/** The place of a row in an order. */
interface Position {
  readonly key: string | bigint | number
  readonly id: string
}

const positionOf = (reservation: Reservation, by: SortBy): Position => ({
  key: keyOf(reservation, by),
  id: reservation.id
})

/** The key that a cursor has as text. */
const parseKey = (text: string, by: SortBy): Position["key"] => {
  switch (by) {
    case "reserved":
      return BigInt(text)
    case "created_at_ms":
    case "expires_at_ms":
      return parseInstantKey(text)
    default:
      return text
  }
}

const parseInstantKey = (text: string): number => {
  const instant = Number(text)
  if (Number.isSafeInteger(instant)) return instant
  throw new RangeError(text)
}

const compare = <A extends string | bigint | number>(a: A, b: A): number => (a < b ? -1 : a > b ? 1 : 0)

// ---------------------------------------------------------------------------------------------------------------------
// filters
// ---------------------------------------------------------------------------------------------------------------------

const windows = [
  ["from", "to", (_: Reservation) => _.createdAtMs],
  ["expires_from", "expires_to", (_: Reservation) => _.expiresAtMs],
  ["finalized_from", "finalized_to", (_: Reservation) => _.finalizedAtMs]
] as const

const filterNames: ReadonlyArray<string> = ["status", "idempotency_key", ...Subject.fields.slice(1)]

/** An end of a window, where it is given. */
const windowBound = (query: URLSearchParams, name: string): number | undefined => {
  const text = Parse.parameter(query, name)
  return text === undefined ? undefined : Parse.instant(name, text)
}

const filterOf = (query: URLSearchParams): ((reservation: Reservation) => boolean) => {
  const tests: Array<(reservation: Reservation) => boolean> = []
  const status = query.get("status")
  if (status !== null) {
    const wanted = Parse.literal("status filter", status, ["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"])
    tests.push((reservation) => reservation.status === wanted)
  }
  const key = query.get("idempotency_key")
  if (key !== null) tests.push((reservation) => reservation.idempotencyKey === key)
  for (const segment of segmentsOf(query)) {
    tests.push((reservation) => reservation.scopePath.split("/").includes(segment))
  }
  for (const [from, to, at] of windows) {
    const start = windowBound(query, from)
    const end = windowBound(query, to)
    if (start === undefined && end === undefined) continue
    const startMs = start ?? Number.NEGATIVE_INFINITY
    const endMs = end ?? Number.POSITIVE_INFINITY
    if (startMs > endMs) throw invalidRequest(`${from} must not be after ${to}`)
    tests.push((reservation) => {
      const instant = at(reservation)
      return instant !== undefined && instant >= startMs && instant <= endMs
    })
  }
  return (reservation) => tests.every((test) => test(reservation))
}

const tenantOf = (caller: Caller | "admin", query: URLSearchParams): string => {
  if (caller === "admin") {
    const requested = query.get("tenant")
    if (requested === null || requested.trim() === "")
      throw invalidRequest("tenant query parameter is required with the administrator's key")
    return requested
  }
  checkTenantParameter(caller, query)
  return caller.tenant.id
}

/** A query names no other tenant than its caller. */
const checkTenantParameter = (caller: Caller, query: URLSearchParams): void => {
  const requested = query.get("tenant")
  if (requested !== null && requested.trim() !== "" && requested !== caller.tenant.id) throw tenantMismatch()
}

/** The segments of a path that a query names. */
const segmentsOf = (query: URLSearchParams): ReadonlyArray<string> => {
  const segments: Array<string> = []
  for (const field of Subject.fields) {
    const value = query.get(field)
    if (value !== null) segments.push(`${field}:${value.toLowerCase()}`)
  }
  return segments
}

// ---------------------------------------------------------------------------------------------------------------------
// cursors
// ---------------------------------------------------------------------------------------------------------------------

interface Cursor extends Order {
  /** The last row of the page before, and its key. */
  readonly after: string
  readonly at: string
  /** What was asked for; nothing for a list without an order, whose filters may change on the way. */
  readonly filters: string | undefined
}

const encodeCursor = (value: Cursor): string => Buffer.from(JSON.stringify(value), "utf8").toString("base64url")

/** Where a page begins. The cursor of an ordered list belongs to its order and filters. */
const startOf = (
  query: URLSearchParams,
  order: RequestedOrder,
  filters: string
): (Omit<Cursor, "after"> & { readonly after: Position }) | undefined => {
  const text = Parse.parameter(query, "cursor")
  if (text === undefined || (text === "0" && !isOrderRequested(order))) return undefined
  const value = decodeCursor(text)
  if (value === undefined || (value.filters === undefined && isOrderRequested(order)))
    throw invalidRequest("Invalid cursor")
  const isSame =
    value.filters === undefined ||
    (value.filters === filters &&
      (order.by ?? value.by) === value.by &&
      (order.direction ?? value.direction) === value.direction)
  if (!isSame) throw invalidRequest("The cursor belongs to another query")
  try {
    return { ...value, after: { key: parseKey(value.at, value.by), id: value.after } }
  } catch {
    throw invalidRequest("Invalid cursor")
  }
}

const decodeCursor = (text: string): Cursor | undefined => {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"))
    if (!Parse.isRecord(value)) return undefined
    const { after, at, by, direction, filters } = value
    const key = SortBy.literals.find((candidate) => candidate === by)
    if (typeof after !== "string" || typeof at !== "string" || key === undefined) return undefined
    if (filters !== undefined && typeof filters !== "string") return undefined
    return direction === "asc" || direction === "desc" ? { after, at, by: key, direction, filters } : undefined
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// balances
// ---------------------------------------------------------------------------------------------------------------------

/** `GET /v1/balances` */
export const getBalances = (
  context: Context,
  caller: Caller,
  query: URLSearchParams,
  isVisible: IsVisible
): JsonResponse => {
  const segments = segmentsOf(query)
  if (segments.length === 0) throw invalidRequest(`At least one of ${Subject.fields.join(", ")} is required`)
  checkTenantParameter(caller, query)
  // Children are always listed, whatever it says.
  Parse.boolean(query, "include_children")
  const limit = limitOf(query)
  const all = Array.from(context.store.budgets.ofOwner(caller.tenant.id)).filter((budget) => {
    const parts = budget.scope.split("/")
    return segments.every((segment) => parts.includes(segment)) && isVisible(Scopes.withAncestors(budget.scope))
  })
  const { hasMore, next, rows } = Parse.offsetPage(query, all, limit)
  return json(200, { balances: rows.map(balanceRow), has_more: hasMore, next_cursor: next ?? null })
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

const allFields: ReadonlySet<string> = new Set(["metadata", "committed_metadata"])

/** A reservation on the wire. Absent subject fields and tags are null there, as the reference has it. */
const reservationRow = (reservation: Reservation, include: ReadonlySet<string>): object => {
  const { action, subject, unit } = reservation
  return {
    reservation_id: reservation.id,
    status: reservation.status,
    idempotency_key: reservation.idempotencyKey,
    subject: {
      tenant: subject.tenant ?? null,
      workspace: subject.workspace ?? null,
      app: subject.app ?? null,
      workflow: subject.workflow ?? null,
      agent: subject.agent ?? null,
      toolset: subject.toolset ?? null,
      dimensions: subject.dimensions ?? null
    },
    action: { kind: action.kind, name: action.name, tags: action.tags ?? null },
    reserved: money(unit, reservation.amount),
    committed: reservation.committed === undefined ? undefined : money(unit, reservation.committed),
    created_at_ms: reservation.createdAtMs,
    expires_at_ms: reservation.expiresAtMs,
    finalized_at_ms: reservation.finalizedAtMs,
    scope_path: reservation.scopePath,
    affected_scopes: reservation.affectedScopes,
    metadata: include.has("metadata") ? reservation.metadata : undefined,
    committed_metadata: include.has("committed_metadata") ? reservation.committedMetadata : undefined
  }
}
