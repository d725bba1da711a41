/** Streams of paginated lists. They end even if a server never sends a last page. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CyclesError, Operation } from "../../CyclesError.ts"
import { ProtocolError } from "../../CyclesError.ts"

interface Page {
  readonly nextCursor?: string
  readonly meta: { readonly requestId: string | undefined }
}

/**
 * Emits the rows of all pages. A page without rows but with a cursor doesn't end the stream. Fails with a
 * `ProtocolError` if the cursors form a cycle, or after 1,000 pages in a row without rows.
 */
export const pages = <Query extends object, A extends Page, Row>(
  operation: Operation,
  query: Query,
  get: (query: Query & { readonly cursor?: string }) => Effect.Effect<A, CyclesError>,
  rows: (page: A) => ReadonlyArray<Row>
): Stream.Stream<Row, CyclesError> =>
  Stream.suspend(() => {
    // A cycle of any length reaches the marked cursor again, because the mark moves at pages 1, 2, 4, 8 and so on.
    let marked: string | undefined
    let count = 0
    let empty = 0
    return Stream.paginate(query, (query) =>
      Effect.flatMap(get(query), (page) => {
        const { meta, nextCursor: cursor } = page
        const list = rows(page)
        if (cursor === undefined) return Effect.succeed([list, Option.none()])
        empty = list.length === 0 ? empty + 1 : 0
        count += 1
        if (cursor === marked || empty > maxEmptyPages) {
          const problem = cursor === marked ? "next_cursor repeats an earlier page" : "too many pages without rows"
          return Effect.fail(new ProtocolError({ operation, status: 200, problem, requestId: meta.requestId }))
        }
        if ((count & (count - 1)) === 0) marked = cursor
        return Effect.succeed([list, Option.some({ ...query, cursor })])
      })
    )
  })

const maxEmptyPages = 1_000
