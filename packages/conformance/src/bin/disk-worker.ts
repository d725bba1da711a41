/**
 * Makes guarded calls whose commits are lost, one after the other, and prints for each whether its spend is in the
 * journal.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cycles from "effect-cycles/Cycles"
import { retryPolicy } from "effect-cycles/CyclesConfig"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeTransport from "effect-cycles/node/NodeTransport"
import type { Settlement } from "effect-cycles/Settlement"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

/** The JSON argument of the worker. */
export interface Work {
  readonly baseUrl: string
  readonly apiKey: string
  readonly tenant: string
  readonly kind: "files" | "sqlite"
  /** The folder, or the file, of the journal. */
  readonly journal: string
  /** The prefix of the names of all calls. */
  readonly run: string
  readonly calls: number
  /** The user that the process becomes before it opens the journal. */
  readonly uid?: number | undefined
}

/** One line of the output. */
export interface Line {
  readonly name: string
  readonly isJournaled: boolean
}

const work: Work = JSON.parse(process.argv[2] ?? "{}")

const lossy = Layer.effect(
  CyclesTransport.CyclesTransport,
  Effect.map(CyclesTransport.CyclesTransport, (inner) =>
    CyclesTransport.fromStart((request, context, done) => {
      if (!/\/commit$|\/events$/.test(request.url)) return inner.start(request, context, done)
      done(Exit.fail({ kind: "interrupted", mayHaveArrived: true, problem: "ECONNRESET", cause: undefined }))
      return () => {}
    })
  )
).pipe(Layer.provide(NodeTransport.layer()))

const layer = Cycles.layer({
  baseUrl: work.baseUrl,
  apiKey: Redacted.make(work.apiKey),
  subject: { tenant: work.tenant },
  retry: retryPolicy({ times: 0 }),
  flushTimeout: "100 millis"
}).pipe(
  Layer.provide([
    lossy,
    work.kind === "files"
      ? JournalFiles.layer({ folder: work.journal })
      : JournalSqlite.layer({ filename: work.journal })
  ])
)

const print = (name: string, settlement: Settlement) =>
  Effect.sync(() => {
    const line: Line = { name, isJournaled: Object(settlement)["isJournaled"] === true }
    console.log(JSON.stringify(line))
  })

/** Small and large records take turns. */
const call = (index: number) => {
  const name = `${work.run}-${index}`
  return Cycles.withCycles(Effect.void, {
    action: { kind: "disk", name },
    estimate: Amount.tokens(10),
    metrics: { custom: { filler: "x".repeat(index % 2 === 0 ? 10 : 12_000) } },
    onSettled: (settlement) => print(name, settlement)
  })
}

const program = Effect.gen(function* () {
  for (let index = 0; index < work.calls; index++) yield* call(index)
})

if (work.uid !== undefined) process.setuid?.(work.uid)
await Effect.runPromise(Effect.provide(program, layer))
