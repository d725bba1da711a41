/**
 * The model of `docs/examples/support/openAiCompatible.ts` under `CyclesModel.layer`, against the fake provider: whole and streamed,
 * with every shape of usage and every outcome.
 */
import { CyclesModel } from "@effect-cycles/ai"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import type { Context } from "effect"
import { AiError, Chat, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import type { FakeProvider } from "../examples/support/fakeProvider.ts"
import * as OpenAiCompatible from "../examples/support/openAiCompatible.ts"
import { charged, suite, withFake } from "./support/outcomes.ts"
import type { Call, Failures, Program } from "./support/outcomes.ts"

/** A guarded model on the fake provider. */
const guarded = ({ maxOutputTokens, model, url }: Call) =>
  CyclesModel.layer({
    maxOutputTokens,
    outputLimit: OpenAiCompatible.outputLimit,
    onFailure: "estimate"
  }).pipe(
    Layer.provide(
      OpenAiCompatible.layer({ baseUrl: `${url}/v1`, apiKey: Redacted.make("key"), provider: "fake", model })
    ),
    Layer.provide(FetchHttpClient.layer)
  )

/** A test of a guarded model. */
const withModel = <A, E, R>(model: string, body: (fake: FakeProvider) => Effect.Effect<A, E, R>) =>
  withFake((fake) => Effect.provide(body(fake), guarded({ url: fake.url, model, maxOutputTokens: 100 })))

const methods: ReadonlyArray<Program<AiError.AiError>> = [
  {
    name: "generateText",
    isStream: false,
    reportedEarly: () => 0,
    run: (call) =>
      Stream.fromEffect(Effect.map(LanguageModel.generateText({ prompt: "Hello" }), ({ text }) => text)).pipe(
        Stream.provide(guarded(call))
      )
  },
  {
    name: "streamText",
    isStream: true,
    reportedEarly: () => 0,
    run: (call) =>
      LanguageModel.streamText({ prompt: "Hello" }).pipe(
        Stream.filter((part) => part.type === "text-delta"),
        Stream.map((part) => part.delta),
        Stream.provide(guarded(call))
      )
  }
]

const reason = (_tag: AiError.AiErrorReason["_tag"]) => ({ reason: { _tag } })

const failures: Failures = {
  refused: [
    ["rate-limited", reason("RateLimitError")],
    ["no-quota", reason("QuotaExhaustedError")],
    ["overloaded", reason("InternalProviderError")],
    ["too-long", reason("InvalidRequestError")],
    ["proxy", reason("InternalProviderError")]
  ],
  lost: reason("InvalidOutputError"),
  denied: reason("QuotaExhaustedError")
}

for (const method of methods) suite(method, failures, charged)

describe("generateObject", () => {
  it.live("sends the schema, and decodes the object", () =>
    withModel("plain", (fake) =>
      Effect.gen(function* () {
        const schema = Schema.Struct({ city: Schema.String })
        const { value } = yield* LanguageModel.generateObject({ prompt: "Which?", schema, objectName: "place" })
        expect(value).toEqual({ city: "Oslo" })
        expect(fake.requests[0]?.body["response_format"]).toMatchObject({
          type: "json_schema",
          json_schema: { name: "place", strict: true, schema: { type: "object", required: ["city"] } }
        })
        expect(yield* charged).toBe(50)
      })
    )
  )
})

const Lookup = Tool.make("lookup", {
  description: "The weather of a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ weather: Schema.String })
})
const Other = Tool.make("other", { parameters: Schema.Struct({}), success: Schema.String })
const toolkit = Toolkit.make(Lookup, Other)
const handlers = toolkit.toLayer({
  lookup: ({ city }) => Effect.succeed({ weather: `rain in ${city}` }),
  other: () => Effect.succeed("done")
})

describe("tools", () => {
  const results = [{ weather: "rain in Oslo" }, { weather: "rain in Rome" }]

  it.live("a chat calls tools, and sends their results", () =>
    withModel("tool", (fake) =>
      Effect.gen(function* () {
        const chat = yield* Chat.empty
        const first = yield* chat.generateText({ prompt: "Weather?", toolkit })
        expect(first.finishReason).toBe("tool-calls")
        expect(first.toolResults.map(({ result }) => result)).toEqual(results)
        const second = yield* chat.generateText({ prompt: [], toolkit })
        expect(second.text).toContain("Budgets")
        expect(fake.requests[0]?.body["tools"]).toMatchObject([
          { type: "function", function: { name: "lookup", description: "The weather of a city" } },
          { type: "function", function: { name: "other" } }
        ])
        expect(fake.requests[1]?.body["messages"]).toEqual([
          { role: "user", content: "Weather?" },
          {
            role: "assistant",
            content: null,
            tool_calls: ["Oslo", "Rome"].map((city, index) => ({
              id: `call_${index}`,
              type: "function",
              function: { name: "lookup", arguments: JSON.stringify({ city }) }
            }))
          },
          ...results.map((result, index) => ({
            role: "tool",
            tool_call_id: `call_${index}`,
            content: JSON.stringify(result)
          }))
        ])
        expect(yield* charged).toBe(100)
      }).pipe(Effect.provide(handlers))
    )
  )

  it.live("a stream joins the interleaved pieces of several calls", () =>
    withModel("tool", () =>
      Effect.gen(function* () {
        const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Weather?", toolkit }))
        expect(parts.flatMap((part) => (part.type === "tool-call" ? [part.params] : []))).toEqual([
          { city: "Oslo" },
          { city: "Rome" }
        ])
        expect(parts.flatMap((part) => (part.type === "tool-result" ? [part.result] : []))).toEqual(results)
        expect(yield* charged).toBe(50)
      }).pipe(Effect.provide(handlers))
    )
  )

  it.live.each([
    ["auto", "auto", 2],
    ["required", "required", 2],
    [{ tool: "lookup" as const }, { type: "function", function: { name: "lookup" } }, 2],
    [{ mode: "required" as const, oneOf: ["other" as const] }, "required", 1]
  ] as const)("sends the tool choice %j", ([toolChoice, sent, count]) =>
    withModel("plain", (fake) =>
      Effect.gen(function* () {
        yield* LanguageModel.generateText({ prompt: "Weather?", toolkit, toolChoice })
        expect(fake.requests[0]?.body["tool_choice"]).toEqual(sent)
        expect(fake.requests[0]?.body["tools"]).toHaveLength(count)
      }).pipe(Effect.provide(handlers))
    )
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// what other servers send
// ---------------------------------------------------------------------------------------------------------------------

/** The bare model on an endpoint that sends these texts. Returns the requests. */
const endpoint = (...bodies: ReadonlyArray<string>) => {
  const requests: Array<unknown> = []
  const rest = [...bodies]
  const client = HttpClient.make((request) =>
    Effect.sync(() => {
      const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : "{}"
      requests.push(JSON.parse(body))
      return HttpClientResponse.fromWeb(request, new Response(rest.shift() ?? "{}", { status: 200 }))
    })
  )
  const layer = OpenAiCompatible.layer({
    baseUrl: "http://server/v1",
    provider: "fake",
    model: "m",
    limitField: "max_completion_tokens"
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
  return { layer, requests }
}

const whole = (message: object, more: object = {}) =>
  JSON.stringify({ choices: [{ message, finish_reason: "stop" }], ...more })

const sse = (...events: ReadonlyArray<object>) =>
  [...events.map((event) => JSON.stringify(event)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("")

describe("what other servers send", () => {
  it.effect("fields that are null or missing", () =>
    Effect.gen(function* () {
      const response = yield* LanguageModel.generateText({ prompt: "Hello" })
      expect(response.text).toBe("Hi")
      expect(response.usage.inputTokens.total).toBe(undefined)
    }).pipe(Effect.provide(endpoint(whole({ content: "Hi", tool_calls: null }, { id: null, usage: null })).layer))
  )

  it.effect("reasoning, and then a text", () =>
    Effect.gen(function* () {
      const response = yield* LanguageModel.generateText({ prompt: "Hello" })
      expect([response.reasoningText, response.text]).toEqual(["Hm", "Hi"])
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hello" }))
      expect(parts.map((part) => part.type)).toEqual([
        "response-metadata",
        "reasoning-start",
        "reasoning-delta",
        "reasoning-end",
        "text-start",
        "text-delta",
        "text-end",
        "finish"
      ])
    }).pipe(
      Effect.provide(
        endpoint(
          whole({ content: "Hi", reasoning_content: "Hm" }),
          sse({ choices: [{ delta: { reasoning: "Hm" } }] }, { choices: [{ delta: { content: "Hi" } }] })
        ).layer
      )
    )
  )

  it.effect("tool calls without ids, without arguments and with the reason stop", () =>
    Effect.gen(function* () {
      const { finishReason, toolCalls } = yield* LanguageModel.generateText({ prompt: "Go", toolkit })
      expect(finishReason).toBe("tool-calls")
      expect(toolCalls.map(({ params }) => params)).toEqual([{}, {}])
      expect(new Set(toolCalls.map(({ id }) => id)).size).toBe(2)
    }).pipe(
      Effect.provide([
        endpoint(
          whole({
            tool_calls: [
              { function: { name: "other", arguments: "" } },
              { id: "", function: { name: "other", arguments: "{}" } }
            ]
          })
        ).layer,
        handlers
      ])
    )
  )

  it.effect("arguments that aren't JSON, which the tool's schema refuses", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(LanguageModel.generateText({ prompt: "Go", toolkit }))
      expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError" } })
    }).pipe(
      Effect.provide([
        endpoint(whole({ tool_calls: [{ id: "1", function: { name: "lookup", arguments: "{city" } }] })).layer,
        handlers
      ])
    )
  )

  it.effect("usage in every event: the largest counts", () =>
    Effect.gen(function* () {
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hello" }))
      expect(parts.at(-1)).toMatchObject({
        type: "finish",
        reason: "length",
        usage: { inputTokens: { total: 20 }, outputTokens: { total: 7 } }
      })
    }).pipe(
      Effect.provide(
        endpoint(
          sse(
            { choices: [{ delta: { content: "Hi" } }], usage: { prompt_tokens: 20, completion_tokens: 7 } },
            { choices: [{ delta: {}, finish_reason: "length" }], usage: { prompt_tokens: 20, completion_tokens: 2 } }
          )
        ).layer
      )
    )
  )

  it.effect("an error with status 200", () =>
    Effect.gen(function* () {
      const whole = yield* Effect.flip(LanguageModel.generateText({ prompt: "Hello" }))
      const streamed = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" })))
      for (const error of [whole, streamed]) {
        expect(error.reason._tag).toBe("InvalidOutputError")
        expect(error.message).toContain("no GPU")
      }
    }).pipe(Effect.provide(endpoint(JSON.stringify({ error: { message: "no GPU" } }), sse({ error: "no GPU" })).layer))
  )

  it.effect("sends images, system messages, and the output limit in the field of the options", () => {
    const { layer, requests } = endpoint(whole({ content: "Hi" }))
    return Effect.gen(function* () {
      const prompt = Prompt.make([
        { role: "system", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "What is it?" },
            { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) },
            { type: "file", mediaType: "image/*", data: new URL("https://example.com/a.png") }
          ]
        }
      ])
      yield* Effect.updateContext(
        LanguageModel.generateText({ prompt }),
        (context: Context.Context<LanguageModel.LanguageModel>) => OpenAiCompatible.outputLimit.set(context, 7)
      )
      expect(requests).toEqual([
        {
          model: "m",
          max_completion_tokens: 7,
          messages: [
            { role: "system", content: "Be brief." },
            {
              role: "user",
              content: [
                { type: "text", text: "What is it?" },
                { type: "image_url", image_url: { url: "data:image/png;base64,AQID" } },
                { type: "image_url", image_url: { url: "https://example.com/a.png" } }
              ]
            }
          ]
        }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("sends the settings of the call's context", () => {
    const { layer, requests } = endpoint(whole({ content: "Hi" }))
    return Effect.gen(function* () {
      yield* LanguageModel.generateText({ prompt: "Hello" }).pipe(
        Effect.provideService(OpenAiCompatible.Config, { model: "other", temperature: 0, max_tokens: 9 })
      )
      expect(requests).toEqual([
        {
          model: "other",
          temperature: 0,
          max_completion_tokens: 9,
          messages: [{ role: "user", content: "Hello" }]
        }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("fails before the request if a file can't be sent", () => {
    const { layer, requests } = endpoint()
    return Effect.gen(function* () {
      const prompt = Prompt.make([
        { role: "user", content: [{ type: "file", mediaType: "application/pdf", data: new Uint8Array([1]) }] }
      ])
      const error = yield* Effect.flip(LanguageModel.generateText({ prompt }))
      expect(error.reason._tag).toBe("InvalidUserInputError")
      expect(requests).toEqual([])
    }).pipe(Effect.provide(layer))
  })
})
