/**
 * Measures the CPU time of a guarded call in the client's process: reserve, an immediate body, and commit.
 *
 * The baseline sends the same two requests with undici's `Pool.request` and `JSON.parse`. Each row runs in a separate process,
 * against a stub in another process. There are two stubs: a plain one, and one with the quirks of the reference server.
 */
import * as Effect from "effect/Effect"
import { join } from "node:path"
import * as Child from "./internal/child.ts"
import * as Folder from "./internal/folder.ts"
import * as Rounds from "./internal/rounds.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

/**
 * The rows: the displayed name, the argument of the process, and the goal: the maximum ratio to the baseline.
 */
const candidates = [
  { name: "`Pool.request` and `JSON.parse`", row: "baseline", goal: undefined },
  { name: "`Cycles.withCycles`, no journal", row: "client", goal: 1.2 },
  { name: "with the durable SQLite journal", row: "journal", goal: 1.5 },
  { name: "with journal, spans and metrics", row: "observed", goal: 1.7 }
] as const

const stubs = [
  { name: "plain", title: "Lifecycle on a plain stub" },
  { name: "like-server", title: "Lifecycle on a stub with the quirks of the reference server" }
] as const

/** Runs the benchmark. */
export const run = (extent: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.forEach(stubs, (stub) => Effect.scoped(section(extent, stub)))

const section = (extent: Extent, stub: (typeof stubs)[number]) =>
  Effect.gen(function* () {
    const { concurrency, count, rounds } = extent
    const folder = yield* Folder.make
    const server = yield* Child.start(new URL("./internal/bare.ts", import.meta.url), stub.name)
    const { apiKey, url } = yield* server.ask(Child.Address, { _tag: "start" })
    const ready = yield* Effect.forEach(candidates, ({ goal, name, row }) =>
      Effect.gen(function* () {
        const module = new URL("./internal/load.ts", import.meta.url)
        const child = yield* Child.start(module, row, url, apiKey, join(folder, row))
        const measure = Effect.map(child.ask(Child.Usage, { count, concurrency }), (used) => ({ count, used }))
        yield* Rounds.warmUp(measure)
        return { name, goal, measure }
      })
    )
    const measured = yield* Rounds.run(ready, rounds)
    return {
      benchmark: "lifecycle",
      title: stub.title,
      unit: "lifecycle",
      rows: Report.rows(measured)
    } satisfies Section
  })
