import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Chat from "effect/ai/Chat"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as ResponseIdTracker from "effect/ai/ResponseIdTracker"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { CyclesError } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as Estimator from "../src/Estimator.ts"
import { billedOf } from "../src/internal/outcome.ts"
import * as Pricing from "../src/Pricing.ts"
import * as S from "./support/script.ts"

const Search = Tool.make("Search", {
  parameters: Schema.Struct({ query: Schema.String }),
  success: Schema.Struct({ hits: Schema.Int }),
  failure: Schema.String
})
const Mail = Tool.make("Mail", { parameters: Schema.Struct({ to: Schema.String }), success: Schema.String })
const toolkit = Toolkit.make(Search, Mail)

const ask = LanguageModel.generateText({ prompt: "Hello" })
const stream = LanguageModel.streamText({ prompt: "Hello" })
const commits = Effect.map(
  Effect.flatMap(CyclesServer.CyclesServer, (server) => server.reservations),
  (rows) =>
    rows.map(({ committed, status }) => ({
      committed: committed === undefined ? undefined : Number(committed),
      status
    }))
)

/** Handlers of the toolkit. */
const handlers = (search: Effect.Effect<{ readonly hits: number }, string>) =>
  toolkit.toLayer({ Search: () => search, Mail: () => Effect.succeed("sent") })

