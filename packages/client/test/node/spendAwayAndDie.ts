/**
 * Runs a call while the server is away, and kills itself: `after` the guard has returned, or `during` the body, when
 * its spend is recorded. Its arguments: the base URL, the key, the journal, and the time.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Amount, Cycles, Reservation } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { journalAt } from "./records.ts"

const [baseUrl = "", apiKey = "", target = "", time = ""] = process.argv.slice(2)

const die = Effect.sync(() => process.kill(process.pid, "SIGKILL"))

const guarded = Cycles.withCycles(
  Effect.andThen(Reservation.record({ actual: Amount.tokens(42) }), time === "during" ? die : Effect.void),
  {
    action: { kind: "test", name: "away" },
    estimate: Amount.tokens(100),
    onUnreachable: "allow",
    onCrash: time === "during" ? "recorded" : "expire"
  }
)

Effect.runPromise(
  Effect.andThen(guarded, die).pipe(
    Effect.provide(
      NodeCycles.layer(
        { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
        { journal: journalAt(target) }
      )
    )
  )
).catch(console.error)
