/**
 * Queries of the runtime plane: one reservation, lists of reservations, and balances.
 *
 * @see getReservation, listReservations and getBalances in cycles-protocol-v0.yaml
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import { SortBy } from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { JsonResponse } from "./response.ts"
import { json } from "./response.ts"
import { balanceRow } from "./accounting.ts"
import type { Caller, Context } from "./context.ts"
import type { Reservation } from "./model.ts"
import * as Parse from "./parse.ts"
import { invalidRequest, tenantMismatch } from "./errorResponse.ts"
import { reservationExpired, ownedReservation } from "./reservations.ts"
import { allFields, reservationRow } from "./reservationRow.ts"
import * as Scopes from "./scopes.ts"
import type { Store } from "./store.ts"

/** Whether the caller may see a path, given as the scope and its ancestors. */
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
  const filters = filterFingerprint(tenantId, query)
  const start = startOf(query, order, filters)
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
            filters: isSorted ? filters : undefined
          })
        : null
  })
}

/** The first rows of a page by creation. It reads only as many rows as it needs. */
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
  // In descending order the page starts at the end of the instant, because rows of one instant ascend by id.
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

/** Reorders descending rows so that rows of the same instant ascend by id. */
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

/** All matching rows after the cursor. It reads all rows of the tenant. */
const allSorted = (
  store: Store,
  tenantId: string,
  sort: Order,
  after: Position | undefined,
  isShown: (reservation: Reservation) => boolean
): ReadonlyArray<Reservation> =>
  Array.from(store.reservations.ofOwner(tenantId))
    // Compare positions, because the row of the cursor may no longer match the filter.
    .filter(
      (row) => isShown(row) && (after === undefined || comparePositions(sort, positionOf(row, sort.by), after) > 0)
    )
    .toSorted((a, b) => comparePositions(sort, positionOf(a, sort.by), positionOf(b, sort.by)))

/** Compares by key in the direction of the order, then by ascending id. */
const comparePositions = ({ direction }: Order, a: Position, b: Position): number =>
  (direction === "asc" ? 1 : -1) * compare(a.key, b.key) || compare(a.id, b.id)

/** The number of rows of a page. An empty limit counts as absent. */
const limitOf = (query: URLSearchParams): number => {
  const text = query.get("limit") ?? ""
  return text === "" ? Limits.defaultPageSize : Parse.integer("limit", text, 1, Limits.maxPageSize)
}

/** The filters of a query as text, to compare with those of a cursor. */
const filterFingerprint = (tenantId: string, query: URLSearchParams): string =>
  [
    tenantId,
    ...filterNames.map((name) => query.get(name) ?? ""),
    // Parsed, because the same instant has several spellings.
    ...windows.flatMap(([from, to]) => [windowBound(query, from) ?? "", windowBound(query, to) ?? ""])
  ].join("\n")

const directions = ["asc", "desc"] as const

interface Order {
  readonly by: SortBy
  readonly direction: (typeof directions)[number]
}

/** The order that a query requests. */
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

/** The position of a row in an order. */
interface Position {
  readonly key: string | bigint | number
  readonly id: string
}

const positionOf = (reservation: Reservation, by: SortBy): Position => ({
  key: keyOf(reservation, by),
  id: reservation.id
})

/** Parses the key of a cursor. Throws if it is malformed. */
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

/** A bound of a time window, in epoch milliseconds, if present. */
const windowBound = (query: URLSearchParams, name: string): number | undefined => {
  const text = Parse.parameter(query, name)
  return text === undefined ? undefined : Parse.instant(name, text)
}

const filterOf = (query: URLSearchParams): ((reservation: Reservation) => boolean) => {
  const tests: Array<(reservation: Reservation) => boolean> = []
  const status = query.get("status")
  if (status !== null) {
    const known = Parse.literal("status filter", status, ["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"])
    tests.push((reservation) => reservation.status === known)
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
      throw invalidRequest("tenant query parameter is required with the admin key")
    return requested
  }
  checkTenantParameter(caller, query)
  return caller.tenant.id
}

/** Throws a 403 if the query names another tenant. */
const checkTenantParameter = (caller: Caller, query: URLSearchParams): void => {
  const requested = query.get("tenant")
  if (requested !== null && requested.trim() !== "" && requested !== caller.tenant.id) throw tenantMismatch()
}

/** The path segments that a query filters by. */
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
  /** The id of the last row of the previous page. */
  readonly after: string
  /** The sort key of that row. */
  readonly at: string
  /** The filters of the query. Absent for an unsorted list, whose filters may change between pages. */
  readonly filters: string | undefined
}

const encodeCursor = (value: Cursor): string => Buffer.from(JSON.stringify(value), "utf8").toString("base64url")

/** The start of a page. The cursor of a sorted list is valid only for the same order and filters. */
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
  // Only validated. As in the reference server, children are always included.
  Parse.boolean(query, "include_children")
  const limit = limitOf(query)
  const all = Array.from(context.store.budgets.ofOwner(caller.tenant.id)).filter((budget) => {
    const parts = budget.scope.split("/")
    return segments.every((segment) => parts.includes(segment)) && isVisible(Scopes.withAncestors(budget.scope))
  })
  const { hasMore, next, rows } = Parse.offsetPage(query, all, limit)
  return json(200, { balances: rows.map(balanceRow), has_more: hasMore, next_cursor: next ?? null })
}
