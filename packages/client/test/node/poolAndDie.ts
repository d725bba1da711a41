/**
 * Makes calls in a pool, 16 at a time, and kills itself after some of them have returned. Standard output has the cost
 * of each call, `began` before its body ends and `returned` after its guard has returned. Its arguments: the base URL,
 * the key, the journal, the durability, and the number of calls.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Amount, Cycles, Pool } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { writeSync } from "node:fs"
import { journalAt } from "./records.ts"

const [baseUrl = "", apiKey = "", target = "", durability = "", count = ""] = process.argv.slice(2)

const print = (line: string) => Effect.sync(() => void writeSync(1, `${line}\n`))

let returned = 0

const call = (i: number) =>
  Effect.gen(function* () {
    const cost = 1 + (i % 7)
    yield* Effect.andThen(Effect.sleep(i % 3), print(`began ${cost}`)).pipe(
      Cycles.withCycles({
        action: { kind: "test", name: `tool ${i % 3}` },
        estimate: Amount.tokens(10),
        actual: Amount.tokens(cost)
      })
    )
    yield* print(`returned ${cost}`)
    returned += 1
    if (returned === Number(count)) process.kill(process.pid, "SIGKILL")
  })

const program = Effect.gen(function* () {
  const pool = yield* Cycles.pool({
    action: { kind: "test", name: "pool" },
    size: Amount.tokens(300),
    durability: durability === "memory" ? "memory" : "journal"
  })
  yield* Effect.forEach(
    Array.from({ length: 10_000 }, (_, i) => i),
    call,
    { concurrency: 16, discard: true }
  ).pipe(Pool.within(pool))
}).pipe(Effect.scoped)

Effect.runPromise(
  Effect.provide(
    program,
    NodeCycles.layer(
      { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
      { journal: journalAt(target) }
    )
  )
).catch(console.error)
