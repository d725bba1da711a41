import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesEmbedding from "../src/CyclesEmbedding.ts"
import * as S from "./support/script.ts"

let batches: Array<number> = []

const model = (inputTokens: number | undefined, fails?: AiError.AiErrorReason) =>
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    Effect.suspend(() => {
      batches = []
      return EmbeddingModel.make({
        embedMany: ({ inputs }) => {
          batches.push(inputs.length)
          return fails === undefined
            ? Effect.succeed({ results: inputs.map(() => [1, 2]), usage: { inputTokens } })
            : Effect.fail(S.failure(fails))
        }
      })
    })
  )

const guarded = (inner: ReturnType<typeof model>, allocated = 10_000) =>
  CyclesEmbedding.layer({ provider: "openai", model: "text-embedding-4" }).pipe(
    Layer.provide(inner),
    Layer.provideMerge(S.world([], { budgets: [{ unit: "TOKENS", allocated }] }))
  )

const embedMany = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embedMany(["one", "two"]))

describe("CyclesEmbedding", () => {
  it.effect("charges the provider's usage", () =>
    Effect.gen(function* () {
      const response = yield* embedMany
      expect(response.embeddings.map((one) => one.vector)).toEqual([
        [1, 2],
        [1, 2]
      ])
      expect(response.usage.inputTokens).toBe(9)
      expect(yield* S.books).toEqual({ spent: 9, reserved: 0 })
    }).pipe(Effect.provide(guarded(model(9))))
  )

  it.effect("charges a batch of single embeddings once", () =>
    Effect.gen(function* () {
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      yield* Effect.all([embed("one"), embed("two"), embed("three")], { concurrency: "unbounded" })
      expect(batches).toEqual([3])
      expect(yield* S.books).toEqual({ spent: 9, reserved: 0 })
    }).pipe(Effect.provide(guarded(model(9))))
  )

  it.effect("charges what was counted where the provider tells no usage", () =>
    Effect.gen(function* () {
      yield* embedMany
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(0)
    }).pipe(Effect.provide(guarded(model(undefined))))
  )

  it.effect("refuses before the provider is asked", () =>
    Effect.gen(function* () {
      expect(CyclesAiError.isDenied(yield* Effect.flip(embedMany))).toBe(true)
      expect(batches).toEqual([])
    }).pipe(Effect.provide(guarded(model(9), 1)))
  )

  it.effect("gives everything back when the provider fails", () =>
    Effect.gen(function* () {
      yield* Effect.flip(embedMany)
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(guarded(model(9, new AiError.RateLimitError({})))))
  )
})
