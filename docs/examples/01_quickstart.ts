/**
 * The main features in one program.
 *
 * It starts the embedded server on a free port, makes a tenant, a key and a budget by the calls of an administrator,
 * and then makes the calls of an agent. With `CYCLES_BASE_URL`, `CYCLES_ADMIN_URL` and `CYCLES_ADMIN_API_KEY` set it
 * does the same against that server.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Amount, Cycles, Reservation, Settlement } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { check, say, section, withServer } from "./support/stage.ts"

const tokens = (amount: bigint) => Amount.tokens(amount)

/** The remaining budget of the tenant. */
const remaining = Stream.runHead(Cycles.balances()).pipe(
  Effect.map((balance) => (balance._tag === "Some" ? balance.value.remaining.amount : 0n))
)

/** Stands for a model: returns a text and its usage. */
const callModel = (prompt: string) => Effect.succeed({ text: `You said: ${prompt}`, usage: { total: 42n } })

const guarded = section(
  "1. A guarded model call: reserve, run, commit",
  Effect.gen(function* () {
    const settled = yield* Deferred.make<Settlement.Settlement>()
    const reply = yield* callModel("Hello").pipe(
      Cycles.withCycles({
        action: { kind: "llm.completion", name: "openai:gpt-5" },
        estimate: tokens(1_000n),
        actual: (reply) => tokens(reply.usage.total),
        onSettled: (settlement) => Deferred.succeed(settled, settlement)
      })
    )
    const settlement = yield* Deferred.await(settled)
    yield* say(`${reply.text} -> ${Settlement.format(settlement)}`)
    yield* check("42 tokens were charged", settlement._tag === "Committed" && settlement.charged.amount === 42n)
  })
)

const balances = section(
  "2. Balances",
  Effect.gen(function* () {
    yield* Stream.runForEach(Cycles.balances(), (balance) =>
      say(`${balance.scopePath}: ${balance.remaining} left, ${balance.spent ?? "nothing"} spent`)
    )
    yield* check("9,958 tokens are left", (yield* remaining) === 9_958n)
  })
)

const dryRun = section(
  "3. A dry run changes no balance",
  Effect.gen(function* () {
    const before = yield* remaining
    yield* callModel("What if?").pipe(
      Cycles.withCycles({
        action: { kind: "llm.completion", name: "openai:gpt-5" },
        estimate: tokens(1_000n),
        dryRun: true,
        onSettled: (settlement) => say(Settlement.format(settlement))
      })
    )
    yield* check("nothing was held or charged", (yield* remaining) === before)
  })
)

const byHand = section(
  "4. A reservation by hand, with caps and a stream",
  Effect.scoped(
    Effect.gen(function* () {
      const reservation = yield* Cycles.reserve({
        action: { kind: "llm.completion", name: "openai:gpt-5" },
        subject: { agent: "writer" },
        estimate: tokens(500n)
      })
      yield* say(
        reservation.caps === undefined
          ? "this server gives no caps here"
          : `caps: at most ${reservation.caps.maxTokens} tokens; shell ${reservation.isToolAllowed("shell") ? "allowed" : "denied"}`
      )
      const words = yield* Stream.make("Budgets", "that", "hold").pipe(
        Stream.tap(() => reservation.add(tokens(20n))),
        Stream.runCollect
      )
      const settlement = yield* reservation.commit({ actual: tokens(60n), metrics: { tokensOutput: 60 } })
      yield* say(`${words.join(" ")} -> ${Settlement.format(settlement)}`)
      yield* check("60 tokens were charged", settlement._tag === "Committed" && settlement.charged.amount === 60n)
    })
  )
)

const denied = section(
  "5. A denial, and a way around it",
  Effect.gen(function* () {
    const reply = yield* callModel("Write a book").pipe(
      Cycles.withCycles({ action: { kind: "llm.completion", name: "openai:gpt-5" }, estimate: tokens(1_000_000n) }),
      Effect.map((reply) => reply.text),
      Effect.catchTag("BudgetExceeded", (error) => Effect.as(say(error.message), "a shorter book, by a cheaper model"))
    )
    yield* say(reply)
    yield* check("the body never ran", reply.startsWith("a shorter"))
  })
)

const preflight = section(
  "6. Asking first, and charging directly",
  Effect.gen(function* () {
    const action = { kind: "tool.search", name: "web.search" }
    const { decision, reasonCode } = yield* Cycles.decide({ action, estimate: tokens(1_000_000n) })
    yield* say(`a million tokens: ${decision} ${reasonCode ?? ""}`)
    yield* check("it would be denied", decision === "DENY")
    const before = yield* remaining
    const { eventId } = yield* Cycles.event({ action, actual: tokens(5n) })
    yield* say(`event ${eventId}: 5 tokens charged that were never reserved`)
    yield* check("5 tokens are gone", (yield* remaining) === before - 5n)
  })
)

const recorded = section(
  "7. What a failing body had spent is charged",
  Effect.gen(function* () {
    const before = yield* remaining
    const exit = yield* Reservation.record({ actual: tokens(7n) }).pipe(
      Effect.andThen(Effect.fail("the model went away")),
      Cycles.withCycles({ action: { kind: "llm.completion", name: "openai:gpt-5" }, estimate: tokens(100n) }),
      Effect.exit
    )
    yield* say(`${exit._tag}: 7 tokens charged, 93 returned`)
    yield* check("7 tokens are gone", (yield* remaining) === before - 7n)
  })
)

const program = Effect.gen(function* () {
  yield* guarded
  yield* balances
  yield* dryRun
  yield* byHand
  yield* denied
  yield* preflight
  yield* recorded
})

withServer({ unit: "TOKENS", allocated: 10_000 }, (connection) =>
  program.pipe(
    Cycles.withSubject({ tenant: connection.tenant }),
    Effect.provide(
      NodeCycles.layer({ baseUrl: connection.baseUrl, apiKey: connection.apiKey }, { journal: connection.journal })
    )
  )
)
