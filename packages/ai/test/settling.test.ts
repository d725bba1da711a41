/**
 * The charges of guarded models if the provider fails, if the call is interrupted, and if code around the call throws.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Telemetry from "effect/ai/Telemetry"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Settlement } from "effect-cycles"
import * as AiTelemetry from "../src/AiTelemetry.ts"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as Estimator from "../src/Estimator.ts"
import * as OutputLimit from "../src/OutputLimit.ts"
import * as Pricing from "../src/Pricing.ts"
import * as S from "./support/script.ts"

const ask = LanguageModel.generateText({ prompt: "Hello" })
const stream = Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))
const object = LanguageModel.generateObject({ prompt: "Hello", schema: Schema.Struct({ a: Schema.String }) })
const methods = [
  ["generateText", ask],
  ["streamText", stream],
  ["generateObject", object]
] as const

const network = (fields: { readonly description?: string; readonly cause?: unknown }) =>
  new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://127.0.0.1", ...fields })

const http = (status: number) => ({ response: { status, headers: {} }, body: "<html>Bad gateway</html>" })

/** The estimated input of the prompt is far below this, the estimate with its output limit far above. */
const inputAtMost = 100

describe.each(methods)("a failed call of %s", (_, call) => {
  it.effect.each([
    ["RateLimitError", new AiError.RateLimitError({ http: http(429) })],
    ["InternalProviderError", new AiError.InternalProviderError({ description: "overloaded", http: http(503) })],
    ["UnknownError", new AiError.UnknownError({ description: "teapot", http: http(418) })],
    ["ContentPolicyError", new AiError.ContentPolicyError({ description: "no", http: http(400) })],
    ["InvalidResponseError", new AiError.InvalidResponseError({ description: "not JSON", http: http(502) })]
  ] as const)("costs nothing after a status of 400 or more: %s", ([, reason]) =>
    Effect.gen(function* () {
      yield* Effect.flip(call)
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(reason) }], { onFailure: "estimate" })))
  )

  it.effect.each([
    ["in its cause", { cause: new Error("failed", { cause: { code: "ECONNREFUSED" } }) }],
    ["in its description", { description: "connect ECONNREFUSED 127.0.0.1:443" }],
    ["of the name, in an error of HttpClient", { cause: { reason: { cause: { code: "ENOTFOUND" } } } }],
    ["of an untrusted certificate", { cause: { cause: { code: "DEPTH_ZERO_SELF_SIGNED_CERT" } } }],
    ["of Bun", { cause: { code: "ConnectionRefused" } }],
    ["of connecting to an unreachable host", { cause: { code: "EHOSTUNREACH", syscall: "connect" } }]
  ] as const)("costs nothing if no connection was made: the code is %s", ([, fields]) =>
    Effect.gen(function* () {
      yield* Effect.flip(call)
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(network(fields)) }])))
  )

  it.effect.each([
    ["a lost connection", network({ description: "socket hang up" })],
    ["an open connection to a host that became unreachable", network({ cause: { code: "EHOSTUNREACH" } })],
    [
      "an unreadable cause",
      network({
        cause: {
          get code() {
            throw new Error("unreadable")
          }
        }
      })
    ],
    ["an error without a status", new AiError.InternalProviderError({ description: "overloaded" })],
    ["a success with an error in it", new AiError.UnknownError({ description: "oops", http: http(200) })]
  ] as const)("is charged its estimated input after %s", ([, reason]) =>
    Effect.gen(function* () {
      yield* Effect.flip(call)
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(0)
      expect(spent).toBeLessThan(inputAtMost)
      expect(yield* S.commits).toMatchObject([{ metadata: { actual_source: "estimate" } }])
    }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(reason) }])))
  )

  it.effect("is charged its estimate after a lost connection with onFailure: estimate", () =>
    Effect.gen(function* () {
      yield* Effect.flip(call)
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(4_096)
    }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(network({})) }], { onFailure: "estimate" })))
  )

  it.effect("costs nothing after a lost connection with onFailure: release", () =>
    Effect.gen(function* () {
      yield* Effect.flip(call)
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(network({})) }], { onFailure: "release" })))
  )

  it.effect("is charged its estimated input after a timeout", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.timeout(call, "30 seconds"), { startImmediately: true })
      yield* TestClock.adjust("31 seconds")
      yield* Effect.flip(Fiber.join(fiber))
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(0)
      expect(spent).toBeLessThan(inputAtMost)
    }).pipe(Effect.provide(S.guarded([{ parts: [], hangs: true }])))
  )

  it.effect("costs nothing if it is interrupted before the provider is called", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      expect((yield* S.Script).asked).toEqual([])
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
    }).pipe(
      Effect.provide(
        S.guarded(
          [],
          { onFailure: "estimate" },
          {
            budgets: [{ unit: "TOKENS", allocated: 10_000, caps: { cooldown_ms: 5_000 } }]
          }
        )
      )
    )
  )
})

