/** Streams of paginated lists. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CyclesError } from "../../CyclesError.ts"

/** Emits the rows of all pages. A page without rows but with a cursor doesn't end the stream. */
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
