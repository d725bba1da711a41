/**
 * Measures calls in a pool, 32 at a time, with the durability `journal` or `memory`, or with a reservation for each
 * call: `node packages/bench/src/bin/pooled.ts journal|memory|reserves`. Prints a line for each of five rounds. The
 * server runs in the same process.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as Pool from "effect-cycles/Pool"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const [, , row = "journal"] = process.argv

const folder = mkdtempSync(join(tmpdir(), "pooled-"))

const concurrency = 32

const estimate = Amount.tokens(1000)

const call = Effect.succeed({ tokens: 420 }).pipe(
  Cycles.withCycles({
    action: { kind: "tool.call", name: "search" },
    estimate,
    actual: (reply) => Amount.tokens(reply.tokens)
  })
)

/** The longest time that a call took, in milliseconds. */
let slowestMs = 0

const timed = Effect.suspend(() => {
  const startedAtMs = performance.now()
  return Effect.map(call, () => {
    slowestMs = Math.max(slowestMs, performance.now() - startedAtMs)
  })
})

const client = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(
  Layer.provide(JournalSqlite.layer({ filename: join(folder, `${row}.sqlite`) })),
  Layer.provide(CyclesServer.layerMemory({ budgets: [{ unit: "TOKENS", allocated: 1_000_000_000_000 }] }))
)

const runtime = ManagedRuntime.make(client)

/** Runs calls in concurrent fibers. Each fiber runs one call at a time. */
const calls = (count: number, concurrency: number) =>
  Effect.suspend(() => {
    let left = count
    const loop = Effect.whileLoop({
      while: () => left > 0,
      body: () => {
        left -= 1
        return timed
      },
      step: () => {}
    })
    return Effect.forEach(Array.from({ length: Math.min(count, concurrency) }), () => loop, {
      concurrency: "unbounded",
      discard: true
    })
  })

const durability = row === "memory" ? "memory" : "journal"

const pooled = (count: number, concurrency: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const pool = yield* Pool.make({
        action: { kind: "tool.pool", name: "tools" },
        size: Amount.tokens(100 * 1000),
        durability
      })
      yield* Pool.within(calls(count, concurrency), pool)
      return (yield* pool.status).blocks
    })
  )

const count = row === "reserves" ? 2_000 : 20_000

/** The rounds after the first one, which warms up. */
const rounds = 5

for (let round = 0; round <= rounds; round++) {
  slowestMs = 0
  const before = process.cpuUsage()
  const reserves = await runtime.runPromise(
    row === "reserves" ? Effect.as(calls(count, concurrency), count) : pooled(count, concurrency)
  )
  const { system, user } = process.cpuUsage(before)
  if (round === 0) continue
  console.log(
    `${row}: ${((system + user) / count).toFixed(1)} µs of CPU a call, ${(count / reserves).toFixed(0)} calls a reserve, ` +
      `the slowest call took ${slowestMs.toFixed(0)} ms`
  )
}
await runtime.dispose()
rmSync(folder, { recursive: true, force: true })
