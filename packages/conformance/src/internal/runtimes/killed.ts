/**
 * Writes an open record and is killed: `killed.ts KIND FOLDER`.
 */
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import * as Effect from "effect/Effect"
import * as Journals from "./journals.ts"

const [kind, folder = ""] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const journal = yield* (yield* SettlementJournal.SettlementJournal).open(Journals.owner)
  yield* journal.putOpen(Journals.record("killed"))
  process.kill(process.pid, "SIGKILL")
  return yield* Effect.never
})

Effect.runPromise(
  Effect.scoped(program).pipe(Effect.provide(Journals.layer(kind === "files" ? "files" : "sqlite", folder)))
).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
