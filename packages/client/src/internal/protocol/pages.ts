/**
 * Lists, page after page.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CyclesError } from "../../CyclesError.ts"

/** All rows of a list. An empty page with a cursor is followed too. */
export const pages = <Query extends object, A extends { readonly nextCursor?: string }, Row>(
  query: Query,
  get: (query: Query & { readonly cursor?: string }) => Effect.Effect<A, CyclesError>,
  rows: (page: A) => ReadonlyArray<Row>
): Stream.Stream<Row, CyclesError> =>
  Stream.paginate(query, (query) =>
    Effect.map(get(query), (page) => [
      rows(page),
      page.nextCursor === undefined ? Option.none() : Option.some({ ...query, cursor: page.nextCursor })
    ])
  )
