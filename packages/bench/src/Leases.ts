/**
 * Measures guarded calls that wait: their heap, the CPU time of their leases, and that of one extension.
 *
 * The processes run side by side for the same time, because an extension follows about 30 s after the one before.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Child from "./internal/child.ts"
import type { Sample, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/** The number of rounds, of leases, and the length of a round. */
export interface Options {
  readonly rounds: number
  readonly leases: number
  readonly seconds: number
}

const module = new URL("./internal/leases.ts", import.meta.url)

/** Runs the benchmark. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.gen(function* () {
    const heap = yield* heapOf(options)
    const [cpu, extension] = yield* Effect.scoped(idle(options))
    return [heap, cpu, extension]
  })

const Started = Schema.Struct({ heapBytes: Schema.Finite })

const heapOf = ({ leases, rounds }: Options) =>
  Effect.gen(function* () {
    const rows = [
      { name: "a fiber that waits", row: "fiber", samples: new Array<Sample>() },
      {
        name: "a guarded call that waits",
        row: "client",
        goal: { of: "value", most: 4 } as const,
        samples: new Array<Sample>()
      }
    ]
    for (let round = 0; round < rounds; round += 1) {
      for (const { row, samples } of rows) {
        const { heapBytes } = yield* Effect.scoped(
          Effect.flatMap(Child.start(module, row), (child) => child.ask(Started, { _tag: "start", leases, overMs: 0 }))
        )
        samples.push({ value: heapBytes / leases / 1_024 })
      }
    }
    return {
      benchmark: "leases",
      title: `Heap of ${leases.toLocaleString("en")} waiting calls`,
      measure: "KB a call",
      against: "more",
      rows: Report.rows(rows)
    } satisfies Section
  })

const Extensions = Schema.Struct({ extensions: Schema.Finite })

const idle = ({ leases, rounds, seconds }: Options) =>
  Effect.gen(function* () {
    /** A process, and a separate stub that counts its extensions. */
    const start = (name: string, row: string) =>
      Effect.gen(function* () {
        const stub = yield* Child.start(new URL("./internal/bare.ts", import.meta.url))
        const { apiKey, url } = yield* stub.ask(Child.Address, { _tag: "start" })
        const child = yield* Child.start(module, row, url, apiKey)
        yield* child.ask(Started, { _tag: "start", leases, overMs: seconds * 1_000 })
        const state = Effect.all({
          used: child.ask(Child.Usage, { _tag: "usage" }),
          sent: stub.ask(Extensions, { _tag: "extensions" })
        })
        return { name, state, shares: new Array<Sample>(), costs: new Array<Sample>() }
      })
    const [requests, canned, http] = yield* Effect.all(
      [
        start("`Pool.request` and `JSON.parse`, as many requests", "requests"),
        start("leases without HTTP", "client"),
        start("leases", "http")
      ],
      { concurrency: "unbounded" }
    )
    const all = [requests, canned, http]
    yield* Effect.sleep(`${Math.min(10, seconds)} seconds`)
    for (let round = 0; round < rounds; round += 1) {
      const before = yield* Effect.forEach(all, ({ state }) => state)
      yield* Effect.sleep(`${seconds} seconds`)
      for (const [i, { costs, shares, state }] of all.entries()) {
        const after = yield* state
        const earlier = before[i] ?? after
        const used = Child.between(earlier.used, after.used)
        shares.push({ value: used.cpuMicros / used.elapsedMs / 10, rssMegabytes: used.rssBytes / 1_048_576 })
        const count = after.sent.extensions - earlier.sent.extensions
        costs.push(Report.sampleOf(Math.max(1, count), used))
      }
    }
    const shares = Report.rows([
      { name: requests.name, samples: requests.shares },
      { name: canned.name, samples: canned.shares },
      { name: http.name, goal: { of: "value", most: 12 }, samples: http.shares }
    ])
    const costs = Report.rows([
      { name: "`Pool.request` and `JSON.parse`", samples: requests.costs },
      { name: "the heartbeat", goal: { of: "ratio", most: 1.5 }, samples: http.costs }
    ])
    const common = { benchmark: "leases", against: "ratio" } as const
    const title = `${leases.toLocaleString("en")} idle leases of 60 s`
    return [
      { ...common, title, measure: "% of a core", rows: shares },
      {
        ...common,
        title: "An extension of these leases",
        measure: "CPU µs an extension",
        unit: "extension",
        rows: costs
      }
    ] as const
  })
