/**
 * A place to try a test. Copy it, or change it: git ignores the other files of this folder.
 *
 *     pnpm test --project scratchpad
 */
import { CyclesTest } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Amount, Cycles } from "effect-cycles"

const Live = CyclesTest.layer({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

it.effect("charges what a call used", () =>
  Effect.gen(function* () {
    const text = yield* Effect.succeed("hello").pipe(
      Cycles.withCycles({
        action: { kind: "llm.completion", name: "openai:gpt-5" },
        estimate: Amount.tokens(100),
        actual: (text) => Amount.tokens(text.length)
      })
    )
    expect(text).toBe("hello")
    yield* CyclesTest.expectCommitted(Amount.tokens(5))
    yield* CyclesTest.expectNothingReserved()
  }).pipe(Effect.provide(Live))
)