it.effect.each(["warn", "cancel"] as const)(
  "a stream that is interrupted before the provider is called costs nothing (%s)",
  (heartbeat) =>
    Effect.gen(function* () {
      const outcomes = new Set<boolean>()
      for (let steps = 0; steps < 40; steps++) {
        const { asked, spent } = yield* Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(stream)
          for (let step = 0; step < steps; step++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          expect((yield* S.books).reserved).toBe(0)
          return { asked: (yield* S.Script).asked.length, spent: (yield* S.books).spent }
        }).pipe(Effect.provide(S.guarded([{ parts: [], hangs: true }], { heartbeat })))
        expect(spent > 0).toBe(asked > 0)
        outcomes.add(asked > 0)
      }
      expect(outcomes.size).toBe(2)
    })
)

describe("a response", () => {
  const response = [S.text('{"a":"b"}'), S.delta("Hi"), S.finish(12, 5)]

  it.effect.each([
    ["0 and 0", S.usage(0, 0)],
    ["missing", S.usage(undefined, undefined)],
    ["negative", S.usage(-12, -5)]
  ] as const)("whose usage is %s is charged its counted tokens", ([, usage]) =>
    Effect.gen(function* () {
      const { text } = yield* ask
      expect(text).toBe("x".repeat(80))
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThan(5)
      expect(spent).toBeLessThan(300)
      expect(yield* S.commits).toMatchObject([{ metadata: { actual_source: "estimate" } }])
    }).pipe(Effect.provide(S.guarded([{ parts: [S.text("x".repeat(80)), { ...S.finish(1, 1), usage }] }])))
  )

  it.effect.each(methods)("of %s is returned although the estimator, the prices and the metrics throw", ([, call]) => {
    const estimator: Estimator.Estimator = {
      ...Estimator.make(),
      output: () => {
        throw new Error("no output")
      },
      learn: () => {
        throw new Error("no lessons")
      }
    }
    let prices = 0
    const pricing = Pricing.make(() => {
      if (prices++ === 0) return Effect.succeed(Pricing.fromDollars(0.01))
      throw new Error("no price")
    })
    return Effect.gen(function* () {
      yield* call
      const server = yield* CyclesServer.CyclesServer
      const { reserved, spent } = yield* server.books("USD_MICROCENTS")
      expect([reserved, spent]).toEqual([0n, Pricing.fromDollars(0.01).amount])
    }).pipe(
      Effect.provideService(
        Metric.MetricRegistry,
        new (class extends Map<string, never> {
          override get(): never {
            throw new Error("no metrics")
          }
        })()
      ),
      Effect.provide(
        CyclesModel.layer({ units: "usd" }).pipe(
          Layer.provide(S.bare),
          Layer.provide(Layer.succeed(Estimator.Estimator, estimator)),
          Layer.provide(Layer.succeed(Pricing.Pricing, pricing)),
          Layer.provideMerge(S.world([{ parts: response }]))
        )
      )
    )
  })

  it.effect("that exceeds the budget is charged the remaining budget, and the rest is a shortfall", () => {
    const settlements: Array<Settlement.Settlement> = []
    const logs = S.logs()
    return Effect.gen(function* () {
      yield* ask
      expect(yield* S.books).toEqual({ spent: 5_000, reserved: 0 })
      expect(settlements).toMatchObject([{ _tag: "Committed", shortfall: { amount: 45_010n } }])
      const metric = Metric.withAttributes(AiTelemetry.shortfallTotal, { model: "openai:gpt-5", unit: "TOKENS" })
      expect((yield* Metric.value(metric)).count).toBe(45_010)
      expect(logs.messages.some((message) => message.includes("45010 TOKENS"))).toBe(true)
    }).pipe(
      Effect.provide(logs.layer),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.provide(
        S.guarded(
          [{ parts: [S.text("Hi"), S.finish(10, 50_000)] }],
          {
            maxOutputTokens: 1_000,
            onSettled: (settlement) => Effect.sync(() => settlements.push(settlement))
          },
          { budgets: [{ unit: "TOKENS", allocated: 5_000 }] }
        )
      )
    )
  })

  it.effect("is counted in the metrics of its model", () =>
    Effect.gen(function* () {
      yield* ask
      const labels = { model: "openai:gpt-5", unit: "TOKENS" }
      const value = (metric: Metric.Counter<number>, attributes: Record<string, string>) =>
        Effect.map(Metric.value(Metric.withAttributes(metric, attributes)), ({ count }) => count)
      expect(yield* value(AiTelemetry.tokensTotal, { model: "openai:gpt-5", kind: "input" })).toBe(12)
      expect(yield* value(AiTelemetry.tokensTotal, { model: "openai:gpt-5", kind: "output" })).toBe(5)
      expect(yield* value(AiTelemetry.chargedTotal, labels)).toBe(17)
      const ratio = yield* Metric.value(Metric.withAttributes(AiTelemetry.estimateRatio, labels))
      expect(ratio.count).toBe(1)
      expect(ratio.max).toBeLessThan(0.01)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(S.guarded([{ parts: response }])))
  )

  it.effect("is measured without the cooldown and the reserve", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(ask, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      expect(yield* S.commits).toMatchObject([{ metrics: { latency_ms: 0 } }])
    }).pipe(
      Effect.provide(
        S.guarded([{ parts: response }], undefined, {
          budgets: [{ unit: "TOKENS", allocated: 10_000, caps: { cooldown_ms: 2_000 } }]
        })
      )
    )
  )
})

