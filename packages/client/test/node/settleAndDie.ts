/**
 * Guards 50 bodies whose settlements continue in the background, and kills itself as soon as all have returned. Its
 * arguments: the base URL and the journal.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { journalAt } from "./records.ts"

const [baseUrl = "", apiKey = "", target = ""] = process.argv.slice(2)

const guarded = Cycles.withCycles(Effect.void, {
  action: { kind: "test", name: "background" },
  estimate: Amount.tokens(100),
  actual: Amount.tokens(42),
  settle: "background"
})

Effect.runPromise(
  Effect.forEach(Array.from({ length: 50 }), () => guarded, { concurrency: "unbounded", discard: true }).pipe(
    Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL"))),
    Effect.provide(
      NodeCycles.layer(
        { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
        {
          journal: journalAt(target)
        }
      )
    )
  )
).catch(console.error)
