/**
 * Makes guarded calls until the process is killed, or a single one that ends when a file exists.
 *
 * The log has a line for each step of a call, visible to readers as soon as it is written: `began`, `recorded` with the total
 * for which `record` has returned, `reported` with the total at the end of the body, and `settled` with the settlement.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Cycles from "effect-cycles/Cycles"
import type { OnCrash, Settle } from "effect-cycles/CyclesConfig"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import * as Reservation from "effect-cycles/Reservation"
import { appendFileSync, existsSync } from "node:fs"

/** The JSON argument of the worker. */
export interface Work {
  readonly baseUrl: string
  readonly apiKey: string
  readonly tenant: string
  /** The file, or the folder, of the journal. */
  readonly journal: string
  readonly kind: "sqlite" | "files"
  readonly log: string
  /** The prefix of the names of all calls. */
  readonly run: string
  readonly settle: Settle
  readonly onCrash: OnCrash
  /** The number of clients that share the journal. With more than one, another client repeatedly starts and ends on it. */
  readonly clients: number
  readonly ttlMs: number
  /** The single call of the worker lasts until this file exists. */
  readonly until?: string | undefined
}

const work: Work = JSON.parse(process.argv[2] ?? "{}")

const write = (line: string) => Effect.sync(() => appendFileSync(work.log, `${line}\n`))

const record = (id: string, total: number) =>
  Effect.andThen(Reservation.record({ actual: Amount.tokens(total) }), write(`recorded ${id} ${total}`))

const guarded = <E, R>(id: string, body: Effect.Effect<unknown, E, R>) =>
  body.pipe(
    Cycles.withCycles({
      action: { kind: "crash", name: id },
      estimate: Amount.tokens(100),
      settle: work.settle,
      onCrash: work.onCrash,
      ttl: work.ttlMs,
      gracePeriod: 0,
      onSettled: (settlement) => write(`settled ${id} ${settlement._tag}`)
    }),
    Effect.ignore
  )

const call = (id: string, spent: number) =>
  guarded(
    id,
    Effect.gen(function* () {
      yield* write(`began ${id}`)
      yield* record(id, Math.ceil(spent / 2))
      yield* Effect.sleep(spent % 5)
      yield* record(id, spent)
      yield* Effect.sleep(spent % 3)
      yield* write(`reported ${id} ${spent}`)
      if (spent % 7 === 0) return yield* Effect.fail("the body fails now and then")
    })
  )

const loop = (name: string, number: number) =>
  Effect.gen(function* () {
    let i = 0
    return yield* Effect.forever(
      Effect.suspend(() => call(`${work.run}-${name}-${number}-${i}`, 2 + ((i++ * 13 + number) % 98)))
    )
  })

const loops = (name: string) =>
  Effect.forEach([1, 2, 3, 4], (number) => loop(name, number), { concurrency: "unbounded" })

const runUntil = (file: string) =>
  guarded(
    work.run,
    Effect.gen(function* () {
      yield* write(`began ${work.run}`)
      yield* record(work.run, 40)
      while (!existsSync(file)) yield* Effect.sleep(20)
      yield* record(work.run, 60)
      yield* write(`reported ${work.run} 60`)
    })
  )

const { apiKey, baseUrl, clients, journal, kind, tenant, until } = work

const makeClient = () =>
  NodeCycles.layer(
    { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant }, scanInterval: "1 second" },
    { journal: kind === "files" ? JournalFiles.layer({ folder: journal }) : JournalSqlite.layer({ filename: journal }) }
  )

/** A client that starts, scans the journal and ends. */
const transientClient = Effect.forever(
  Effect.suspend(() => Effect.andThen(Effect.provide(Cycles.flush("1 second"), makeClient()), Effect.sleep(10)))
)

const program: Effect.Effect<unknown> =
  until === undefined
    ? Effect.all(
        [
          ...Array.from({ length: clients }, (_, i) => Effect.provide(loops(`c${i}`), makeClient())),
          ...(clients > 1 ? [transientClient] : [])
        ],
        { concurrency: "unbounded" }
      )
    : Effect.provide(runUntil(until), makeClient())

Effect.runPromise(program).catch(console.error)
