/**
 * The output limit of guarded models: reserved, given to the provider, lowered by caps, and checked after the call.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import * as AiTelemetry from "../src/AiTelemetry.ts"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as OutputLimit from "../src/OutputLimit.ts"
import * as Pricing from "../src/Pricing.ts"
import * as S from "./support/script.ts"

type Settings = Record<string, unknown>

interface Provider {
  /** The name in `Model.ProviderName`; none if it is null. */
  readonly name?: string | null
  /** The key of the settings that it reads; none if it is null. */
  readonly key?: string | null
  readonly reason?: "stop" | "length"
  readonly fails?: AiError.AiError
  /** The output tokens that it reports. */
  readonly output?: number
  /** Its response. */
  readonly parts?: []
}

const openAiKey = "@effect/ai-openai/OpenAiLanguageModel/Config"

/** A provider that copies the settings of each call as the provider packages do. */
const providerOf = ({ fails, key = openAiKey, name = "openai", output = 5, parts, reason }: Provider = {}) => {
  const requests: Array<Settings> = []
  const end = S.finish(12, output, reason)
  const read = Effect.contextWith((context: Context.Context<never>) =>
    Effect.suspend(() => {
      const config =
        key === null ? undefined : Context.getOrUndefined(context, Context.Service<Settings, Settings>(key))
      requests.push({ ...config })
      return fails === undefined ? Effect.void : Effect.fail(fails)
    })
  )
  const model = Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({
      generateText: () => Effect.as(read, parts ?? [S.text("Hi"), end]),
      streamText: () => Stream.unwrap(Effect.as(read, Stream.fromIterable(parts ?? [S.delta("Hi"), end])))
    })
  )
  const names =
    name === null
      ? Layer.empty
      : Layer.succeedContext(Context.make(Model.ProviderName, name).pipe(Context.add(Model.ModelName, "gpt-5")))
  return { requests, layer: Layer.merge(model, names) }
}

const guarded = (
  provider: ReturnType<typeof providerOf>,
  options?: CyclesModel.Options,
  caps?: CyclesServer.CapsOptions
) =>
  CyclesModel.layer(options).pipe(
    Layer.provide(provider.layer),
    Layer.provideMerge(S.world([], { budgets: [{ unit: "TOKENS", allocated: 100_000, ...(caps && { caps }) }] }))
  )

const ask = LanguageModel.generateText({ prompt: "Hello" })
const stream = Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))

const estimates = Effect.map(CyclesTest.requests("reserve"), (sent) =>
  sent.map(({ body }) => Number(JSON.parse(body).estimate.amount))
)

const methods = [
  ["generateText", ask],
  ["streamText", stream]
] as const

