/** A program tested on the embedded server: a lost response, a denial and a late response. It needs no test runner. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Amount, Cycles } from "effect-cycles"
import { check, say, section } from "./support/stage.ts"

/** The program under test: a model call that may cost 100 tokens and costs 42. */
const ask = Effect.succeed({ text: "Hello", tokens: 42 }).pipe(
  Cycles.withCycles({
    action: { kind: "llm.completion", name: "openai:gpt-5" },
    estimate: Amount.tokens(100),
    actual: (reply) => Amount.tokens(reply.tokens)
  }),
  Effect.map((reply) => reply.text),
  Cycles.orElseDenied(() => Effect.succeed("Not today."))
)

/** Runs the program while a minute of virtual time passes. */
const run = Effect.gen(function* () {
  const fiber = yield* Effect.forkChild(ask)
  yield* TestClock.adjust("1 minute")
  return yield* Fiber.join(fiber)
})

const TestLayer = CyclesTest.layer({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 150 }] })

const lost = section(
  "1. The response to the commit is lost",
  Effect.gen(function* () {
    yield* CyclesTest.inject("commit", Fault.responseLost)
    yield* check("the program doesn't notice", (yield* run) === "Hello")
    yield* check("the commit was sent twice", (yield* CyclesTest.requests("commit")).length === 2)
    yield* CyclesTest.expectCommitted(Amount.tokens(42))
    yield* CyclesTest.expectNothingReserved()
    yield* say("42 tokens are charged once, and nothing is reserved")
  }).pipe(Effect.provide(TestLayer))
)

const denied = section(
  "2. The call is denied",
  Effect.gen(function* () {
    yield* CyclesTest.inject("reserve", Fault.denied)
    yield* check("the program falls back", (yield* run) === "Not today.")
    yield* CyclesTest.expectCommitted(Amount.tokens(0))
    yield* say("nothing is charged")
  }).pipe(Effect.provide(TestLayer))
)

const late = section(
  "3. The response to the reserve is late",
  Effect.gen(function* () {
    yield* CyclesTest.inject("reserve", Fault.late("5 seconds"))
    yield* check("the program waits for it", (yield* run) === "Hello")
    yield* CyclesTest.expectCommitted(Amount.tokens(42))
    yield* CyclesTest.expectNothingReserved()
  }).pipe(Effect.provide(TestLayer))
)

const mismatch = section(
  "4. An expectation that doesn't hold shows the ledger",
  Effect.gen(function* () {
    yield* run
    const error = yield* Effect.flip(CyclesTest.expectCommitted(Amount.tokens(43)))
    yield* say(error.message.replaceAll("\n", "\n   "))
  }).pipe(Effect.provide(TestLayer))
)

NodeRuntime.runMain(
  Effect.gen(function* () {
    yield* lost
    yield* denied
    yield* late
    yield* mismatch
    console.log("\nDone.")
  }).pipe(Effect.provide(TestClock.layer()))
)
