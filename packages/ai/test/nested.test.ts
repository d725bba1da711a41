/** Guarded models and tools inside other guards. */
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Amount, Cycles } from "effect-cycles"
import * as S from "./support/script.ts"
import * as T from "./support/toolkit.ts"

/** A model that uses 70 tokens. */
const response: S.Turn = { parts: [S.text("Hello"), S.finish(40, 30)] }

/** An outer guard that knows the total of everything inside. */
const outer = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Cycles.withCycles(self, {
    action: { kind: "agent.run", name: "outer" },
    estimate: Amount.tokens(1_000),
    actual: Amount.tokens(70)
  })

const text = LanguageModel.generateText({ prompt: "Hello" })

const stream = Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))

const points = Effect.map(CyclesTest.requests("commit"), (sent) =>
  sent.map(({ body }) => Number(/"amount":(\d+)/.exec(body)?.[1]))
)

describe("nested guards", () => {
  it.effect.each([
    ["a text", text],
    ["a stream", stream]
  ] as const)("charge 140 for a guarded model inside withCycles that is independent, %s", ([, ask]) =>
    Effect.gen(function* () {
      yield* outer(ask)
      expect(yield* S.books).toEqual({ spent: 140, reserved: 0 })
    }).pipe(Effect.provide(S.guarded([response], { maxOutputTokens: 100 })))
  )

  it.effect.each([
    ["a text", text],
    ["a stream", stream]
  ] as const)("charge 70 for a guarded model inside withCycles that joins, %s", ([, ask]) =>
    Effect.gen(function* () {
      yield* outer(ask)
      expect(yield* S.books).toEqual({ spent: 70, reserved: 0 })
      expect(yield* CyclesTest.requests("reserve")).toHaveLength(1)
    }).pipe(Effect.provide(S.guarded([response], { maxOutputTokens: 100, nested: "join" })))
  )

  it.effect("commit the amount that a joined guard drew from a tool, and not the estimate of the tool", () =>
    Effect.gen(function* () {
      const inner = Cycles.withCycles(Effect.succeed({ sent: 1 }), {
        action: { kind: "search", name: "web" },
        estimate: Amount.riskPoints(100),
        actual: Amount.riskPoints(70),
        nested: "join"
      })
      const guarded = (given: Parameters<typeof T.guard>[0]) =>
        T.guard(given, () => Effect.orDie(Effect.provide(inner, context)))
      const context = yield* Effect.context<Cycles.Cycles>()
      const budget = { estimate: Amount.riskPoints(500) }
      yield* T.call(yield* guarded(budget), "Send", { to: ["a"] })
      yield* T.call(yield* guarded({ ...budget, actual: Amount.riskPoints(90) }), "Send", { to: ["a"] })
      yield* T.call(yield* guarded({ ...budget, actual: Amount.riskPoints(10) }), "Send", { to: ["a"] })
      expect(yield* points).toEqual([70, 90, 70])
      expect(yield* CyclesTest.requests("reserve")).toHaveLength(3)
    }).pipe(Effect.provide(S.world([], { budgets: [{ unit: "RISK_POINTS", allocated: 10_000 }] })))
  )
})
