/**
 * Acts without end, until it is killed. What each body spent is written down before it ends (`reported`), and what the caller
 * was told after (`told`): one line each, durable for a reader as soon as it is written.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import * as Reservation from "effect-cycles/Reservation"
import { appendFileSync } from "node:fs"

const [baseUrl = "", apiKey = "", tenant = "", journal = "", log = "", run = "", kind = "sqlite"] =
  process.argv.slice(2)

const write = (line: string) => Effect.sync(() => appendFileSync(log, `${line}\n`))

const act = (id: string, spent: number) =>
  Effect.gen(function* () {
    yield* Reservation.record({ actual: Amount.tokens(spent) })
    yield* Effect.sleep(spent % 5)
    yield* write(`reported ${id} ${spent}`)
    if (spent % 7 === 0) return yield* Effect.fail("the body fails now and then")
    return spent
  }).pipe(
    Cycles.withCycles({
      action: { kind: "crash", name: id },
      estimate: Amount.tokens(100),
      onSettled: (settlement) => write(`told ${id} ${settlement._tag}`)
    }),
    Effect.ignore
  )

const lane = (number: number) =>
  Effect.gen(function* () {
    let i = 0
    return yield* Effect.forever(Effect.suspend(() => act(`${run}-${number}-${i}`, 1 + ((i++ * 13 + number) % 99))))
  })

Effect.runPromise(
  Effect.forEach([1, 2, 3, 4], lane, { concurrency: "unbounded" }).pipe(
    Effect.provide(
      NodeCycles.layer(
        { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant } },
        {
          journal:
            kind === "files" ? JournalFiles.layer({ folder: journal }) : JournalSqlite.layer({ filename: journal })
        }
      )
    )
  )
).catch(console.error)