describe("a guarded model behaves as the inner model:", () => {
  const Search = Tool.make("Search", { parameters: Schema.Struct({ q: Schema.String }), success: Schema.String })
  const toolkit = Toolkit.make(Search)
  const handlers = toolkit.toLayer({ Search: () => Effect.succeed("found") })
  const turn: S.Turn = {
    parts: [S.text('{"a":"b"}'), S.delta("Hi"), S.toolCall("Search", { q: "x" }), S.finish(12, 5, "tool-calls")]
  }
  const calls = [
    ["generateText", LanguageModel.generateText({ prompt: "Hello", toolkit })],
    ["streamText", Stream.runDrain(LanguageModel.streamText({ prompt: "Hello", toolkit }))],
    [
      "generateObject",
      LanguageModel.generateObject({ prompt: "Hello", toolkit, schema: Schema.Struct({ a: Schema.String }) })
    ]
  ] as const

  for (const [method, call] of calls) {
    const seenBy =
      (
        provide: (
          call: Effect.Effect<unknown, unknown, LanguageModel.LanguageModel>
        ) => Effect.Effect<unknown, unknown, S.World>
      ) =>
      (transformer: Telemetry.SpanTransformer) =>
        provide(Effect.provide(call, handlers)).pipe(
          Effect.provideService(Telemetry.CurrentSpanTransformer, transformer),
          Effect.provide(S.world([turn]))
        )
    it.effect.each([
      ["the call", (call) => Effect.provideServiceEffect(call, LanguageModel.LanguageModel, guardedModel)],
      ["the call and the layers", (call) => Effect.provide(call, CyclesModel.layer().pipe(Layer.provide(S.bare)))]
    ] satisfies ReadonlyArray<readonly [string, Parameters<typeof seenBy>[0]]>)(
      `${method} runs a span transformer once, in the context of %s`,
      ([, provide]) =>
        Effect.gen(function* () {
          const kinds: Array<ReadonlyArray<string>> = []
          const transformer: Telemetry.SpanTransformer = ({ response }) => {
            kinds.push(response.map((part) => part.type))
          }
          yield* seenBy((call) => Effect.provide(call, S.bare))(transformer)
          yield* seenBy(provide)(transformer)
          expect(kinds.length).toBe(2)
          expect(kinds[1]).toEqual(kinds[0])
        })
    )
  }

  const guardedModel = Effect.gen(function* () {
    const inner = yield* Effect.provide(LanguageModel.LanguageModel, S.bare)
    return yield* CyclesModel.make(inner, { provider: "openai", model: "gpt-5" })
  })

  it.effect("the names of the provider and of the model stay in the context", () =>
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      expect(Context.getOrUndefined(context, Model.ProviderName)).toBe("openai")
      expect(Context.getOrUndefined(context, Model.ModelName)).toBe("gpt-5")
    }).pipe(Effect.provide(S.guarded([])))
  )
})

describe("errors", () => {
  it.effect("of a denial have the message of the budget", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(ask)
      expect(error.message).toContain("BUDGET_EXCEEDED")
      expect(error.message).toContain("tenant:acme")
      expect(error.message).not.toContain("billing")
    }).pipe(Effect.provide(S.guarded([], undefined, { budgets: [{ unit: "TOKENS", allocated: 58 }] })))
  )

  it.effect("of an outage of Cycles name Cycles instead of the provider", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", Fault.connectionRefused)
      const fiber = yield* Effect.forkChild(Effect.flip(ask), { startImmediately: true })
      yield* TestClock.adjust("2 minutes")
      const error = yield* Fiber.join(fiber)
      expect(error.reason._tag).toBe("InternalProviderError")
      expect(error.message).toContain("reserve")
      expect(error.message).not.toContain("provider")
      expect(CyclesAiError.causeOf(error)?._tag).toBe("TransportError")
    }).pipe(Effect.provide(S.guarded([])))
  )
})

