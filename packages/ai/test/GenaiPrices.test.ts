/**
 * The installed catalogue, and catalogues that a stub serves. No test uses the network.
 */
import { waitForUpdate } from "@pydantic/genai-prices"
import { afterEach, describe, expect, it } from "@effect/vitest"
import { Amount } from "effect-cycles"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as GenaiPrices from "../src/GenaiPrices.ts"
import * as Catalogue from "../src/internal/catalogue.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Usage from "../src/Usage.ts"
import * as S from "./support/script.ts"

const atMs = Date.UTC(2026, 10, 1)
const million = 1_000_000

const call = (provider: string, model: string, usage: Usage.Usage, options?: Partial<Pricing.Call>): Pricing.Call => ({
  provider,
  model,
  usage,
  serviceTier: undefined,
  atMs,
  ...options
})

const request = (provider: string, model: string, options?: Partial<Pricing.Request>): Pricing.Request => ({
  provider,
  model,
  inputTokens: 1_000,
  outputTokens: 1_000,
  providerTools: [],
  serviceTier: undefined,
  atMs,
  ...options
})

/** A catalogue with one model. */
const catalogueOf = (prices: unknown, model = "m", id = "test") => [
  { id, name: "Test", api_pattern: "https://test", models: [{ id: model, match: { equals: model }, prices }] }
]

const installed = await waitForUpdate()

afterEach(() => Catalogue.update(installed))

