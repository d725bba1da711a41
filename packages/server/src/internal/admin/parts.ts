/**
 * What the administrator's requests and answers have in common.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Schema from "effect/Schema"
import type { Answer } from "../answer.ts"
import { json } from "../answer.ts"
import * as Read from "../read.ts"

/** A text of limited length. */
export const text = (minimum: number, maximum: number) => Schema.String.check(Schema.isBetweenLength(minimum, maximum))

/** A number of things. */
export const count = (minimum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum: Number.MAX_SAFE_INTEGER }))

/** A lifetime in milliseconds. */
export const ttl = Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 86_400_000 }))

/** JSON of the user's. */
export const metadata = Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown))

/** A unit of the protocol. */
export const unit = Schema.Literals(Amount.knownUnits)

/** An instant as the administrator writes it, where it is given: ISO 8601 with a zone. */
export const instant = Schema.optionalKey(
  Schema.String.check(
    Schema.makeFilter((text) =>
      Number.isNaN(Read.parseInstant(text)) ? "Expected an ISO 8601 instant with a zone" : undefined
    )
  )
)

/** An instant as the administrator reads it. */
export const iso = (ms: number): string => new Date(ms).toISOString()

/** A page of a list: at most 100 rows, 50 by default. */
export const page = (query: URLSearchParams, rows: ReadonlyArray<object>, name: string): Answer => {
  const limit = query.has("limit") ? Read.integer("limit", query.get("limit") ?? "", 1, 100) : 50
  const slice = Read.slice(query, rows, limit)
  return json(200, { [name]: slice.rows, has_more: slice.hasMore, next_cursor: slice.next })
}