describe("CyclesModel", () => {
  describe("generateText", () => {
    it.effect("commits the reported usage and returns the rest of the estimate", () =>
      Effect.gen(function* () {
        const response = yield* ask
        expect(response.text).toBe("Hi")
        expect(response.usage.outputTokens.total).toBe(5)
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text("Hi"), S.finish(12, 5)] }])))
    )

    it.effect("names the action after the provider and the model", () =>
      Effect.gen(function* () {
        yield* ask
        const [row] = yield* (yield* CyclesServer.CyclesServer).reservations
        expect(row?.action).toMatchObject({ kind: "llm.completion", name: "openai:gpt-5" })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text("Hi"), S.finish(12, 5)] }])))
    )

    it.effect("commits once, before a tool runs, and a failing tool doesn't change the charge", () =>
      Effect.gen(function* () {
        const server = yield* CyclesServer.CyclesServer
        let spentWhenRun = -1
        const search = Effect.gen(function* () {
          spentWhenRun = Number((yield* server.books("TOKENS")).spent)
          return yield* Effect.fail("no network")
        })
        const error = yield* LanguageModel.generateText({ prompt: "Find it", toolkit }).pipe(
          Effect.provide(handlers(search)),
          Effect.flip
        )
        expect(error).toBe("no network")
        expect(spentWhenRun).toBe(30)
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }]))
      )
    )

    it.effect("passes decoded parameters to tools and their results to the program", () =>
      Effect.gen(function* () {
        const response = yield* LanguageModel.generateText({ prompt: "Find it", toolkit }).pipe(
          Effect.provide(handlers(Effect.succeed({ hits: 3 })))
        )
        expect(response.toolCalls.map((call) => call.params)).toEqual([{ query: "it" }])
        expect(response.toolResults.map((result) => result.result)).toEqual([{ hits: 3 }])
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }]))
      )
    )

    it.effect("commits the counted tokens as an estimate if the provider reports no usage", () =>
      Effect.gen(function* () {
        yield* ask
        const { reserved, spent } = yield* S.books
        expect(reserved).toBe(0)
        expect(spent).toBeGreaterThanOrEqual(1)
        expect(spent).toBeLessThan(100)
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text("x".repeat(40)), S.finish(undefined, undefined)] }])))
    )

    it.effect("learns from the reported usage and not from the counted one", () =>
      Effect.gen(function* () {
        const lessons: Array<ReadonlyArray<unknown>> = []
        const estimator: Estimator.Estimator = { ...Estimator.make(), learn: (...lesson) => void lessons.push(lesson) }
        const inner = yield* Effect.provide(LanguageModel.LanguageModel, S.bare)
        const model = yield* CyclesModel.make(inner, { provider: "openai", model: "gpt-5" }).pipe(
          Effect.provideService(Estimator.Estimator, estimator)
        )
        const askIt = model.generateText({ prompt: "Hello" })
        yield* askIt
        yield* askIt
        yield* askIt
        expect(lessons).toMatchObject([
          [{ model: "openai:gpt-5" }, { inputTokens: undefined, outputTokens: 5, output: "Hi" }],
          [{ model: "openai:gpt-5" }, { inputTokens: 12, outputTokens: 5, output: "Hi" }]
        ])
      }).pipe(
        Effect.provide(
          S.world([
            { parts: [S.text("Hi"), S.finish(undefined, 5)] },
            { parts: [S.text("Hi"), S.finish(12, 5)] },
            { parts: [S.text("Hi"), S.finish(undefined, undefined)] }
          ])
        )
      )
    )

    it.effect("charges the estimated input if the caller interrupts before a response", () =>
      Effect.gen(function* () {
        const script = yield* S.Script
        const fiber = yield* Effect.forkChild(ask, { startImmediately: true })
        yield* Effect.yieldNow.pipe(Effect.repeat({ until: () => script.asked.length === 1 }))
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
        const { reserved, spent } = yield* S.books
        expect(reserved).toBe(0)
        expect(spent).toBeGreaterThan(0)
        expect(spent).toBeLessThan(100)
        expect(yield* S.commits).toMatchObject([{ metadata: { actual_source: "estimate" } }])
      }).pipe(Effect.provide(S.guarded([{ parts: [], hangs: true }])))
    )

    it.effect("commits the model, its tokens, the latency and the finish reason as metrics", () =>
      Effect.gen(function* () {
        yield* ask
        expect(yield* S.commits).toMatchObject([
          {
            actual: { unit: "TOKENS", amount: 1_360 },
            metrics: {
              tokens_input: 1_060,
              tokens_output: 300,
              latency_ms: 0,
              model_version: "gpt-5-2026-01-31",
              custom: { cache_read_tokens: 1_024, cache_write_tokens: 0, reasoning_tokens: 256, finish_reason: "stop" }
            }
          }
        ])
      }).pipe(
        Effect.provide(
          S.guarded([
            {
              parts: [
                { type: "response-metadata", modelId: "gpt-5-2026-01-31" },
                S.text("Hi"),
                {
                  ...S.finish(0, 0),
                  usage: {
                    inputTokens: { uncached: 36, total: 1_060, cacheRead: 1_024, cacheWrite: 0 },
                    outputTokens: { total: 300, text: 44, reasoning: 256 }
                  }
                }
              ]
            }
          ])
        )
      )
    )

    it.effect("marks counted tokens as an estimate", () =>
      Effect.gen(function* () {
        yield* ask
        expect(yield* S.commits).toMatchObject([{ metadata: { actual_source: "estimate" } }])
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text("Hi"), S.finish(undefined, undefined)] }])))
    )

    it.effect("annotates the span of the call with its reservation, the decision and the charge", () =>
      Effect.gen(function* () {
        const { spans, tracer } = S.recorder()
        yield* ask.pipe(Effect.withTracer(tracer))
        const span = spans.find((span) => span.attributes.has("cycles.charged"))
        expect(span?.name).toBe("LanguageModel.generateText")
        expect(span?.attributes.get("cycles.charged")).toBe(17n)
        expect(span?.attributes.get("cycles.decision")).toBe("ALLOW")
        expect(span?.attributes.get("cycles.reservation_id")).toEqual(expect.any(String))
      }).pipe(
        Effect.provide(
          S.guarded([
            { parts: [{ type: "response-metadata", modelId: "gpt-5-2026-01-31" }, S.text("Hi"), S.finish(12, 5)] }
          ])
        )
      )
    )
  })

  describe("failures", () => {
    const reasons: { readonly [Tag in AiError.AiErrorReason["_tag"]]: AiError.AiErrorReason } = {
      RateLimitError: new AiError.RateLimitError({}),
      QuotaExhaustedError: new AiError.QuotaExhaustedError({}),
      AuthenticationError: new AiError.AuthenticationError({ kind: "InvalidKey" }),
      ContentPolicyError: new AiError.ContentPolicyError({ description: "no" }),
      InvalidRequestError: new AiError.InvalidRequestError({}),
      InternalProviderError: new AiError.InternalProviderError({ description: "500" }),
      NetworkError: new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://127.0.0.1" }),
      UnsupportedSchemaError: new AiError.UnsupportedSchemaError({ description: "no" }),
      InvalidUserInputError: new AiError.InvalidUserInputError({ description: "no" }),
      ToolConfigurationError: new AiError.ToolConfigurationError({ toolName: "X", description: "no" }),
      ToolkitRequiredError: new AiError.ToolkitRequiredError({ pendingApprovals: [] }),
      UnknownError: new AiError.UnknownError({}),
      InvalidResponseError: new AiError.InvalidResponseError({ description: "no" }),
      InvalidOutputError: new AiError.InvalidOutputError({ description: "no" }),
      StructuredOutputError: new AiError.StructuredOutputError({ description: "no", responseText: "{" }),
      ToolNotFoundError: new AiError.ToolNotFoundError({ toolName: "X", availableTools: [] }),
      ToolParameterValidationError: new AiError.ToolParameterValidationError({ toolName: "X", description: "no" }),
      InvalidToolResultError: new AiError.InvalidToolResultError({ toolName: "X", description: "no" }),
      ToolResultEncodingError: new AiError.ToolResultEncodingError({ toolName: "X", toolResult: 1, description: "no" })
    }

    for (const reason of Object.values(reasons)) {
      const billed = billedOf(S.failure(reason))
      const charged = {
        nothing: "releases the estimate",
        input: "charges the estimated input",
        response: "charges the estimate"
      }
      it.effect(`${charged[billed]} after ${reason._tag}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(ask)
          expect(error.reason._tag).toBe(reason._tag)
          const { reserved, spent } = yield* S.books
          expect(reserved).toBe(0)
          if (billed === "nothing") expect(spent).toBe(0)
          if (billed === "input") {
            expect(spent).toBeGreaterThan(0)
            expect(spent).toBeLessThan(100)
          }
          if (billed === "response") expect(spent).toBeGreaterThan(4_096)
        }).pipe(Effect.provide(S.guarded([{ parts: [], fails: S.failure(reason) }])))
      )
    }
  })

  describe("streamText", () => {
    const parts = [S.delta("One, "), S.delta("two, "), S.delta("three"), S.finish(12, 5)]

    it.effect("commits the reported usage", () =>
      Effect.gen(function* () {
        const seen = yield* Stream.runCollect(stream)
        expect(seen.map((part) => part.type)).toEqual(["text-delta", "text-delta", "text-delta", "finish"])
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts }])))
    )

    it.effect("commits the tokens so far if only a part is taken", () =>
      Effect.gen(function* () {
        yield* Stream.runDrain(Stream.take(stream, 2))
        const { reserved, spent } = yield* S.books
        expect(reserved).toBe(0)
        expect(spent).toBeGreaterThan(0)
        expect(spent).toBeLessThan(50)
      }).pipe(Effect.provide(S.guarded([{ parts }])))
    )

    it.effect("commits the tokens so far as an estimate if it is interrupted", () =>
      Effect.gen(function* () {
        const second = yield* Deferred.make<void>()
        let count = 0
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(stream, () => (++count === 2 ? Deferred.succeed(second, undefined) : Effect.void))
        )
        yield* Deferred.await(second)
        yield* Fiber.interrupt(fiber)
        const { reserved, spent } = yield* S.books
        expect(reserved).toBe(0)
        expect(spent).toBeGreaterThan(0)
        expect(spent).toBeLessThan(50)
      }).pipe(Effect.provide(S.guarded([{ parts: parts.slice(0, 2), hangs: true }])))
    )

    it.effect("commits the tokens so far if the provider fails in the middle", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Stream.runDrain(stream))
        expect(error.reason._tag).toBe("InternalProviderError")
        const { reserved, spent } = yield* S.books
        expect(reserved).toBe(0)
        expect(spent).toBeGreaterThan(0)
        expect(spent).toBeLessThan(50)
      }).pipe(
        Effect.provide(
          S.guarded([
            {
              parts: parts.slice(0, 2),
              fails: S.failure(new AiError.InternalProviderError({ description: "overloaded" }))
            }
          ])
        )
      )
    )

    it.effect("keeps the charge if the provider fails after it reported its usage", () =>
      Effect.gen(function* () {
        yield* Effect.flip(Stream.runDrain(stream))
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([{ parts, fails: S.failure(new AiError.InternalProviderError({ description: "late" })) }])
        )
      )
    )

    it.effect("charges the larger usage if it is reported twice", () =>
      Effect.gen(function* () {
        yield* Stream.runDrain(stream)
        expect(yield* S.books).toEqual({ spent: 40, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [...parts, S.finish(12, 28), S.finish(12, 3)] }])))
    )

    it.effect("waits for a usage that is reported late", () =>
      Effect.gen(function* () {
        yield* Stream.runDrain(stream)
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.delta("One"), S.finish(undefined, undefined), S.finish(12, 5)] }])))
    )

    it.effect("commits the usage if a tool fails", () =>
      Effect.gen(function* () {
        const error = yield* LanguageModel.streamText({ prompt: "Find it", toolkit }).pipe(
          Stream.runDrain,
          Effect.provide(handlers(Effect.fail("no network"))),
          Effect.flip
        )
        expect(error).toBe("no network")
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }]))
      )
    )

    it.effect("commits the usage while a slow tool still runs", () =>
      Effect.gen(function* () {
        const running = yield* Deferred.make<void>()
        const slow = Effect.andThen(Deferred.succeed(running, undefined), Effect.never)
        const fiber = yield* LanguageModel.streamText({ prompt: "Find it", toolkit }).pipe(
          Stream.runDrain,
          Effect.provide(handlers(slow)),
          Effect.forkChild
        )
        yield* Deferred.await(running)
        expect((yield* S.books).spent).toBe(30)
        yield* Fiber.interrupt(fiber)
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }]))
      )
    )

    it.effect("reserves once for each run, and not before", () =>
      Effect.gen(function* () {
        void stream
        expect(yield* commits).toEqual([])
        yield* Stream.runDrain(stream)
        yield* Stream.runDrain(stream)
        expect(yield* commits).toEqual([
          { committed: 17, status: "COMMITTED" },
          { committed: 17, status: "COMMITTED" }
        ])
      }).pipe(Effect.provide(S.guarded([{ parts }, { parts }])))
    )
  })

  describe("generateObject", () => {
    const Person = Schema.Struct({ name: Schema.String, born: Schema.FiniteFromString })
    const person = LanguageModel.generateObject({ prompt: "Who?", schema: Person })

    it.effect("returns the value and commits the usage", () =>
      Effect.gen(function* () {
        const response = yield* person
        expect(response.value).toEqual({ name: "Ada", born: 1815 })
        expect(response.text).toBe('{"name":"Ada","born":"1815"}')
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text('{"name":"Ada","born":"1815"}'), S.finish(12, 5)] }])))
    )

    it.effect("commits the usage of a response that doesn't match the schema", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(person)
        expect(error.reason).toMatchObject({ _tag: "StructuredOutputError", responseText: '{"name":1}' })
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text('{"name":1}'), S.finish(12, 5)] }])))
    )

    it.effect("commits before its tools run", () =>
      Effect.gen(function* () {
        const error = yield* LanguageModel.generateObject({ prompt: "Who?", schema: Person, toolkit }).pipe(
          Effect.provide(handlers(Effect.fail("no network"))),
          Effect.flip
        )
        expect(error).toBe("no network")
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([
            {
              parts: [
                S.text('{"name":"Ada","born":"1815"}'),
                S.toolCall("Search", { query: "Ada" }),
                S.finish(12, 5, "tool-calls")
              ]
            }
          ])
        )
      )
    )

    it.effect("returns the values of concurrent calls to their callers", () =>
      Effect.gen(function* () {
        const people = yield* Effect.all([person, person], { concurrency: "unbounded" })
        expect(people.map((response) => response.value.name).toSorted()).toEqual(["Ada", "Bob"])
      }).pipe(
        Effect.provide(
          S.guarded([
            { parts: [S.text('{"name":"Ada","born":"1815"}'), S.finish(12, 5)] },
            { parts: [S.text('{"name":"Bob","born":"1980"}'), S.finish(12, 5)] }
          ])
        )
      )
    )
  })

  describe("denial", () => {
    it.effect("fails with QuotaExhaustedError and the typed cause, and the model isn't called", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask)
        expect(error.reason._tag).toBe("QuotaExhaustedError")
        expect(error.isRetryable).toBe(false)
        expect(CyclesAiError.isDenied(error)).toBe(true)
        const cause = CyclesAiError.causeOf(error)
        expect(cause).toBeInstanceOf(CyclesError.BudgetExceeded)
        expect(cause).toMatchObject({ code: "BUDGET_EXCEEDED", scopes: ["tenant:acme"] })
        expect((yield* S.Script).asked).toEqual([])
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([], undefined, { budgets: [{ unit: "TOKENS", allocated: 10 }] })))
    )

    it.effect("fails a stream in the same way", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Stream.runDrain(stream))
        expect(CyclesAiError.isDenied(error)).toBe(true)
      }).pipe(Effect.provide(S.guarded([], undefined, { budgets: [{ unit: "TOKENS", allocated: 10 }] })))
    )

    it.effect("keeps its typed cause in JSON", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask)
        const codec = Schema.toCodecJson(AiError.AiError)
        const json = JSON.stringify(yield* Schema.encodeEffect(codec)(error))
        const read = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(json))
        expect(CyclesAiError.causeOf(read)).toMatchObject({ code: "BUDGET_EXCEEDED", requested: { unit: "TOKENS" } })
      }).pipe(Effect.provide(S.guarded([], undefined, { budgets: [{ unit: "TOKENS", allocated: 10 }] })))
    )

    it.effect("lets an ExecutionPlan continue with a cheaper model", () =>
      Effect.gen(function* () {
        const inner = yield* Effect.provide(LanguageModel.LanguageModel, S.bare)
        const model = (options: CyclesModel.Options) =>
          Layer.effect(LanguageModel.LanguageModel, CyclesModel.make(inner, { provider: "openai", ...options }))
        const plan = ExecutionPlan.make(
          {
            provide: model({ maxOutputTokens: 50_000 }),
            while: (error: AiError.AiError) => Effect.succeed(error.reason._tag !== "QuotaExhaustedError")
          },
          { provide: model({ maxOutputTokens: 500 }) }
        )
        const response = yield* Effect.withExecutionPlan(ask, plan)
        expect(response.text).toBe("Hi")
        expect((yield* S.Script).asked.length).toBe(1)
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(S.world([{ parts: [S.text("Hi"), S.finish(12, 5)] }])))
    )
  })

  describe("caps", () => {
    const capped = (caps: CyclesServer.CapsOptions, turns: ReadonlyArray<S.Turn>, options?: CyclesModel.Options) =>
      S.guarded(turns, options, { budgets: [{ unit: "TOKENS", allocated: 10_000, caps }] })
    const turn = { parts: [S.text("Hi"), S.finish(12, 5)] }

    it.effect("max_tokens lowers the default limit", () =>
      Effect.gen(function* () {
        yield* ask
        expect((yield* S.Script).asked[0]?.config).toEqual({ max_output_tokens: 256 })
      }).pipe(Effect.provide(capped({ max_tokens: 256 }, [turn])))
    )

    it.effect("max_tokens doesn't raise a limit that is lower", () =>
      Effect.gen(function* () {
        yield* Effect.provideService(ask, S.OpenAiConfig, { max_output_tokens: 100 })
        expect((yield* S.Script).asked[0]?.config).toEqual({ max_output_tokens: 100 })
      }).pipe(Effect.provide(capped({ max_tokens: 256 }, [turn])))
    )

    it.effect("max_tokens fails with UnsupportedLimit for a provider of an unknown name", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask)
        expect(CyclesAiError.causeOf(error)).toMatchObject({
          _tag: "UnsupportedLimit",
          reason: "unknownProvider"
        })
        expect((yield* S.Script).asked).toEqual([])
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(capped({ max_tokens: 256 }, [turn], { provider: "homemade" })))
    )

    it.effect("tool lists remove tools from the request, and a removed tool never runs", () =>
      Effect.gen(function* () {
        let ran = false
        const error = yield* LanguageModel.generateText({ prompt: "Find it", toolkit }).pipe(
          Effect.provide(handlers(Effect.sync(() => ((ran = true), { hits: 1 })))),
          Effect.flip
        )
        expect(error).toMatchObject({ reason: { _tag: "ToolNotFoundError", availableTools: ["Mail"] } })
        expect(ran).toBe(false)
        expect((yield* S.Script).asked[0]?.options.tools.map((tool) => tool.name)).toEqual(["Mail"])
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(
          capped({ tool_denylist: ["Search"] }, [
            { parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }
          ])
        )
      )
    )

    it.effect.each([
      ["are removed", "Find it", []],
      [
        "stay in a request whose prompt refers to tools",
        [
          { role: "user", content: "Find it" },
          { role: "assistant", content: [{ type: "tool-call", id: "1", name: "Search", params: {} }] },
          { role: "tool", content: [{ type: "tool-result", id: "1", name: "Search", isFailure: false, result: {} }] }
        ],
        ["Search", "Mail"]
      ]
    ] satisfies ReadonlyArray<readonly [string, Prompt.RawInput, ReadonlyArray<string>]>)(
      "tools of which the lists allow none %s, with the choice none",
      ([, prompt, names]) =>
        Effect.gen(function* () {
          yield* LanguageModel.generateText({ prompt, toolkit, toolChoice: "required" }).pipe(
            Effect.provide(handlers(Effect.succeed({ hits: 1 })))
          )
          const [asked] = (yield* S.Script).asked
          expect(asked?.options.tools.map((tool) => tool.name)).toEqual(names)
          expect(asked?.options.toolChoice).toBe("none")
        }).pipe(Effect.provide(capped({ tool_allowlist: ["Other"] }, [turn])))
    )

    it.effect("cooldown_ms waits before the call", () =>
      Effect.gen(function* () {
        const script = yield* S.Script
        const fiber = yield* Effect.forkChild(ask, { startImmediately: true })
        yield* TestClock.adjust(Duration.millis(1_999))
        expect(script.asked.length).toBe(0)
        yield* TestClock.adjust(Duration.millis(1))
        yield* Fiber.join(fiber)
        expect(script.asked.length).toBe(1)
      }).pipe(Effect.provide(capped({ cooldown_ms: 2_000 }, [turn])))
    )

    it.effect("max_steps_remaining 0 keeps the tools in the request with the choice none", () =>
      Effect.gen(function* () {
        yield* LanguageModel.generateText({ prompt: "Find it", toolkit, toolChoice: "required" }).pipe(
          Effect.provide(handlers(Effect.succeed({ hits: 1 })))
        )
        const [asked] = (yield* S.Script).asked
        expect(asked?.options.tools.map((tool) => tool.name)).toEqual(["Search", "Mail"])
        expect(asked?.options.toolChoice).toBe("none")
      }).pipe(Effect.provide(capped({ max_steps_remaining: 0 }, [turn])))
    )

    it.effect("are events of the call's span", () =>
      Effect.gen(function* () {
        const { spans, tracer } = S.recorder()
        yield* ask.pipe(Effect.withTracer(tracer))
        const events = spans.flatMap((span) => span.events.map(([name, , attributes]) => [name, attributes]))
        expect(events).toContainEqual(["cycles.cap", { cap: "max_tokens", limit: 256 }])
      }).pipe(Effect.provide(capped({ max_tokens: 256 }, [turn])))
    )
  })

  describe("units", () => {
    const prices = Pricing.layerStatic({ "openai:gpt-5": { input: "1.25", output: "10" } })
    const model = (turns: ReadonlyArray<S.Turn>, units: "usd" | "both", server?: CyclesServer.MemoryOptions) =>
      CyclesModel.layer({ units }).pipe(
        Layer.provide(S.bare),
        Layer.provide(prices),
        Layer.provideMerge(S.world(turns, server))
      )
    const spentUsd = Effect.map(
      Effect.flatMap(CyclesServer.CyclesServer, (server) => server.books("USD_MICROCENTS")),
      ({ reserved, spent }) => ({ spent: Number(spent), reserved: Number(reserved) })
    )

    it.effect("usd commits the price of the tokens, rounded up", () =>
      Effect.gen(function* () {
        yield* ask
        // 12 x 125 + 5 x 1,000 microcents
        expect(yield* spentUsd).toEqual({ spent: 6_500, reserved: 0 })
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(model([{ parts: [S.text("Hi"), S.finish(12, 5)] }], "usd")))
    )

    it.effect("usd commits the cost that the provider reports instead of the price in the table", () =>
      Effect.gen(function* () {
        yield* ask
        expect(yield* spentUsd).toEqual({ spent: 123_457, reserved: 0 })
      }).pipe(
        Effect.provide(
          model(
            [
              {
                parts: [
                  S.text("Hi"),
                  { ...S.finish(12, 5), metadata: { openrouter: { usage: { cost: 0.001234561 } } } }
                ]
              }
            ],
            "usd"
          )
        )
      )
    )

    it.effect("both commit to each budget", () =>
      Effect.gen(function* () {
        yield* ask
        expect(yield* spentUsd).toEqual({ spent: 6_500, reserved: 0 })
        expect(yield* S.books).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(model([{ parts: [S.text("Hi"), S.finish(12, 5)] }], "both")))
    )

    it.effect("both charge nothing if the second budget denies the call, also with onFailure: estimate", () =>
      Effect.gen(function* () {
        yield* Effect.flip(ask)
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(
        Effect.provide(
          CyclesModel.layer({ units: "both", onFailure: "estimate" }).pipe(
            Layer.provide([S.bare, prices]),
            Layer.provideMerge(
              S.world([], {
                budgets: [
                  { unit: "TOKENS", allocated: 10_000 },
                  { unit: "USD_MICROCENTS", allocated: 10 }
                ]
              })
            )
          )
        )
      )
    )

    it.effect("both reserve nothing if one budget denies the call", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask)
        expect(CyclesAiError.isDenied(error)).toBe(true)
        expect((yield* S.Script).asked).toEqual([])
        expect(yield* S.books).toEqual({ spent: 0, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(
        Effect.provide(
          model([], "both", {
            budgets: [
              { unit: "TOKENS", allocated: 10_000 },
              { unit: "USD_MICROCENTS", allocated: 10 }
            ]
          })
        )
      )
    )

    it.effect("fail with UnknownModel before the model is called if it has no price", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask)
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "UnknownModel", provider: "openai", model: "gpt-5" })
        expect((yield* S.Script).asked).toEqual([])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(
        Effect.provide(
          CyclesModel.layer({ units: "usd" }).pipe(
            Layer.provide(S.bare),
            Layer.provide(Pricing.layerStatic({ "claude-9": { input: 1, output: 2 } })),
            Layer.provideMerge(S.world([]))
          )
        )
      )
    )
  })

  describe("features of effect/ai", () => {
    it.effect("a chat keeps its history and each turn is charged", () =>
      Effect.gen(function* () {
        const chat = yield* Chat.empty
        yield* chat.generateText({ prompt: "One" })
        const response = yield* chat.generateText({ prompt: "Two" })
        expect(response.text).toBe("2")
        expect((yield* S.Script).asked[1]?.options.prompt.content.map((message) => message.role)).toEqual([
          "user",
          "assistant",
          "user"
        ])
        expect(yield* S.books).toEqual({ spent: 40, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([{ parts: [S.text("1"), S.finish(10, 5)] }, { parts: [S.text("2"), S.finish(20, 5)] }])
        )
      )
    )

    it.effect("a tool that needs approval waits for it", () =>
      Effect.gen(function* () {
        let ran = 0
        const Wipe = Tool.make("Wipe", { success: Schema.String, needsApproval: true })
        const risky = Toolkit.make(Wipe)
        const layer = risky.toLayer({ Wipe: () => Effect.sync(() => (ran++, "wiped")) })
        const chat = yield* Chat.empty
        const first = yield* Effect.provide(chat.generateText({ prompt: "Wipe it", toolkit: risky }), layer)
        const request = first.content.find((part) => part.type === "tool-approval-request")
        expect(ran).toBe(0)
        const second = yield* Effect.provide(
          chat.generateText({
            prompt: [
              {
                role: "tool",
                content: [{ type: "tool-approval-response", approvalId: request?.approvalId ?? "", approved: true }]
              }
            ],
            toolkit: risky
          }),
          layer
        )
        expect(ran).toBe(1)
        expect(second.text).toBe("Done")
        expect(yield* S.books).toEqual({ spent: 45, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([
            { parts: [S.toolCall("Wipe", {}), S.finish(20, 10, "tool-calls")] },
            { parts: [S.text("Done"), S.finish(10, 5)] }
          ])
        )
      )
    )

    it.effect("an incremental prompt that is refused is repeated once, with the whole prompt", () =>
      Effect.gen(function* () {
        const chat = yield* Chat.empty
        yield* chat.generateText({ prompt: "One" })
        const response = yield* chat.generateText({ prompt: "Two" })
        expect(response.text).toBe("2")
        const asked = (yield* S.Script).asked.map(({ options }) => options.previousResponseId)
        expect(asked).toEqual([undefined, "resp-1", undefined])
        expect(yield* S.books).toEqual({ spent: 40, reserved: 0 })
        const error = yield* Effect.flip(chat.generateText({ prompt: "Three" }))
        expect(error.reason._tag).toBe("InvalidRequestError")
        expect((yield* S.Script).asked.length).toBeLessThanOrEqual(5)
        expect(yield* S.books).toEqual({ spent: 40, reserved: 0 })
      }).pipe(
        Effect.provideServiceEffect(ResponseIdTracker.ResponseIdTracker, ResponseIdTracker.make),
        Effect.provide(
          S.guarded([
            { parts: [{ type: "response-metadata", id: "resp-1" }, S.text("1"), S.finish(10, 5)] },
            { parts: [], fails: S.failure(new AiError.InvalidRequestError({ description: "unknown response" })) },
            { parts: [{ type: "response-metadata", id: "resp-2" }, S.text("2"), S.finish(20, 5)] },
            { parts: [], fails: S.failure(new AiError.InvalidRequestError({ description: "bad" })) },
            { parts: [], fails: S.failure(new AiError.InvalidRequestError({ description: "bad" })) }
          ])
        )
      )
    )

    it.effect("a tool that the provider runs keeps its result, and no handler runs", () =>
      Effect.gen(function* () {
        const WebSearch = Tool.providerDefined({
          id: "openai.web_search",
          customName: "WebSearch",
          providerName: "web_search",
          parameters: Schema.Struct({ query: Schema.String }),
          success: Schema.Struct({ found: Schema.FiniteFromString })
        })()
        const response = yield* LanguageModel.generateText({ prompt: "Find it", toolkit: Toolkit.make(WebSearch) })
        expect(response.toolResults.map((result) => result.result)).toEqual([{ found: 3 }])
        expect(response.text).toBe("There are 3")
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([
            {
              parts: [
                { ...S.toolCall("WebSearch", { query: "it" }), providerExecuted: true },
                {
                  type: "tool-result",
                  id: "call-1",
                  name: "WebSearch",
                  result: { found: "3" },
                  isFailure: false,
                  providerExecuted: true
                },
                S.text("There are 3"),
                S.finish(20, 10)
              ]
            }
          ])
        )
      )
    )

    it.effect("a tool can call the same guarded model, and each call is charged", () =>
      Effect.gen(function* () {
        const search = Effect.map(ask, (response) => ({ hits: response.text.length }))
        const model = yield* LanguageModel.LanguageModel
        const response = yield* LanguageModel.generateText({ prompt: "Find it", toolkit }).pipe(
          Effect.provide(handlers(Effect.orDie(Effect.provideService(search, LanguageModel.LanguageModel, model))))
        )
        expect(response.toolResults.map((result) => result.result)).toEqual([{ hits: 5 }])
        expect(yield* S.books).toEqual({ spent: 47, reserved: 0 })
      }).pipe(
        Effect.provide(
          S.guarded([
            { parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] },
            { parts: [S.text("inner"), S.finish(12, 5)] }
          ])
        )
      )
    )

    it.effect("a response that was cut runs no tool and is charged", () =>
      Effect.gen(function* () {
        const response = yield* LanguageModel.generateText({ prompt: "Find it", toolkit }).pipe(
          Effect.provide(handlers(Effect.die("never")))
        )
        expect(response.finishReason).toBe("length")
        expect(response.toolResults[0]).toMatchObject({ isFailure: true, result: { type: "execution-interrupted" } })
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "length")] }]))
      )
    )

    it.effect("unresolved tool calls are returned if the program resolves them itself", () =>
      Effect.gen(function* () {
        const response = yield* LanguageModel.generateText({
          prompt: "Find it",
          toolkit,
          disableToolCallResolution: true
        }).pipe(Effect.provide(handlers(Effect.die("never"))))
        expect(response.toolCalls.map((call) => call.name)).toEqual(["Search"])
        expect(yield* S.books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(
        Effect.provide(S.guarded([{ parts: [S.toolCall("Search", { query: "it" }), S.finish(20, 10, "tool-calls")] }]))
      )
    )
  })
})