describe("GenaiPrices", () => {
  describe("make", () => {
    const prices = GenaiPrices.make()

    it.effect.each<readonly [string, string, Usage.Usage, string]>([
      ["openai", "gpt-5", Usage.make(million, 0), "1.25"],
      ["openai", "gpt-5", Usage.make(million, 0, { cacheReadTokens: million }), "0.125"],
      ["anthropic", "claude-sonnet-4-20250514", Usage.make(1_000, 1_000), "0.018"],
      ["anthropic", "claude-sonnet-4-20250514", Usage.make(1_000, 0, { cacheWriteTokens: 1_000 }), "0.00375"],
      [
        "anthropic",
        "claude-sonnet-4-20250514",
        Usage.make(1_000, 0, { cacheWriteTokens: 1_000, cacheWriteHourTokens: 1_000 }),
        "0.006"
      ],
      ["anthropic", "claude-sonnet-4-20250514", Usage.make(0, 0, { toolCalls: { web_search: 3 } }), "0.03"],
      ["anthropic", "claude-opus-4-6", Usage.make(200_000, 0), "1"],
      ["google", "gemini-2.5-flash", Usage.make(1_000, 0, { inputAudioTokens: 1_000 }), "0.001"],
      ["google", "gemini-2.5-flash", Usage.make(1_000, 0, { inputImageTokens: 1_000 }), "0.0003"],
      ["perplexity", "sonar", Usage.make(0, 0), "0.012"]
    ])("prices %s:%s", ([provider, model, usage, dollars]) =>
      Effect.gen(function* () {
        expect(yield* prices.price(call(provider, model, usage))).toEqual(Amount.usd(dollars))
      })
    )

    it.effect.each<readonly [string, string, Usage.Usage, string]>([
      ["openai", "gpt-5", Usage.make(10, 0, { cacheWriteTokens: 5 }), "cacheWrite"],
      ["openai", "gpt-5", Usage.make(10, 0, { inputAudioTokens: 5 }), "inputAudio"],
      ["openai", "gpt-5", Usage.make(0, 10, { outputAudioTokens: 5 }), "outputAudio"],
      ["openai", "gpt-5", Usage.make(0, 10, { outputImageTokens: 5 }), "outputImage"],
      ["openai", "gpt-5", Usage.make(0, 10, { toolCalls: { nothing: 1 } }), "tools.nothing"],
      ["groq", "whisper-large-v3", Usage.make(10, 10), "audio_hours"],
      ["openai", "text-embedding-3-small", Usage.make(10, 10), "output"]
    ])("refuses a dimension of %s:%s without a price", ([provider, model, usage, dimension]) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(prices.price(call(provider, model, usage)))).toEqual(
          new Pricing.UnknownPrice({ provider, model, dimension })
        )
      })
    )

    it.effect("charges a dimension without a price as its base if unknownDimension is base", () =>
      Effect.gen(function* () {
        const some = GenaiPrices.make({ unknownDimension: "base" })
        const usage = Usage.make(million, 0, { inputAudioTokens: million, toolCalls: { nothing: 1 } })
        expect(yield* some.price(call("openai", "gpt-5", usage))).toEqual(Amount.usd("1.25"))
      })
    )

    it.effect("takes the prices of tiers and tools from its options", () =>
      Effect.gen(function* () {
        const some = GenaiPrices.make({ tiers: { priority: 2 }, tools: { nothing: 5, web_search: 1 } })
        const usage = Usage.make(million, 0, { toolCalls: { nothing: 1, web_search: 1 } })
        expect(yield* some.price(call("openai", "gpt-5", usage))).toEqual(Amount.usd("1.256"))
        expect(yield* some.price(call("openai", "gpt-5", usage, { serviceTier: "priority" }))).toEqual(
          Amount.usd("2.506")
        )
        expect(
          yield* Effect.flip(prices.price(call("openai", "gpt-5", Usage.make(1, 1), { serviceTier: "priority" })))
        ).toEqual(new Pricing.UnknownPrice({ provider: "openai", model: "gpt-5", dimension: "tiers.priority" }))
      })
    )

    it.effect("looks up the requested model before the fallback", () =>
      Effect.gen(function* () {
        const some = GenaiPrices.make({ fallback: { input: 99, output: 99 } })
        const usage = Usage.make(million, 0)
        expect(yield* some.price(call("openai", "homemade", usage, { requestedModel: "gpt-5" }))).toEqual(
          Amount.usd("1.25")
        )
        expect(yield* some.price(call("openai", "homemade", usage, { requestedModel: "other" }))).toEqual(
          Amount.usd(99)
        )
        expect(yield* some.maximum(request("someone", "gpt-5", { outputTokens: 0 }))).toEqual(Amount.usd("0.099"))
      })
    )

    it.effect("fails with UnknownModel for a model or a provider that the catalogue doesn't have", () =>
      Effect.gen(function* () {
        for (const [provider, model] of [
          ["openai", "homemade-1"],
          ["someone", "gpt-5"]
        ] as const) {
          const error = new Pricing.UnknownModel({ provider, model })
          expect(yield* Effect.flip(prices.price(call(provider, model, Usage.make(1, 1))))).toEqual(error)
          expect(yield* Effect.flip(prices.maximum(request(provider, model)))).toEqual(error)
        }
      })
    )

    it.effect("charges free models nothing, and refuses models that have no prices", () =>
      Effect.gen(function* () {
        Catalogue.update([
          ...catalogueOf({}, "m:free", "p0"),
          ...catalogueOf({ input_mtok: 1 }, "m", "p1"),
          ...catalogueOf({}, "m", "p2")
        ])
        expect(yield* prices.price(call("p0", "m:free", Usage.make(1, 1)))).toEqual(Amount.usd(0))
        expect(yield* Effect.flip(prices.price(call("p2", "m", Usage.make(1, 1))))).toEqual(
          new Pricing.UnknownPrice({ provider: "p2", model: "m", dimension: "input" })
        )
      })
    )

    it.effect("charges the tier of a long context above its start", () =>
      Effect.gen(function* () {
        const tiered = (base: number, ...tiers: ReadonlyArray<readonly [number, number]>) => ({
          base,
          tiers: tiers.map(([start, price]) => ({ start, price }))
        })
        Catalogue.update(catalogueOf({ input_mtok: tiered(1, [200, 2], [100, 4]), output_mtok: tiered(10, [150, 20]) }))
        const priceOf = (input: number) =>
          Effect.map(prices.price(call("test", "m", Usage.make(input, million))), (price) => price.amount)
        expect(yield* priceOf(100)).toBe(Amount.usd("10.0001").amount)
        expect(yield* priceOf(101)).toBe(Amount.usd("10.000404").amount)
        expect(yield* priceOf(151)).toBe(Amount.usd("20.000604").amount)
        expect(yield* priceOf(201)).toBe(Amount.usd("20.000402").amount)
        // The highest price of fewer tokens applies, 4 dollars.
        const most = yield* prices.maximum(request("test", "m", { inputTokens: 201, outputTokens: million }))
        expect(most).toEqual(Amount.usd("20.000804"))
      })
    )

    it.effect.each<readonly [string, unknown]>([
      ["a price that isn't a number", { input_mtok: "1", output_mtok: 1 }],
      ["a negative price", { input_mtok: -1, output_mtok: 1 }],
      ["a tier without a start", { input_mtok: { base: 1, tiers: [{ price: 2 }] }, output_mtok: 1 }],
      ["a price without that of its base", { cache_read_mtok: 1 }]
    ])("doesn't know a model with %s", ([, invalid]) =>
      Effect.gen(function* () {
        Catalogue.update(catalogueOf(invalid))
        expect(yield* Effect.flip(prices.price(call("test", "m", Usage.make(1, 1))))).toEqual(
          new Pricing.UnknownModel({ provider: "test", model: "m" })
        )
      })
    )
  })

  describe("maximum", () => {
    it.effect("is that of the most expensive input, with ten calls of each tool", () =>
      Effect.gen(function* () {
        const tools = ["web_search_20250305"]
        const found = yield* GenaiPrices.make().maximum(
          request("anthropic", "claude-sonnet-4-20250514", { providerTools: tools })
        )
        // 1,000 tokens written for an hour at 6 dollars per million, and 1,000 of output at 15.
        expect(found).toEqual(Amount.usd("0.121"))
      })
    )

    it.effect("refuses a tool without a price", () =>
      Effect.gen(function* () {
        const some = request("anthropic", "claude-sonnet-4-20250514", { providerTools: ["web_fetch"] })
        expect(yield* Effect.flip(GenaiPrices.make().maximum(some))).toEqual(
          new Pricing.UnknownPrice({ provider: "anthropic", model: some.model, dimension: "tools.web_fetch" })
        )
        expect(yield* GenaiPrices.make({ tools: { web_fetch: 0 } }).maximum(some)).toEqual(Amount.usd("0.021"))
      })
    )

    const Count = Schema.Literals([0, 1, 99, 1_000, 128_001, 200_000, 200_001, 300_000])

    it.effect.prop(
      "is at least the price of every usage within the request",
      {
        model: Schema.Literals([
          "anthropic:claude-opus-4-6",
          "anthropic:claude-sonnet-4-20250514",
          "google:gemini-2.5-pro",
          "google:gemini-2.5-flash",
          "openai:gpt-4o-audio-preview",
          "openai:gpt-image-1",
          "perplexity:sonar-pro"
        ]),
        input: Count,
        output: Count,
        usedInput: Count,
        usedOutput: Count,
        cacheReadTokens: Count,
        cacheWriteTokens: Count,
        cacheWriteHourTokens: Count,
        inputAudioTokens: Count,
        reasoningTokens: Count,
        outputImageTokens: Count
      },
      ({ input, model, output, usedInput, usedOutput, ...details }) =>
        Effect.gen(function* () {
          const prices = GenaiPrices.make({ unknownDimension: "base" })
          const [provider = "", name = ""] = model.split(":")
          const highest = yield* prices.maximum(request(provider, name, { inputTokens: input, outputTokens: output }))
          const usage = Usage.make(Math.min(usedInput, input), Math.min(usedOutput, output), details)
          expect((yield* prices.price(call(provider, name, usage))).amount).toBeLessThanOrEqual(highest.amount)
        }),
      { arbitrary: { runs: 500 }, timeout: 60_000 }
    )
  })

  describe("layerRefreshing", () => {
    /** What the stub responds: data as JSON, a status, or a broken connection. */
    type Reply = { readonly json: unknown } | { readonly status: number } | "broken" | "silent"

    const harness = (replies: ReadonlyArray<Reply>, options?: GenaiPrices.RefreshOptions) =>
      Effect.gen(function* () {
        const urls: Array<string> = []
        const { layer: logger, warnings } = S.logs()
        const never = yield* Deferred.make<never>()
        const client = HttpClient.make((request, url) => {
          const reply = replies[Math.min(urls.length, replies.length - 1)] ?? "broken"
          urls.push(String(url))
          if (reply === "silent") return Deferred.await(never)
          if (reply === "broken") {
            return Effect.fail(
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, description: "connection reset" })
              })
            )
          }
          const body = "json" in reply ? JSON.stringify(reply.json) : "no"
          const status = "json" in reply ? 200 : reply.status
          return Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body, { status })))
        })
        const layer = GenaiPrices.layerRefreshing(options).pipe(
          Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
          Layer.provideMerge(logger)
        )
        const context = yield* Layer.build(layer)
        const prices = yield* Effect.provide(Pricing.Pricing, context)
        const price = Effect.map(Effect.option(prices.price(call("test", "m", Usage.make(million, 0)))), (found) =>
          found._tag === "Some" ? Amount.format(found.value) : undefined
        )
        return { urls, warnings, prices, price }
      })

    /** Lets the promises of the response run, which the clock doesn't control. */
    const settle = Effect.gen(function* () {
      for (let i = 0; i < 10; i++) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    })

    const at = (dollars: number): Reply => ({ json: catalogueOf({ input_mtok: dollars, output_mtok: 1 }) })

    it.effect("refreshes the catalogue when it is built, and every day after that", () =>
      Effect.gen(function* () {
        const { price, urls, warnings } = yield* harness([at(1), at(2)])
        yield* settle
        expect(yield* price).toBe("$1.00")
        yield* TestClock.adjust(Duration.hours(23))
        yield* settle
        expect(yield* price).toBe("$1.00")
        yield* TestClock.adjust(Duration.hours(1))
        yield* settle
        expect(yield* price).toBe("$2.00")
        expect(urls).toHaveLength(2)
        expect(urls[0]).toMatch(/^https:\/\/raw\.githubusercontent\.com\/pydantic\/genai-prices\/.*\.json$/)
        expect(warnings).toHaveLength(0)
      })
    )

    it.effect("has the installed prices until the first refresh succeeds", () =>
      Effect.gen(function* () {
        const { prices } = yield* harness(["silent"])
        expect(yield* prices.price(call("openai", "gpt-5", Usage.make(million, 0)))).toEqual(Amount.usd("1.25"))
      })
    )

    it.effect("refreshes by the schedule and from the URL of its options", () =>
      Effect.gen(function* () {
        const { price, urls } = yield* harness([at(1), at(2)], {
          schedule: Schedule.spaced("10 minutes"),
          url: "https://prices.example/data.json"
        })
        yield* settle
        yield* TestClock.adjust(Duration.minutes(10))
        yield* settle
        expect(yield* price).toBe("$2.00")
        expect(urls).toEqual(["https://prices.example/data.json", "https://prices.example/data.json"])
      })
    )

    it.effect.each<readonly [string, Reply]>([
      ["a broken connection", "broken"],
      ["a status of 404", { status: 404 }],
      ["a status of 200 without JSON", { status: 200 }],
      ["JSON that isn't a catalogue", { json: { error: "rate limited" } }],
      ["an empty catalogue", { json: [] }],
      ["a catalogue without prices", { json: catalogueOf({}) }],
      ["a provider without models", { json: [{ id: "test", api_pattern: "x" }] }],
      [
        "a constraint that the package can't read",
        { json: catalogueOf([{ constraint: { type: "moon" }, prices: { input_mtok: 1 } }]) }
      ],
      ["no response within the timeout", "silent"]
    ])("keeps the last catalogue, logs one warning and retries after %s", ([, failure]) =>
      Effect.gen(function* () {
        const { price, urls, warnings } = yield* harness([at(1), failure, failure, failure, at(2)])
        yield* settle
        yield* TestClock.adjust(Duration.days(1))
        yield* settle
        // Three timeouts of a minute at most, and the delays between the attempts.
        yield* TestClock.adjust(Duration.minutes(1))
        yield* settle
        expect(yield* price).toBe("$1.00")
        expect(warnings).toHaveLength(1)
        for (let i = 0; i < 12; i++) {
          yield* TestClock.adjust(Duration.minutes(1))
          yield* settle
        }
        expect(urls).toHaveLength(5)
        expect(yield* price).toBe("$2.00")
        expect(warnings).toHaveLength(1)
      })
    )

    it.effect("retries without end, at least once an hour", () =>
      Effect.gen(function* () {
        const { urls, warnings } = yield* harness(["broken"])
        for (let i = 0; i < 48; i++) {
          yield* settle
          yield* TestClock.adjust(Duration.hours(1))
        }
        expect(urls.length).toBeGreaterThanOrEqual(48)
        expect(warnings).toHaveLength(1)
      })
    )

    it.effect("stops with its scope", () =>
      Effect.gen(function* () {
        const { urls } = yield* Effect.scoped(Effect.tap(harness([at(1)]), () => settle))
        yield* TestClock.adjust(Duration.days(3))
        yield* settle
        expect(urls).toHaveLength(1)
      })
    )
  })
})
