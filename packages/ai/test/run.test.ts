/** Guarded models, tools and embeddings within a run, although their Layer was built outside it. */
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Amount, Cycles, Run } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as S from "./support/script.ts"
import { ask, model } from "./support/toolkit.ts"

const response: S.Turn = { parts: [S.text("Hello"), S.finish(20, 10)] }

const spentBy = (run: Run.Run, unit: Amount.Unit) =>
  Effect.gen(function* () {
    const spent = yield* run.spent(unit)
    const held = yield* run.held(unit)
    return { spent: Number(spent.amount), held: Number(held.amount) }
  })

/** The denial in the error of a model. */
const denialOf = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(self), CyclesAiError.denialOf)

describe("Run", () => {
  it.effect("limits a guarded model, for whole texts and for streams", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ name: "job", budget: Amount.tokens(1_000) })
      yield* Run.within(LanguageModel.generateText({ prompt: "Hello" }), run)
      expect(yield* spentBy(run, "TOKENS")).toEqual({ spent: 30, held: 0 })
      yield* Run.within(Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" })), run)
      expect(yield* spentBy(run, "TOKENS")).toEqual({ spent: 60, held: 0 })

      const empty = yield* Run.make({ name: "empty", budget: Amount.tokens(10) })
      const denial = { _tag: "BudgetExceeded", code: "RUN_BUDGET_EXCEEDED", run: { id: empty.id, name: "empty" } }
      const asked = (yield* S.Script).asked.length
      const text = LanguageModel.generateText({ prompt: "Hello" })
      const stream = Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))
      expect(yield* denialOf(Run.within(text, empty))).toMatchObject(denial)
      expect(yield* denialOf(Run.within(stream, empty))).toMatchObject(denial)
      const error = yield* Effect.flip(Run.within(text, empty))
      expect(error.message).toMatch(
        /^CyclesModel\.generateText: Budget denied: reserve \d+ TOKENS for llm\.completion openai:gpt-5 on run:empty \(RUN_BUDGET_EXCEEDED, 10 TOKENS left\)$/
      )
      expect((yield* S.Script).asked).toHaveLength(asked)
      expect(yield* CyclesTest.requests("reserve")).toHaveLength(2)
    }).pipe(Effect.scoped, Effect.provide(S.guarded([response, response], { maxOutputTokens: 100 })))
  )

  it.effect("denies a model guarded in tokens within a budget of dollars", () =>
    Effect.gen(function* () {
      const text = LanguageModel.generateText({ prompt: "Hello" })
      const denial = yield* denialOf(Cycles.withBudget(text, Amount.usd("1.00")))
      expect(denial).toMatchObject({ code: "RUN_UNCOVERED" })
      yield* Cycles.withBudget(text, Amount.usd("1.00"), { uncovered: "allow" })
    }).pipe(Effect.provide(S.guarded([response])))
  )

  it.effect("limits a guarded tool, whose handler was provided outside", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ name: "job", budget: Amount.riskPoints(25) })
      const sent = () => Effect.succeed({ sent: 2 })
      const first = yield* Run.within(ask(sent), run)
      expect(first.toolResults[0]?.result).toEqual({ sent: 2 })
      expect(yield* spentBy(run, "RISK_POINTS")).toEqual({ spent: 20, held: 0 })
      yield* Effect.map(S.Script, ({ turns }) =>
        turns.push({ parts: [S.toolCall("Send", { to: ["a"] }), S.finish(20, 10, "tool-calls")] })
      )
      const second = yield* Run.within(ask(sent), run)
      expect(second.toolResults[0]?.result).toMatchObject({
        type: "execution-denied",
        reason: expect.stringContaining("RUN_BUDGET_EXCEEDED): it needs 10 RISK_POINTS, and 5 RISK_POINTS remain")
      })
      expect(yield* run.summary).toMatchObject({ calls: 1, denials: 1 })
    }).pipe(Effect.scoped, Effect.provide(model("Send", { to: ["a", "b"] })))
  )

  it.effect("charges each run for its embeddings, even if they are requested at the same time", () =>
    Effect.gen(function* () {
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      // The same id doesn't make them one run.
      const [first, second] = [
        yield* Run.make({ id: "job", budget: Amount.tokens(1_000) }),
        yield* Run.make({ id: "job", budget: Amount.tokens(1_000) })
      ]
      yield* Effect.all(
        [Run.within(embed("one"), first), Run.within(embed("two"), second), Run.within(embed("three"), first)],
        {
          concurrency: "unbounded"
        }
      )
      expect(yield* spentBy(first, "TOKENS")).toEqual({ spent: 14, held: 0 })
      expect(yield* spentBy(second, "TOKENS")).toEqual({ spent: 7, held: 0 })
    }).pipe(Effect.scoped, Effect.provide(S.embeddings.pipe(Layer.provideMerge(S.world([])))))
  )
})
