/**
 * Puts a record into the journal that is named on the command line, and kills itself as soon as put has returned.
 */
import * as Effect from "effect/Effect"
import { SettlementJournal } from "effect-cycles"
import { journalAt, owner, record } from "./records.ts"

const target = process.argv[2] ?? ""

Effect.runPromise(
  Effect.flatMap(SettlementJournal.SettlementJournal, (store) => store.open(owner)).pipe(
    Effect.flatMap((journal) => journal.put(record("from-the-child"))),
    Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL"))),
    Effect.scoped,
    Effect.provide(journalAt(target))
  )
).catch(console.error)
