/**
 * Every program, usage shape and outcome: known usage is charged, a refusal is free, and nothing stays reserved.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { suite, titleOf, withFake } from "../../test/support/outcomes.ts"
import type { Failures } from "../../test/support/outcomes.ts"
import type { ProviderError } from "../support.ts"
import { programs, settled } from "./harness.ts"

const providerError = (reason: ProviderError["reason"]) => ({ _tag: "ProviderError", reason })

const failures: Failures = {
  refused: [
    ["rate-limited", providerError("rate-limited")],
    ["no-quota", providerError("quota")],
    ["overloaded", providerError("overloaded")],
    ["too-long", providerError("context-length")],
    ["proxy", providerError("overloaded")]
  ],
  lost: providerError("lost"),
  denied: { _tag: "BudgetExceeded" }
}

for (const program of programs) {
  suite(program, failures, settled)

  describe(titleOf(program), () => {
    it.live(
      "slow closes the connection if it is cancelled before the response begins, and charges at least the input",
      () =>
        withFake((fake) =>
          Effect.gen(function* () {
            const fiber = yield* program
              .run({ url: fake.url, model: "slow", maxOutputTokens: 100 })
              .pipe(Stream.runDrain, Effect.forkChild)
            const request = yield* fake.arrived(1)
            yield* Fiber.interrupt(fiber)
            expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
            expect(yield* settled).toBeGreaterThanOrEqual(11)
          })
        )
    )
  })
}
