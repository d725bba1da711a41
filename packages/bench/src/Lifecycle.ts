/**
 * Measures the CPU time of a guarded call in the client's process, and its latency: reserve, an immediate body, and
 * commit.
 *
 * The baseline sends the same two requests with undici's `Pool.request` and `JSON.parse`. Each row runs in a separate
 * process, against a stub in another process. There are two stubs: a plain one, and one with the quirks of the
 * reference server.
 */
import * as Effect from "effect/Effect"
import { join } from "node:path"
import * as Child from "./internal/child.ts"
import * as Folder from "./internal/folder.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Goal, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/** The extent, and the numbers of concurrent lifecycles. */
export interface Options extends Extent {
  readonly concurrency: ReadonlyArray<number>
}

/** The rows: the displayed name, the argument of the process, and the goal. */
const candidates: ReadonlyArray<{ readonly name: string; readonly row: string; readonly goal?: Goal }> = [
  { name: "`Pool.request` and `JSON.parse`", row: "baseline" },
  { name: "`Cycles.withCycles`, no journal", row: "client", goal: { of: "ratio", most: 1.15 } },
  { name: "the same, `runPromise` for each call", row: "promise", goal: { of: "ratio", most: 1.3 } },
  { name: "with the durable SQLite journal", row: "journal", goal: { of: "ratio", most: 1.35 } },
  { name: "with journal, spans and metrics", row: "observed", goal: { of: "ratio", most: 1.5 } }
]

const stubs = [
  { name: "plain", title: "a plain stub" },
  { name: "like-server", title: "a stub like the reference server" }
] as const

/** Runs the benchmark. */
export const run = (options: Options): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.map(
    Effect.forEach(stubs, (stub) => Effect.scoped(onStub(options, stub))),
    (sections) => sections.flat()
  )

const onStub = ({ concurrency, count, rounds }: Options, stub: (typeof stubs)[number]) =>
  Effect.gen(function* () {
    const folder = yield* Folder.make
    const server = yield* Child.start(new URL("./internal/bare.ts", import.meta.url), stub.name)
    const { apiKey, url } = yield* server.ask(Child.Address, { _tag: "start" })
    const rows = yield* Effect.forEach(candidates, (candidate) =>
      Effect.gen(function* () {
        const module = new URL("./internal/load.ts", import.meta.url)
        const child = yield* Child.start(module, candidate.row, url, apiKey, join(folder, candidate.row))
        // Compile with enough concurrent calls, because single ones take long.
        yield* Rounds.warmUp(child.ask(Child.Usage, { count, concurrency: warmUpConcurrency }))
        return { ...candidate, child }
      })
    )
    return yield* Effect.forEach(concurrency, (atOnce) =>
      Effect.gen(function* () {
        const asked = { count: countOf(count, atOnce), concurrency: atOnce }
        const ready = rows.map(({ child, goal, name }) => ({
          name,
          goal,
          measure: Effect.map(child.ask(Child.Usage, asked), (used) => Report.sampleOf(asked.count, used))
        }))
        for (const { measure } of ready) yield* measure
        return {
          benchmark: "lifecycle",
          title: `Lifecycle on ${stub.title}, ${atOnce} at a time`,
          measure: "CPU µs a lifecycle",
          unit: "lifecycle",
          against: "ratio",
          rows: Report.rows(yield* Rounds.run(ready, rounds))
        } satisfies Section
      })
    )
  })

const warmUpConcurrency = 32

/** The lifecycles of a round. A few concurrent ones take long, because each waits for the network and the disk. */
const countOf = (count: number, atOnce: number): number => Math.max(1, atOnce < 8 ? Math.ceil(count / 4) : count)
