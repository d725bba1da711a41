/**
 * What the administrator's requests and answers have in common.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Schema from "effect/Schema"
import type { JsonResponse } from "../response.ts"
import { json } from "../response.ts"
import type { ApiKey } from "../model.ts"
import * as Policies from "../policies.ts"
import * as Parse from "../parse.ts"
import { forbidden, invalidRequest } from "../errorResponse.ts"
import * as Scopes from "../scopes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// fields
// ---------------------------------------------------------------------------------------------------------------------

/** A text of limited length. */
export const stringOfLength = (minimum: number, maximum: number) =>
  Schema.String.check(Schema.isBetweenLength(minimum, maximum))

/** A text that says something. */
export const notBlank = (maximum: number) =>
  stringOfLength(1, maximum).check(Schema.isPattern(/\S/, { expected: "a text that is not blank" }))

/** A number of things; the reference server holds it in 32 bits. */
export const count = (minimum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum: 2_147_483_647 }))

/** A lifetime in milliseconds. */
export const ttl = Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 86_400_000 }))

/** JSON of the user's. */
export const metadata = Schema.optional(Schema.Record(Schema.String, Schema.Unknown))

/** A unit of the protocol. */
export const unit = Schema.Literals(Amount.knownUnits)

/** An instant as the administrator writes it, where it is given: ISO 8601 with a zone. */
export const instant = Schema.optional(
  Schema.String.check(
    Schema.makeFilter((text) =>
      Number.isNaN(Parse.parseInstant(text)) ? "Expected an ISO 8601 instant with a zone" : undefined
    )
  )
)

/** An instant as the administrator reads it. */
export const iso = (ms: number): string => new Date(ms).toISOString()

/** The same, where there is one. */
export const optionalIso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : iso(ms))

/** An instant that was written in some zone, in UTC, with no more digits than it needs. */
export const utc = <A extends string | undefined>(text: A): A | string =>
  text === undefined ? text : iso(Parse.parseInstant(text)).replace(".000Z", "Z")

// ---------------------------------------------------------------------------------------------------------------------
// who is asking
// ---------------------------------------------------------------------------------------------------------------------

/** The key of a tenant that works on its own budgets and policies; nothing for the administrator. */
export type Owner = ApiKey | undefined

/** A key works on what its scope filter allows. */
export const checkScopeFilter = (owner: Owner, scope: string | null): void => {
  if (owner === undefined || scope === null || scope.trim() === "") return
  if (!Policies.scopeFilterAllows(owner.scopeFilter, Scopes.withAncestors(scope.toLowerCase()))) {
    throw forbidden(`API key scope_filter does not permit access to scope: ${scope}`)
  }
}

/** The tenant that a new thing is made for: the key's own, or the one that the administrator names. */
export const tenantFor = (owner: Owner, requested: string | undefined): string => {
  if (owner === undefined) {
    if (requested === undefined || requested.trim() === "") {
      throw invalidRequest("tenant_id is required in the request body when using admin key authentication")
    }
    return requested
  }
  if (requested !== undefined) {
    throw invalidRequest(
      "tenant_id MUST NOT be set when using API key authentication (tenant is inferred from the key)"
    )
  }
  return owner.tenantId
}

/** The tenant that is looked at: the key's own, or the one that the administrator's query names. */
export const queriedTenant = (owner: Owner, query: URLSearchParams): string => {
  const requested = owner?.tenantId ?? Parse.parameter(query, "tenant_id")
  if (requested === undefined) {
    throw invalidRequest("tenant_id query parameter is required when using admin key authentication")
  }
  return requested
}

// ---------------------------------------------------------------------------------------------------------------------
// lists
// ---------------------------------------------------------------------------------------------------------------------

/** One of several words, where it is given. */
export const optionalLiteral = <A extends string>(
  query: URLSearchParams,
  name: string,
  allowed: ReadonlyArray<A>
): A | undefined => {
  const value = Parse.parameter(query, name)
  return value === undefined ? undefined : Parse.literal(name, value, allowed)
}

/** Whether a row has what is searched for in one of its texts, in any case. */
export const searchFilter = (query: URLSearchParams): ((...texts: ReadonlyArray<string>) => boolean) => {
  const wanted = Parse.parameter(query, "search")?.toLowerCase()
  if (wanted === undefined) return () => true
  if (wanted.length > maxSearch) throw invalidRequest(`search exceeds maxLength ${maxSearch} (got ${wanted.length})`)
  return (...texts) => texts.some((text) => text.toLowerCase().includes(wanted))
}

const maxSearch = 128

/** What rows may be sorted by. A row that lacks it comes last, and first in the other direction. */
export type SortKeys<A> = Readonly<Record<string, (row: A, place: number) => string | number | bigint | undefined>>

/** Rows, given in the order in which they were made, as a query wants them: descending where it doesn't say. */
export const sorted = <A>(
  query: URLSearchParams,
  rows: ReadonlyArray<A>,
  options: {
    readonly keys: SortKeys<A>
    readonly defaultKey: string
    /** What orders rows that are alike. */
    readonly id: (row: A) => string
    /** Whether that ascends in both directions. */
    readonly isIdAscending?: boolean
  }
): ReadonlyArray<A> => {
  const direction = Parse.literal("sort_dir", (query.get("sort_dir") ?? "desc").toLowerCase(), ["asc", "desc"])
  const by = Parse.literal(
    "sort_by",
    Parse.parameter(query, "sort_by") ?? options.defaultKey,
    Object.keys(options.keys)
  )
  const key = options.keys[by]
  if (key === undefined) return rows
  const ordered = rows.map((row, place) => ({ row, key: key(row, place), id: options.id(row) }))
  const sign = direction === "desc" ? -1 : 1
  const idSign = options.isIdAscending === true ? 1 : sign
  ordered.sort((a, b) => sign * compare(a.key, b.key) || idSign * compare(a.id, b.id))
  return ordered.map(({ row }) => row)
}

const compare = <A extends string | number | bigint>(a: A | undefined, b: A | undefined): number =>
  a === b ? 0 : a === undefined ? 1 : b === undefined || a < b ? -1 : 1

/** A page of a list: 1 to 100 rows, 50 by default. Its cursor is the name of its last row. */
export const page = <A>(
  query: URLSearchParams,
  rows: ReadonlyArray<A>,
  options: { readonly name: string; readonly id: (row: A) => string; readonly row: (row: A) => object }
): JsonResponse => {
  const requested = Parse.parameter(query, "limit")
  const limit = Math.max(1, Math.min(100, requested === undefined ? 50 : wholeNumber("limit", requested)))
  const cursor = Parse.parameter(query, "cursor")
  const from = cursor === undefined ? 0 : rows.findIndex((row) => options.id(row) === cursor) + 1
  if (cursor !== undefined && from === 0) {
    throw invalidRequest("Cursor is not valid for this result set; restart pagination without a cursor")
  }
  const pageRows = rows.slice(from, from + limit)
  const last = pageRows[pageRows.length - 1]
  const hasMore = last !== undefined && from + limit < rows.length
  return json(200, {
    [options.name]: pageRows.map(options.row),
    has_more: hasMore,
    next_cursor: hasMore ? options.id(last) : undefined
  })
}

const wholeNumber = (name: string, text: string): number => {
  const value = /^[+-]?\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (!(Math.abs(value) <= 2_147_483_647))
    throw invalidRequest(`Invalid value for parameter '${name}': ${text.slice(0, 40)}`)
  return value
}