describe("output limit", () => {
  describe.each(methods)("of %s", (_, call) => {
    it.effect("is 4,096 by default, for the reservation and for the provider", () => {
      const provider = providerOf()
      return Effect.gen(function* () {
        yield* call
        expect(provider.requests).toEqual([{ max_output_tokens: 4_096 }])
        const [estimate = 0] = yield* estimates
        expect(estimate).toBeGreaterThan(4_096)
        expect(estimate).toBeLessThan(4_196)
      }).pipe(Effect.provide(guarded(provider)))
    })

    it.effect("is the smallest of the option, the setting in the context and the cap", () => {
      const provider = providerOf()
      return Effect.gen(function* () {
        const limits: Array<unknown> = []
        for (const setting of [undefined, 3_000, 1_500, 50]) {
          yield* setting === undefined
            ? call
            : Effect.provideService(call, S.OpenAiConfig, { max_output_tokens: setting, temperature: 0.2 })
          limits.push(provider.requests.at(-1)?.["max_output_tokens"])
        }
        expect(limits).toEqual([256, 256, 256, 50])
        const reserved = yield* estimates
        expect(reserved.map((tokens) => Math.round(tokens / 100) * 100)).toEqual([2_000, 2_000, 1_500, 100])
      }).pipe(Effect.provide(guarded(provider, { maxOutputTokens: 2_000 }, { max_tokens: 256 })))
    })

    it.effect("is given to a provider of another name by the option outputLimit", () => {
      const provider = providerOf({ name: "homemade", key: "my/Config" })
      return Effect.gen(function* () {
        yield* call
        expect(provider.requests).toEqual([{ options: { num_predict: 4_096 } }])
      }).pipe(
        Effect.provide(guarded(provider, { outputLimit: OutputLimit.setting("my/Config", "options", "num_predict") }))
      )
    })

    it.effect.each([
      ["an unknown name", "homemade"],
      ["no name", null],
      ["a name of Object.prototype", "constructor"]
    ] as const)("fails with UnsupportedLimit for a provider with %s, before anything is sent", ([, name]) => {
      const provider = providerOf({ name })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(call)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "UnsupportedLimit", reason: "unknownProvider" })
        expect(error.message).toContain("outputLimit")
        expect(provider.requests).toEqual([])
        expect(yield* estimates).toEqual([])
      }).pipe(Effect.provide(guarded(provider)))
    })

    it.effect("isn't set with OutputLimit.none", () => {
      const provider = providerOf({ name: "homemade", output: 9_000 })
      return Effect.gen(function* () {
        yield* call
        expect(provider.requests).toEqual([{}])
        expect(yield* S.books).toEqual({ spent: 9_012, reserved: 0 })
      }).pipe(Effect.provide(guarded(provider, { outputLimit: OutputLimit.none })))
    })

    it.effect("fails with UnsupportedLimit under a cap with OutputLimit.none, and releases the reservation", () => {
      const provider = providerOf()
      return Effect.gen(function* () {
        const error = yield* Effect.flip(call)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ reason: "notEnforced", limit: 256 })
        expect(provider.requests).toEqual([])
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(guarded(provider, { outputLimit: OutputLimit.none }, { max_tokens: 256 })))
    })

    it.effect("below the provider's minimum fails with UnsupportedLimit", () => {
      const provider = providerOf()
      return Effect.gen(function* () {
        const error = yield* Effect.flip(call)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ reason: "belowMinimum", limit: 8, minimum: 16 })
        expect(provider.requests).toEqual([])
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(guarded(provider, {}, { max_tokens: 8 })))
    })

    it.effect("that the provider doesn't read is reported, and further calls of the model fail", () => {
      const provider = providerOf({ key: null, output: 9_000 })
      const logs = S.logs()
      return Effect.gen(function* () {
        const { spans, tracer } = S.recorder()
        yield* Effect.withTracer(call, tracer)
        expect(spans.map((span) => span.attributes.get("cycles.output_limit"))).toContain("unconfirmed")
        expect(logs.warnings.filter((message) => message.includes("outputLimit")).length).toBe(1)
        expect(yield* S.books).toEqual({ spent: 9_012, reserved: 0 })
        const metric = Metric.withAttributes(AiTelemetry.unconfirmedLimitsTotal, { model: "openai:gpt-5" })
        expect((yield* Metric.value(metric)).count).toBe(1)

        const error = yield* Effect.flip(call)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "UnsupportedLimit", reason: "notRead" })
        expect(provider.requests.length).toBe(1)
        expect(yield* S.books).toEqual({ spent: 9_012, reserved: 0 })
      }).pipe(
        Effect.provide(logs.layer),
        Effect.provideService(Metric.MetricRegistry, new Map()),
        Effect.provide(guarded(provider))
      )
    })

    it.effect.each([
      ["RateLimitError", S.rateLimited],
      [
        "ToolResultEncodingError",
        new AiError.ToolResultEncodingError({ toolName: "A", toolResult: 1, description: "no" })
      ]
    ] as const)("isn't suspected after a call that failed before its response: %s", ([tag, reason]) => {
      const provider = providerOf({ key: null, fails: S.failure(reason) })
      return Effect.gen(function* () {
        yield* Effect.flip(call)
        const error = yield* Effect.flip(call)
        expect(error.reason._tag).toBe(tag)
        expect(provider.requests.length).toBe(2)
      }).pipe(Effect.provide(guarded(provider)))
    })

    it.effect.each([
      ["empty", {}],
      ["unusable", { fails: S.failure(new AiError.InvalidOutputError({ description: "not a response" })) }]
    ] as const)("that the provider doesn't read is detected by a response that is %s", ([, response]) => {
      const provider = providerOf({ key: null, parts: [], ...response })
      return Effect.gen(function* () {
        yield* Effect.exit(call)
        const error = yield* Effect.flip(call)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "UnsupportedLimit", reason: "notRead" })
        expect(provider.requests.length).toBe(1)
      }).pipe(Effect.provide(guarded(provider)))
    })

    it.effect.each([NaN, Infinity, -1])("ignores the limit %s of an OutputLimit", (limit) => {
      const provider = providerOf()
      return Effect.gen(function* () {
        yield* call
        expect(provider.requests).toEqual([{ max_output_tokens: 4_096 }])
      }).pipe(Effect.provide(guarded(provider, { outputLimit: { ...OutputLimit.openAi, get: () => limit } })))
    })

    it.effect("at its default logs a hint once if it cuts a response", () => {
      const provider = providerOf({ reason: "length" })
      const logs = S.logs()
      return Effect.gen(function* () {
        yield* call
        yield* call
        expect(logs.warnings.filter((message) => message.includes("maxOutputTokens")).length).toBe(1)
      }).pipe(Effect.provide([logs.layer, guarded(provider)]))
    })
  })

  it.effect.each([
    ["@effect/ai-openai/OpenAiLanguageModel/Config", "max_output_tokens"],
    ["@effect/ai-openai-compat/OpenAiLanguageModel/Config", "max_output_tokens"],
    ["@effect/ai-openrouter/OpenRouterLanguageModel/Config", "max_tokens"]
  ] as const)("reaches a provider named openai that reads %s", ([key, field]) => {
    const provider = providerOf({ key })
    return Effect.gen(function* () {
      yield* ask
      yield* ask
      expect(provider.requests).toEqual([{ [field]: 300 }, { [field]: 300 }])
    }).pipe(Effect.provide(guarded(provider, { maxOutputTokens: 300 })))
  })

  it.effect("adds the tokens for thinking to its default", () => {
    const key = "@effect/ai-anthropic/AnthropicLanguageModel/Config"
    const provider = providerOf({ name: "anthropic", key })
    return Effect.gen(function* () {
      yield* Effect.provideService(ask, Context.Service<Settings, Settings>(key), {
        thinking: { type: "enabled", budget_tokens: 10_000 }
      })
      expect(provider.requests).toEqual([{ max_tokens: 14_096, thinking: { type: "enabled", budget_tokens: 10_000 } }])
    }).pipe(Effect.provide(guarded(provider)))
  })

  it.effect("lowers the tokens for thinking with a cap", () => {
    const key = "@effect/ai-anthropic/AnthropicLanguageModel/Config"
    const provider = providerOf({ name: "anthropic", key })
    return Effect.gen(function* () {
      yield* Effect.provideService(ask, Context.Service<Settings, Settings>(key), {
        thinking: { type: "enabled", budget_tokens: 10_000 }
      })
      expect(provider.requests).toEqual([{ max_tokens: 2_000, thinking: { type: "enabled", budget_tokens: 1_999 } }])
    }).pipe(Effect.provide(guarded(provider, {}, { max_tokens: 2_000 })))
  })

  it.effect("is in the context of each chunk of a stream", () => {
    const limits: Array<unknown> = []
    const model = Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({
        generateText: () => Effect.die("not used"),
        streamText: () =>
          Stream.rechunk(Stream.fromIterable([S.delta("Hi"), S.delta(" you"), S.finish(2, 5)]), 1).pipe(
            Stream.mapEffect((part) =>
              Effect.contextWith((context: Context.Context<never>) =>
                Effect.sync(() => {
                  limits.push({ ...Context.getOrUndefined(context, S.OpenAiConfig) })
                  return part
                })
              )
            )
          )
      })
    )
    return Effect.gen(function* () {
      yield* Effect.provideService(stream, S.OpenAiConfig, { temperature: 0.2 })
      expect(limits).toEqual(Array.from({ length: 3 }, () => ({ temperature: 0.2, max_output_tokens: 4_096 })))
    }).pipe(
      Effect.provide(
        CyclesModel.layer({ provider: "openai", model: "gpt-5" }).pipe(
          Layer.provide(model),
          Layer.provideMerge(S.world([], { budgets: [{ unit: "TOKENS", allocated: 100_000 }] }))
        )
      )
    )
  })

  it.effect("binds: providers that use all of their limit never exceed the budget (200 streams at a time)", () => {
    const limits: Array<number> = []
    const model = Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({
        generateText: () => Effect.die("not used"),
        streamText: () =>
          Stream.unwrap(
            Effect.contextWith((context: Context.Context<never>) =>
              Effect.sync(() => {
                const limit = Number({ ...Context.getOrUndefined(context, S.OpenAiConfig) }["max_output_tokens"])
                limits.push(limit)
                return Stream.fromIterable([S.delta("Hi"), S.finish(2, limit)])
              })
            )
          )
      })
    )
    return Effect.gen(function* () {
      const calls = Array.from({ length: 200 }, (_, i) =>
        Effect.exit(Effect.provideService(stream, S.OpenAiConfig, { max_output_tokens: 100 + ((i * 37) % 900) }))
      )
      yield* Effect.all(calls, { concurrency: "unbounded" })
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBe(limits.reduce((all, limit) => all + limit + 2, 0))
      expect(spent).toBeLessThanOrEqual(20_000)
      expect(limits.length).toBeGreaterThan(20)
      expect(limits.length).toBeLessThan(200)
    }).pipe(
      Effect.provide(
        CyclesModel.layer({ provider: "openai", model: "gpt-5", settle: "wait" }).pipe(
          Layer.provide(model),
          Layer.provideMerge(S.world([], { budgets: [{ unit: "TOKENS", allocated: 20_000 }] }))
        )
      )
    )
  })

  it.effect("withConfigOverride of the model names, estimates and prices the model that is called", () => {
    const provider = providerOf()
    const priced: Array<string> = []
    return Effect.gen(function* () {
      yield* Effect.provideService(ask, S.OpenAiConfig, { model: "gpt-5-mini" })
      const [row] = yield* (yield* CyclesServer.CyclesServer).reservations
      expect(row?.action).toMatchObject({ name: "openai:gpt-5-mini" })
      expect(new Set(priced)).toEqual(new Set(["gpt-5-mini"]))
      expect(provider.requests[0]).toMatchObject({ model: "gpt-5-mini" })
    }).pipe(
      Effect.provide(
        CyclesModel.layer({ units: "usd" }).pipe(
          Layer.provide(provider.layer),
          Layer.provide(
            Layer.succeed(
              Pricing.Pricing,
              Pricing.make((call) =>
                Effect.sync(() => {
                  priced.push(call.model)
                  return Pricing.fromDollars(0.001)
                })
              )
            )
          ),
          Layer.provideMerge(S.world([]))
        )
      )
    )
  })
})
