/**
 * The core of the quickstart, for any runtime: it needs only a client and a budget of 10,000 tokens. It imports only packages,
 * so that it runs against the published files.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cycles from "effect-cycles/Cycles"
import * as Reservation from "effect-cycles/Reservation"
import * as Settlement from "effect-cycles/Settlement"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"

const action = { kind: "llm.completion", name: "openai:gpt-5" }

const tokens = (amount: number) => Amount.tokens(amount)

const callModel = (prompt: string) => Effect.succeed({ text: `You said: ${prompt}`, usage: { total: 42 } })

const remaining = Stream.runHead(Cycles.balances({ tenant: "acme" })).pipe(
  Effect.map((balance) => (balance._tag === "Some" ? balance.value.remaining.toString() : "no balance"))
)

/** Runs the steps of an agent, and returns a line for each of them. */
export const quickstart = Effect.gen(function* () {
  const lines: Array<string> = []
  let settled = ""
  const onSettled = (settlement: Settlement.Settlement) =>
    Effect.sync(() => {
      settled = Settlement.format(settlement)
    })

  const reply = yield* callModel("Hello").pipe(
    Cycles.withCycles({
      action,
      estimate: tokens(1_000),
      actual: (reply) => tokens(reply.usage.total),
      metrics: () => ({ tokensOutput: 42 }),
      onSettled
    })
  )
  lines.push(`guard: ${reply.text}, ${settled}, ${yield* remaining} left`)

  yield* callModel("What if?").pipe(Cycles.withCycles({ action, estimate: tokens(1_000), dryRun: true, onSettled }))
  lines.push(`dry run: ${settled}, ${yield* remaining} left`)

  const words = yield* Stream.make("Budgets", "that", "hold").pipe(
    Cycles.withCyclesStream({ action, estimate: tokens(500), usage: () => tokens(20), onSettled }),
    Stream.runCollect
  )
  lines.push(`stream: ${words.join(" ")}, ${settled}, ${yield* remaining} left`)

  yield* Effect.scoped(
    Effect.gen(function* () {
      const reservation = yield* Cycles.reserve({ action, estimate: tokens(50), ttl: "30 seconds" })
      yield* reservation.extend("30 seconds")
      settled = Settlement.format(yield* reservation.commit({ actual: tokens(10) }))
    })
  )
  lines.push(`by hand: extended, ${settled}, ${yield* remaining} left`)

  const denial = yield* callModel("Write a book").pipe(
    Cycles.withCycles({ action, estimate: tokens(1_000_000) }),
    Effect.map((reply) => reply.text),
    Effect.catchTag("BudgetExceeded", (error) => Effect.succeed(error.code ?? error.message))
  )
  lines.push(`denied: ${denial}, ${yield* remaining} left`)

  const search = { kind: "tool.search", name: "web.search" }
  const { decision } = yield* Cycles.decide({ action: search, estimate: tokens(1_000_000) })
  lines.push(`decide: ${decision}`)
  const { status } = yield* Cycles.event({ action: search, actual: tokens(5) })
  lines.push(`event: ${status}, ${yield* remaining} left`)

  const failure = yield* Reservation.record({ actual: tokens(7) }).pipe(
    Effect.andThen(Effect.fail("the model went away")),
    Cycles.withCycles({ action, estimate: tokens(100), onSettled }),
    Effect.catchIf(Predicate.isString, Effect.succeed)
  )
  lines.push(`failure: ${failure}, ${settled}, ${yield* remaining} left`)

  const { isComplete } = yield* Cycles.flush()
  lines.push(`flush: ${isComplete ? "complete" : "incomplete"}`)
  return lines
})
