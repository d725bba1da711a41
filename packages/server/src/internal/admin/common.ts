/**
 * Shared by the requests and lists of the admin plane: field schemas, tenant resolution, sorting and pages.
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

/** A string with a length from minimum to maximum. */
export const stringOfLength = (minimum: number, maximum: number) =>
  Schema.String.check(
    Schema.isBetweenLength(minimum, maximum, {
      expected: minimum === 0 ? `at most ${maximum} characters` : `${minimum} to ${maximum} characters`
    })
  )

/** A string that is not blank, of limited length. */
export const notBlank = (maximum: number) => stringOfLength(1, maximum).check(isNotBlank)

const isNotBlank = Schema.isPattern(/\S/, { expected: "a text that is not blank" })

/** A string that is not blank. */
export const NotBlank = Schema.String.check(isNotBlank)

const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { expected: `an integer from ${minimum} to ${maximum}` }))

/** The id of a tenant. */
export const tenantId = stringOfLength(3, 64).check(
  Schema.isPattern(/^[a-z0-9-]+$/, { expected: "lower-case letters, digits and hyphens" })
)

/** An integer of at least minimum and at most 2^31-1, the limit of the reference server. */
export const count = (minimum: number) => integer(minimum, 2_147_483_647)

/** A lifetime in milliseconds, from 1 second to 1 day. */
export const ttl = integer(1_000, 86_400_000)

/** Any JSON object. */
export const metadata = Schema.optional(Schema.Record(Schema.String, Schema.Unknown))

/** A unit of the protocol. */
export const unit = Schema.Literals(Amount.knownUnits)

/** Whether a text is an instant: ISO 8601 with a zone. */
export const isInstant = Schema.makeFilter((text: string) =>
  Number.isNaN(Parse.parseInstant(text)) ? "Expected an ISO 8601 instant with a zone" : undefined
)

/** An optional instant. */
export const instant = Schema.optional(Schema.String.check(isInstant))

/** Formats epoch milliseconds as ISO 8601 in UTC. */
export const iso = (ms: number): string => new Date(ms).toISOString()

/** Formats optional epoch milliseconds as ISO 8601 in UTC. */
export const optionalIso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : iso(ms))

/** Converts an instant to UTC, without milliseconds if they are 0. */
export const utc = <A extends string | undefined>(text: A): A | string =>
  text === undefined ? text : iso(Parse.parseInstant(text)).replace(".000Z", "Z")

// ---------------------------------------------------------------------------------------------------------------------
// tenants
// ---------------------------------------------------------------------------------------------------------------------

/** The API key that manages budgets and policies, or `undefined` for the admin key. */
export type Owner = ApiKey | undefined

/** Throws a 403 if the scope filter of the key excludes the scope. */
export const checkScopeFilter = (owner: Owner, scope: string | null): void => {
  if (owner === undefined || scope === null || scope.trim() === "") return
  if (!Policies.scopeFilterAllows(owner.scopeFilter, Scopes.withAncestors(scope.toLowerCase()))) {
    throw forbidden(`API key scope_filter does not permit access to scope: ${scope}`)
  }
}

/** The tenant of a new object: the tenant of the API key or, with the admin key, the tenant in the body. */
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

/** The tenant of a query: the tenant of the API key or, with the admin key, the tenant in the query. */
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

/** A `reason` parameter of at most 512 characters, or `undefined` if it is empty. */
export const reasonOf = (query: URLSearchParams): string | undefined => {
  const reason = query.get("reason") ?? ""
  if (reason.length > maxReason) {
    throw invalidRequest(`reason must have at most ${maxReason} characters, got ${reason.length}`)
  }
  return reason === "" ? undefined : reason
}

const maxReason = 512

/** Parses an optional parameter with a fixed set of values. */
export const optionalLiteral = <A extends string>(
  query: URLSearchParams,
  name: string,
  allowed: ReadonlyArray<A>
): A | undefined => {
  const value = Parse.parameter(query, name)
  return value === undefined ? undefined : Parse.literal(name, value, allowed)
}

/** Creates the case-insensitive filter of the parameter `search`. */
export const searchFilter = (query: URLSearchParams): ((...texts: ReadonlyArray<string>) => boolean) => {
  const search = Parse.parameter(query, "search")?.toLowerCase()
  if (search === undefined) return () => true
  if (search.length > maxSearch) throw invalidRequest(`search exceeds maxLength ${maxSearch} (got ${search.length})`)
  return (...texts) => texts.some((text) => text.toLowerCase().includes(search))
}

const maxSearch = 128

/** The sort keys of a list. A missing key counts as greater than all others. */
export type SortKeys<A> = Readonly<Record<string, (row: A, place: number) => string | number | bigint | undefined>>

/** Sorts rows, given in insertion order, as the query requests. Default direction: descending. */
export const sorted = <A>(
  query: URLSearchParams,
  rows: ReadonlyArray<A>,
  options: {
    readonly keys: SortKeys<A>
    readonly defaultKey: string
    /** Orders rows with equal keys. */
    readonly id: (row: A) => string
    /** Whether ids ascend in both directions. Default: they follow the direction of the sort. */
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

/** The response with a page of 1 to 100 rows, by default 50. The cursor is the id of the last row. */
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
    throw invalidRequest(`Invalid value for parameter '${name}': ${Parse.shown(text)}`)
  return value
}
