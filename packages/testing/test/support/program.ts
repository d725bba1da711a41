/**
 * The program that the tests run: one guarded call, and how it ends while time passes.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles } from "effect-cycles"
import { CyclesTest } from "@effect-cycles/testing"

/** The action of the tests. */
export const action = { kind: "llm.completion", name: "openai:gpt-5" }

/** A server with 1,000 tokens for the tenant. */
export const TestLayer = CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

/** A call that may cost 100 tokens and costs 42. */
export const call = Cycles.withCycles(Effect.succeed("Hello"), {
  action,
  estimate: Amount.tokens(100),
  actual: Amount.tokens(42)
})

/** Runs an effect while 30 minutes pass. */
export const outcome = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("30 minutes")
    return yield* Fiber.await(fiber)
  })
