/** Runs one row of the benchmark of journals in a separate process: `records.ts files|sqlite FOLDER`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import type { JournalOwner, JournalRecord } from "effect-cycles/SettlementJournal"
import { SettlementJournal } from "effect-cycles/SettlementJournal"
import { ReservationId } from "@effect-cycles/protocol/Identifiers"
import { join } from "node:path"
import * as Canned from "./canned.ts"
import * as Child from "./child.ts"
import * as Latency from "./latency.ts"
import * as Plain from "./plain.ts"

const [, , kind = "", folder = ""] = process.argv

const store =
  kind === "files"
    ? JournalFiles.layer({ folder: join(folder, "journal") })
    : JournalSqlite.layer({ filename: join(folder, "journal.sqlite") })

let owner: JournalOwner | undefined

/** The store, which also remembers the owner of the client that opens it. */
const observed = Layer.effect(
  SettlementJournal,
  Effect.map(SettlementJournal, (journal) =>
    SettlementJournal.of({
      ...journal,
      open: (opened) => {
        owner = opened
        return journal.open(opened)
      }
    })
  )
).pipe(Layer.provide(store))

const client = Cycles.layer({
  baseUrl: "http://127.0.0.1:1",
  apiKey: Redacted.make("cyc_live_bench"),
  subject: { tenant: Plain.tenant }
}).pipe(Layer.provide([Canned.transport, observed]))

let recorded = 0

const makeRecord = (baseUrl: string): JournalRecord => {
  recorded += 1
  const key = crypto.randomUUID()
  return {
    reservationId: ReservationId.make(crypto.randomUUID()),
    baseUrl,
    mode: "commit",
    commitBody: `{"idempotency_key":"${key}","actual":{"unit":"TOKENS","amount":42},"metrics":{"latency_ms":1}}`,
    eventBody:
      `{"idempotency_key":"${key}-event","actual":{"unit":"TOKENS","amount":42},` +
      `"subject":{"tenant":"bench"},"action":{"kind":"llm.completion","name":"openai:gpt-5"}}`,
    recordedAtMs: Date.now(),
    notBeforeMs: 0
  }
}

const other: JournalOwner = { baseUrl: "http://127.0.0.1:2", fingerprint: "other" }

/** Writes records, and removes them again unless they are kept. */
const write = (to: JournalOwner, count: number, concurrency: number, isKept: boolean, latency: Latency.Latency) =>
  Effect.scoped(
    Effect.gen(function* () {
      const journal = yield* (yield* SettlementJournal).open(to)
      yield* Effect.forEach(
        Array.from({ length: count }),
        () =>
          Effect.suspend(() => {
            const record = makeRecord(to.baseUrl)
            const startedAt = performance.now()
            const put = Effect.map(journal.put(record), () => latency.add(performance.now() - startedAt))
            return isKept ? put : Effect.andThen(put, journal.remove(record))
          }),
        { concurrency, discard: true }
      )
    })
  )

const runtime = ManagedRuntime.make(store)

/** Fills the journal of a client with records, and measures a client that replays them. */
const replay = async (count: number): Promise<object> => {
  await Effect.runPromise(Effect.scoped(Layer.build(client)))
  if (owner === undefined) throw new Error("the client opened no journal")
  await runtime.runPromise(write(owner, count, 256, true, Latency.make()))
  const before = Child.usage()
  const { isComplete, pending } = await Effect.runPromise(Effect.provide(Cycles.flush("1 hour"), client))
  if (!isComplete) throw new Error(`the replay left ${pending} records`)
  return Child.between(before, Child.usage())
}

const Request = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("write"), count: Schema.Finite, concurrency: Schema.Finite }),
  Schema.Struct({ _tag: Schema.Literal("replay"), count: Schema.Finite })
])

Child.serve(Request, async (request) => {
  if (request._tag === "replay") return replay(request.count)
  const latency = Latency.make()
  const before = Child.usage()
  await runtime.runPromise(write(other, request.count, request.concurrency, false, latency))
  return { ...Child.between(before, Child.usage()), latency: latency.summary() }
})
