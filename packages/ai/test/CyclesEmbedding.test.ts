import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Model from "effect/ai/Model"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { Cycles } from "effect-cycles"
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

const guarded = (
  inner: ReturnType<typeof model>,
  allocated = 10_000,
  caps?: CyclesServer.CapsOptions,
  options?: CyclesEmbedding.Options
) =>
  CyclesEmbedding.layer({ provider: "openai", model: "text-embedding-4", ...options }).pipe(
    Layer.provide(inner),
    Layer.provideMerge(S.world([], { budgets: [{ unit: "TOKENS", allocated, ...(caps && { caps }) }] }))
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

  it.effect("charges the counted tokens if the provider reports no usage", () =>
    Effect.gen(function* () {
      yield* embedMany
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(0)
    }).pipe(Effect.provide(guarded(model(undefined))))
  )

  it.effect("fails with a denial before the provider is called", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(embedMany)
      expect(CyclesAiError.isDenied(error)).toBe(true)
      expect(error.message).toMatch(/^CyclesEmbedding\.embedMany: Budget denied/)
      expect(batches).toEqual([])
    }).pipe(Effect.provide(guarded(model(9), 1)))
  )

  it.effect("releases the estimate if the provider refuses the request", () =>
    Effect.gen(function* () {
      yield* Effect.flip(embedMany)
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(guarded(model(9, new AiError.RateLimitError({})))))
  )

  it.effect("charges each subject for its embeddings, even if they are requested at the same time", () =>
    Effect.gen(function* () {
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      const embedFor = (agent: string, text: string) => Cycles.withSubject(embed(text), { agent })
      yield* Effect.all([embedFor("a", "one"), embedFor("b", "two"), embedFor("a", "three")], {
        concurrency: "unbounded"
      })
      expect(batches.toSorted()).toEqual([1, 2])
      const rows = yield* (yield* CyclesServer.CyclesServer).reservations
      expect(rows.map(({ subject }) => subject.agent).toSorted()).toEqual(["a", "b"])
    }).pipe(Effect.provide(guarded(model(9))))
  )

  it.effect("waits for the cooldown of the budget before a request", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(embedMany, { startImmediately: true })
      yield* TestClock.adjust("1999 millis")
      expect(batches).toEqual([])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      expect(batches).toEqual([2])
    }).pipe(Effect.provide(guarded(model(9), 10_000, { cooldown_ms: 2_000 })))
  )

  it.effect("isn't called if the lease is lost during the cooldown, with the heartbeat policy cancel", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
      const fiber = yield* Effect.forkChild(Effect.flip(embedMany), { startImmediately: true })
      yield* TestClock.adjust("20 minutes")
      expect(CyclesAiError.causeOf(yield* Fiber.join(fiber))?._tag).toBe("LeaseLost")
      expect(batches).toEqual([])
      expect((yield* S.books).reserved).toBe(0)
    }).pipe(Effect.provide(guarded(model(9), 10_000, { cooldown_ms: 600_000 }, { heartbeat: "cancel" })))
  )

  it.effect("charges the estimate of a request whose response was lost", () =>
    Effect.gen(function* () {
      yield* Effect.flip(embedMany)
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(0)
    }).pipe(
      Effect.provide(
        guarded(
          model(9, new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://127.0.0.1" }))
        )
      )
    )
  )

  it.effect("guarding a guarded model logs a warning", () => {
    const logs = S.logs()
    return Effect.gen(function* () {
      yield* CyclesEmbedding.make(yield* EmbeddingModel.EmbeddingModel)
      expect(logs.messages).toEqual([
        "CyclesEmbedding guards a model that is guarded already: every request is charged twice"
      ])
    }).pipe(Effect.provide(Layer.merge(guarded(model(9)), logs.layer)))
  })

  it.effect("keeps the names of the provider and of the model in the context", () => {
    const names = Layer.succeedContext(
      Context.make(Model.ProviderName, "openai").pipe(Context.add(Model.ModelName, "text-embedding-4"))
    )
    const layer = CyclesEmbedding.layer().pipe(
      Layer.provide(Layer.merge(model(9), names)),
      Layer.provideMerge(S.world([]))
    )
    return Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      expect(Context.getOrUndefined(context, Model.ProviderName)).toBe("openai")
      expect(Context.getOrUndefined(context, Model.ModelName)).toBe("text-embedding-4")
    }).pipe(Effect.provide(layer))
  })
})
