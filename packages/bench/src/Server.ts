/**
 * Measures the CPU time of a request in the embedded server's process, compared with a bare `node:http` server that parses the
 * same requests and returns the same JSON, and whether it stays constant as the ledger grows.
 *
 * The load alternates reserve and commit and comes from this process.
 */
import * as Effect from "effect/Effect"
import * as Child from "./internal/child.ts"
import * as Folder from "./internal/folder.ts"
import * as Plain from "./internal/plain.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Sample, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/** The extent, and the numbers of past reservations at which the server is measured. */
export interface Options extends Extent {
  /** Numbers of past reservations, in ascending order. */
  readonly past: ReadonlyArray<number>
}

/** Runs the benchmark. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.gen(function* () {
    const costs = yield* Effect.scoped(perRequest(options))
    const memory = yield* Effect.scoped(growth(options, "memory"))
    const sqlite = yield* Effect.scoped(growth(options, "SQLite"))
    return [costs, memory, sqlite]
  })

// ---------------------------------------------------------------------------------------------------------------------
// against a bare server
// ---------------------------------------------------------------------------------------------------------------------

const perRequest = (options: Options) =>
  Effect.gen(function* () {
    const servers = [
      { name: "bare `node:http` with JSON", goal: undefined, server: yield* bare },
      { name: "embedded server in memory", goal: 3, server: yield* embedded("memory") },
      { name: "embedded server on SQLite, durable", goal: 4, server: yield* embedded("SQLite") }
    ]
    const ready = yield* Effect.forEach(servers, ({ goal, name, server }) =>
      Effect.gen(function* () {
        const plain = yield* connect(server)
        const measure = load(server, plain, options)
        yield* Rounds.warmUp(measure)
        return { name, goal, measure }
      })
    )
    const measured = yield* Rounds.run(ready, options.rounds)
    return {
      benchmark: "server",
      title: "A request to the embedded server",
      unit: "request",
      rows: Report.rows(measured)
    } satisfies Section
  })

// ---------------------------------------------------------------------------------------------------------------------
// growth
// ---------------------------------------------------------------------------------------------------------------------

/** Measures one server at each number of past reservations. The ratios are to the first. */
const growth = (options: Options, kind: "memory" | "SQLite") =>
  Effect.gen(function* () {
    const server = yield* embedded(kind)
    const warm = yield* connect(server)
    yield* lifecycles(warm, options.count, options)
    // An empty ledger, in the process that has been warmed up.
    const again = { ...server, ...(yield* server.child.ask(Child.Address, { _tag: "start" })) }
    const plain = yield* connect(again)
    const measured: Array<Report.Measured> = []
    let past = 0
    for (const level of options.past) {
      yield* lifecycles(plain, Math.max(0, level - past), options)
      const samples: Array<Sample> = []
      for (let round = 0; round < options.rounds; round += 1) samples.push(yield* load(again, plain, options))
      measured.push({ name: `${level.toLocaleString("en")} past reservations`, samples })
      past = Math.max(past, level) + options.rounds * options.count
    }
    return {
      benchmark: "server",
      title: `A request to the embedded server (${kind}) as its ledger grows`,
      unit: "request",
      rows: Report.rows(measured)
    } satisfies Section
  })

// ---------------------------------------------------------------------------------------------------------------------
// servers and load
// ---------------------------------------------------------------------------------------------------------------------

interface Server extends Child.Address {
  readonly child: Child.Child
}

const started = (child: Child.Child): Effect.Effect<Server> =>
  Effect.map(child.ask(Child.Address, { _tag: "start" }), (address) => ({ ...address, child }))

const bare = Effect.flatMap(Child.start(new URL("./internal/bare.ts", import.meta.url)), started)

const embedded = (kind: "memory" | "SQLite") =>
  Effect.gen(function* () {
    const module = new URL("./internal/embedded.ts", import.meta.url)
    if (kind === "memory") return yield* Effect.flatMap(Child.start(module), started)
    return yield* Effect.flatMap(Child.start(module, yield* Folder.make), started)
  })

const connect = (address: Child.Address) =>
  Effect.acquireRelease(
    Effect.sync(() => Plain.make(address)),
    (plain) => Effect.promise(plain.close)
  )

const lifecycles = (plain: Plain.Plain, count: number, { concurrency }: Extent): Effect.Effect<void> =>
  Effect.promise(() => plain.run(count, concurrency))

/** Runs one round. Returns the resources that the server's process used. */
const load = ({ child }: Server, plain: Plain.Plain, extent: Extent): Effect.Effect<Sample> =>
  Effect.gen(function* () {
    const before = yield* child.ask(Child.Usage, { _tag: "usage" })
    yield* lifecycles(plain, extent.count, extent)
    const after = yield* child.ask(Child.Usage, { _tag: "usage" })
    return { count: 2 * extent.count, used: Child.between(before, after) }
  })
