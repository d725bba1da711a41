/**
 * Works on the journal that the command line names, as another process:
 *
 * - `hold PREFIX COUNT`: writes open records, prints `ready`, and runs until it is killed;
 * - `leave PREFIX COUNT`: writes open records, and ends without closing anything;
 * - `adopt`: prints `ready`, waits for a line on standard input, adopts, and prints how many records became pending.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { SettlementJournal } from "effect-cycles"
import { journalAt, owner, record } from "./records.ts"

const [target = "", command, prefix = "", count = "0"] = process.argv.slice(2)

const print = (text: string) => Effect.sync(() => void process.stdout.write(`${text}\n`))

const line = Effect.promise(() => new Promise((resolve) => void process.stdin.once("data", resolve)))

Effect.runPromise(
  Effect.gen(function* () {
    const journal = yield* Effect.flatMap(SettlementJournal.SettlementJournal, (store) => store.open(owner))
    if (command === "hold" || command === "leave") {
      for (let n = 0; n < Number(count); n++) yield* journal.putOpen(record(`${prefix}${n}`))
      yield* print("ready")
      if (command === "leave") return
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 60_000)))
    } else {
      yield* print("ready")
      yield* line
      yield* print(String(yield* journal.adoptOpen))
      process.stdin.destroy()
    }
  }).pipe(
    command === "leave" ? Effect.provideService(Scope.Scope, Scope.makeUnsafe()) : Effect.scoped,
    Effect.provide(journalAt(target))
  )
).catch(console.error)
