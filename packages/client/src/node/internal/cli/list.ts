/** Prints a list of the server: its first rows, as a table or as JSON. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { CyclesClient } from "../../../CyclesClient.ts"
import type { CyclesError } from "../../../CyclesError.ts"
import { withClient } from "./client.ts"
import type { CliFailure } from "./failure.ts"
import { ofCall } from "./failure.ts"
import * as Output from "./output.ts"
import type { Settings } from "./settings.ts"

/** A list, and how it is printed. */
export interface List<A, I> {
  readonly rows: (client: CyclesClient) => Stream.Stream<A, CyclesError>
  readonly schema: Schema.Codec<A, I>
  readonly tableOf: (rows: ReadonlyArray<A>) => string
  /** The name of the rows, in the plural. */
  readonly noun: string
  /** The text for an empty list. */
  readonly none: string
}

/** Prints at most `limit` rows of a list. */
export const print = <A, I>(
  settings: Settings,
  { json, limit }: { readonly json: boolean; readonly limit: number },
  list: List<A, I>
): Effect.Effect<void, CliFailure> =>
  Effect.gen(function* () {
    const found = yield* withClient(settings, (client) =>
      Effect.mapError(Stream.runCollect(Stream.take(list.rows(client), limit + 1)), ofCall)
    )
    const rows = found.slice(0, limit)
    if (json) {
      const encode = Schema.encodeEffect(Schema.Array(list.schema))
      return yield* Output.printJson(yield* Effect.orDie(encode(rows)))
    }
    if (rows.length === 0) return yield* Output.print(list.none)
    yield* Output.print(list.tableOf(rows))
    if (found.length > limit) yield* Output.print(`\nThere are more ${list.noun}: pass a larger --limit.`)
  })