describe("options", () => {
  it.effect("dryRun calls the model and charges nothing", () => {
    const settlements: Array<string> = []
    return Effect.gen(function* () {
      expect((yield* ask).text).toBe("Hi")
      expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      expect(settlements).toEqual(["Unreserved"])
    }).pipe(
      Effect.provide(
        S.guarded([{ parts: [S.text("Hi"), S.finish(12, 5)] }], {
          dryRun: true,
          onSettled: ({ _tag }) => Effect.sync(() => settlements.push(_tag))
        })
      )
    )
  })

  it.effect("guarding a guarded model logs a warning", () => {
    const logs = S.logs()
    return Effect.gen(function* () {
      const inner = yield* Effect.provide(LanguageModel.LanguageModel, S.bare)
      const once = yield* CyclesModel.make(inner)
      expect(logs.messages).toEqual([])
      yield* CyclesModel.make(once)
      expect(logs.messages).toEqual(["CyclesModel guards a model that is guarded already: every call is charged twice"])
    }).pipe(Effect.provide([logs.layer, S.world([])]))
  })

  describe.each(methods)("heartbeat for %s", (_, call) => {
    it.effect("cancel interrupts the provider's call if the lease is lost, and fails with LeaseLost", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const fiber = yield* Effect.forkChild(Effect.flip(call), { startImmediately: true })
        yield* TestClock.adjust("2 minutes")
        const error = yield* Fiber.join(fiber)
        expect(AiError.isAiError(error) && CyclesAiError.causeOf(error)?._tag).toBe("LeaseLost")
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(S.guarded([{ parts: [], hangs: true }], { heartbeat: "cancel" })))
    )

    it.effect("cancel ends the cooldown if the lease is lost, and the provider isn't called", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const fiber = yield* Effect.forkChild(Effect.flip(call), { startImmediately: true })
        yield* TestClock.adjust("20 minutes")
        const error = yield* Fiber.join(fiber)
        expect(AiError.isAiError(error) && CyclesAiError.causeOf(error)?._tag).toBe("LeaseLost")
        expect((yield* S.Script).asked).toEqual([])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(
        Effect.provide(
          S.guarded(
            [],
            { heartbeat: "cancel" },
            { budgets: [{ unit: "TOKENS", allocated: 10_000, caps: { cooldown_ms: 600_000 } }] }
          )
        )
      )
    )

    it.effect("warn lets the provider's call continue if the lease is lost", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
        yield* TestClock.adjust("2 minutes")
        expect(fiber.pollUnsafe()).toBeUndefined()
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(S.guarded([{ parts: [], hangs: true }])))
    )
  })

  it.effect("a response that arrives after an interrupt is charged its usage", () =>
    Effect.gen(function* () {
      const model = yield* LanguageModel.make({
        generateText: () =>
          Effect.as(Effect.uninterruptible(Effect.sleep("10 seconds")), [S.text("Hi"), S.finish(12, 5)]),
        streamText: () => Stream.empty
      })
      const guarded = yield* CyclesModel.make(model, { provider: "openai", outputLimit: OutputLimit.none })
      const fiber = yield* Effect.forkChild(guarded.generateText({ prompt: "Hello" }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(interrupting)
      expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
    }).pipe(Effect.provide(S.world([])))
  )

  it.effect("a call whose tools were removed by caps doesn't change later estimates", () => {
    let lessons = 0
    const estimator: Estimator.Estimator = { ...Estimator.make(), learn: () => lessons++ }
    const Shell = Tool.make("Shell", { success: Schema.String })
    const toolkit = Toolkit.make(Shell)
    return Effect.gen(function* () {
      const withTools = Effect.provide(
        LanguageModel.generateText({ prompt: "Hello", toolkit }),
        toolkit.toLayer({ Shell: () => Effect.succeed("done") })
      )
      yield* withTools
      expect(lessons).toBe(0)
      yield* ask
      expect(lessons).toBe(1)
    }).pipe(
      Effect.provide(
        CyclesModel.layer().pipe(
          Layer.provide([S.bare, Layer.succeed(Estimator.Estimator, estimator)]),
          Layer.provideMerge(
            S.world([{ parts: [S.text("Hi"), S.finish(12, 5)] }, { parts: [S.text("Hi"), S.finish(12, 5)] }], {
              budgets: [{ unit: "TOKENS", allocated: 10_000, caps: { tool_denylist: ["Shell"] } }]
            })
          )
        )
      )
    )
  })
})
