/**
 * The program for Node, Bun and Deno, which have ports and files: the quickstart against an embedded server in this process,
 * then with `NodeCycles` against one on a port, then a record in each durable journal. It prints the lines, and exits with 1 if
 * anything fails.
 */
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import { NodeCycles } from "effect-cycles/node"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { temporaryFolder } from "../temporaryFolder.ts"
import { embedded } from "./embedded.ts"
import * as Journals from "./journals.ts"
import { quickstart } from "./quickstart.ts"
import { serve } from "./serve.ts"

const section = <E, R>(title: string, lines: Effect.Effect<ReadonlyArray<string>, E, R>) =>
  Effect.map(lines, (lines) => console.log([`${title}:`, ...lines.map((line) => `  ${line}`)].join("\n")))

const served = Effect.gen(function* () {
  const journal = Journals.layer("sqlite", yield* temporaryFolder)
  return yield* Effect.provide(quickstart, NodeCycles.layer(yield* serve, { journal }))
})

/**
 * Writes a decided and an open record, and finds them by a second handle. Adopts the open record of a killed process, but not
 * the one of this process. Then removes all records.
 */
const journaled = (kind: Journals.Kind) =>
  Effect.gen(function* () {
    const where = yield* temporaryFolder
    return yield* Effect.gen(function* () {
      const service = yield* SettlementJournal.SettlementJournal
      const [first, second] = [yield* service.open(Journals.owner), yield* service.open(Journals.owner)]
      const records = Effect.map(Stream.runCollect(second.pending), (records) => Array.from(records))
      const count = Effect.map(records, ({ length }) => `${length} pending`)
      yield* first.put(Journals.record("decided"))
      yield* first.putOpen(Journals.record("open"))
      const lines = [yield* count, `${yield* second.adoptOpen} adopted of a running process`]
      const { signal } = spawnSync(process.execPath, [join(import.meta.dirname, "killed.ts"), kind, where])
      if (signal !== "SIGKILL")
        throw new Error(`the process should have been killed, but ended with the signal ${signal}`)
      lines.push(`${yield* second.adoptOpen} adopted of a killed process`, yield* count)
      yield* first.removeOpen(Journals.record("open").reservationId)
      for (const record of yield* records) yield* first.remove(record)
      return [...lines, yield* count]
    }).pipe(Effect.provide(Journals.layer(kind, where)))
  })

const program = Effect.gen(function* () {
  yield* section("in process", embedded)
  yield* section("on a port", served)
  yield* section("SQLite journal", journaled("sqlite"))
  yield* section("files journal", journaled("files"))
})

Effect.runPromise(Effect.scoped(program)).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
