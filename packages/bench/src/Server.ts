/**
 * Measures the CPU time of a request in the embedded server's process, compared with a bare `node:http` server that
 * parses the same requests and returns the same JSON, at several numbers of past reservations.
 *
 * The load alternates reserve and commit and comes from this process.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Folder from "./internal/folder.ts"
import * as Latency from "./internal/latency.ts"
import * as Plain from "./internal/plain.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Sample, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/** The extent, and the numbers of past reservations at which the server is measured. */
export interface Options extends Extent {
  /** The number of concurrent lifecycles. */
  readonly concurrency: number
  /** Numbers of past reservations, in ascending order. */
  readonly past: ReadonlyArray<number>
}

/** Runs the benchmark. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const servers = yield* Effect.forEach(yield* started, ({ child, goal, name }) =>
        Effect.gen(function* () {
          const warm = yield* connect(yield* child.ask(Child.Address, { _tag: "start" }))
          for (let round = 0; round < 4; round += 1) yield* lifecycles(warm, options.count, options)
          // An empty ledger, in the process that has been warmed up.
          const plain = yield* connect(yield* child.ask(Child.Address, { _tag: "start" }))
          return { name, goal, plain, measure: load(child, plain, options) }
        })
      )
      let past = 0
      return yield* Effect.forEach(options.past, (level) =>
        Effect.gen(function* () {
          // The bare server stores nothing.
          yield* Effect.forEach(
            servers.slice(1),
            ({ plain }) => lifecycles(plain, Math.max(0, level - past), options),
            { concurrency: "unbounded" }
          )
          const rows = Report.rows(yield* Rounds.run(servers, options.rounds))
          past = Math.max(past, level) + options.rounds * options.count
          return {
            benchmark: "server",
            title: `A request to the embedded server with ${level.toLocaleString("en")} past reservations`,
            measure: "CPU µs a request",
            unit: "request",
            against: "ratio",
            rows
          } satisfies Section
        })
      )
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// servers and load
// ---------------------------------------------------------------------------------------------------------------------

/** The processes of the bare server, which is the baseline, and of the embedded server with each store. */
const started = Effect.gen(function* () {
  const bare = new URL("./internal/bare.ts", import.meta.url)
  const embedded = new URL("./internal/embedded.ts", import.meta.url)
  const folder = yield* Folder.make
  return [
    { name: "bare `node:http` with JSON", goal: undefined, child: yield* Child.start(bare) },
    {
      name: "embedded server in memory",
      goal: { of: "ratio", most: 1.7 } as const,
      child: yield* Child.start(embedded)
    },
    {
      name: "embedded server on SQLite, durable",
      goal: { of: "ratio", most: 2.5 } as const,
      child: yield* Child.start(embedded, folder)
    }
  ]
})

const connect = (address: Child.Address) =>
  Effect.acquireRelease(
    Effect.sync(() => Plain.make(address)),
    (plain) => Effect.promise(plain.close)
  )

const lifecycles = (plain: Plain.Plain, count: number, { concurrency }: Options): Effect.Effect<void> =>
  Effect.promise(() => plain.run(count, concurrency))

/**
 * Runs one round. Returns the resources that the server's process used; the latency is that of both requests of a
 * lifecycle.
 */
const load = (child: Child.Child, plain: Plain.Plain, options: Options): Effect.Effect<Sample> =>
  Effect.gen(function* () {
    const latency = Latency.make()
    const before = yield* child.ask(Child.Usage, { _tag: "usage" })
    yield* Effect.promise(() => plain.run(options.count, options.concurrency, latency))
    const after = yield* child.ask(Child.Usage, { _tag: "usage" })
    return Report.sampleOf(2 * options.count, { ...Child.between(before, after), latency: latency.summary() })
  })
