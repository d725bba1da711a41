/**
 * Kills itself while guards that draw on one reservation have spent 40 and recorded 30 more. Its arguments: the base
 * URL, the key, the journal, and the reservation: that of a `run`, or that of a `guard`.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Amount, Cycles, Reservation } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { journalAt } from "./records.ts"

const [baseUrl = "", apiKey = "", target = "", lender = ""] = process.argv.slice(2)

const inner = (body: Effect.Effect<void, never, Reservation.Reservation>) =>
  Cycles.withCycles(body, {
    action: { kind: "test", name: "inner" },
    estimate: Amount.tokens(100),
    nested: "join"
  })

const record = (amount: number) => Effect.orDie(Reservation.record({ actual: Amount.tokens(amount) }))

const job = Effect.andThen(
  inner(record(40)),
  inner(
    Effect.andThen(
      record(30),
      Effect.sync(() => process.kill(process.pid, "SIGKILL"))
    )
  )
)

const guarded =
  lender === "run"
    ? Cycles.withBudget(job, Amount.tokens(500), { hold: true })
    : Cycles.withCycles(job, {
        action: { kind: "test", name: "outer" },
        estimate: Amount.tokens(500),
        onCrash: "recorded"
      })

Effect.runPromise(
  guarded.pipe(
    Effect.provide(
      NodeCycles.layer(
        { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
        { journal: journalAt(target) }
      )
    )
  )
).catch(console.error)
