/** Runs one row of the client's benchmark in a separate process: `load.ts ROW URL KEY FOLDER`. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import type { SettlementJournal } from "effect-cycles/SettlementJournal"
import { layerNone } from "effect-cycles/SettlementJournal"
import { join } from "node:path"
import * as Child from "./child.ts"
import * as Latency from "./latency.ts"
import * as Plain from "./plain.ts"

type Run = (count: number, concurrency: number, latency: Latency.Latency) => Promise<void>

const [, , row = "", url = "", apiKey = "", folder = ""] = process.argv

const lifecycle = Effect.succeed({ tokens: 42 }).pipe(
  Cycles.withCycles({
    action: Plain.action,
    estimate: Amount.tokens(1000),
    actual: (reply) => Amount.tokens(reply.tokens),
    onUnsettled: "fail"
  })
)

/** Runs lifecycles in concurrent fibers. Each fiber runs one lifecycle at a time. */
const lifecycles = (count: number, concurrency: number, latency: Latency.Latency) =>
  Effect.suspend(() => {
    let left = count
    const loop = Effect.suspend(() => {
      let startedAt = 0
      return Effect.whileLoop({
        while: () => left > 0,
        body: () => {
          left -= 1
          startedAt = performance.now()
          return lifecycle
        },
        step: () => latency.add(performance.now() - startedAt)
      })
    })
    return Effect.forEach(Array.from({ length: Math.min(count, concurrency) }), () => loop, {
      concurrency: "unbounded",
      discard: true
    })
  })

const runtimeOf = (journal: Layer.Layer<SettlementJournal>) =>
  ManagedRuntime.make(
    NodeCycles.layer({ baseUrl: url, apiKey: Redacted.make(apiKey), subject: { tenant: Plain.tenant } }, { journal })
  )

const client = (journal: Layer.Layer<SettlementJournal>): Run => {
  const runtime = runtimeOf(journal)
  return (count, concurrency, latency) => runtime.runPromise(lifecycles(count, concurrency, latency))
}

/** Runs each lifecycle by its own `runPromise`, as a handler of a framework without Effect does. */
const byPromise = (journal: Layer.Layer<SettlementJournal>): Run => {
  const runtime = runtimeOf(journal)
  return (count, concurrency, latency) => Plain.atOnce(count, concurrency, latency, () => runtime.runPromise(lifecycle))
}

const durable = () => JournalSqlite.layer({ filename: join(folder, "journal.sqlite") })

/** A tracer that keeps spans until a batch is full, as an exporter does. */
const recorder = (): Tracer.Tracer => {
  let batch: Array<Tracer.Span> = []
  return Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      if (batch.length >= 512) batch = []
      batch.push(span)
      return span
    }
  })
}

const observed = (): Run => {
  const runtime = runtimeOf(durable())
  const tracer = recorder()
  return (count, concurrency, latency) =>
    runtime
      .runPromise(
        Effect.andThen(
          Effect.provideService(lifecycles(count, concurrency, latency), Tracer.Tracer, tracer),
          Metric.snapshot
        )
      )
      .then(() => {})
}

const runOf = (row: string): Run => {
  switch (row) {
    case "baseline":
      return Plain.make({ url, apiKey }).run
    case "client":
      return client(layerNone)
    case "promise":
      return byPromise(layerNone)
    case "journal":
      return client(durable())
    case "observed":
      return observed()
    default:
      throw new Error(`there is no row ${row}`)
  }
}

const run = runOf(row)

Child.serve(Schema.Struct({ count: Schema.Finite, concurrency: Schema.Finite }), async ({ concurrency, count }) => {
  const latency = Latency.make()
  const before = Child.usage()
  await run(count, concurrency, latency)
  return { ...Child.between(before, Child.usage()), latency: latency.summary() }
})
