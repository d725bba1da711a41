import { describe, expect, it } from "@effect/vitest"
import { Amount } from "effect-cycles"
import * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Usage from "../src/Usage.ts"

const call = (model: string, usage: Usage.Usage, options?: Partial<Pricing.Call>): Pricing.Call => ({
  provider: "openai",
  model,
  usage,
  serviceTier: undefined,
  atMs: 0,
  ...options
})

const request = (model: string, options?: Partial<Pricing.Request>): Pricing.Request => ({
  provider: "openai",
  model,
  inputTokens: 1_000,
  outputTokens: 1_000,
  providerTools: [],
  serviceTier: undefined,
  atMs: 0,
  ...options
})

const decodeMetadata = Schema.decodeUnknownSync(Response.ProviderMetadata)

const finish = (metadata: unknown): Response.FinishPart =>
  Response.makePart("finish", {
    reason: "stop",
    usage: new Response.Usage({ inputTokens: {}, outputTokens: {} }),
    metadata: decodeMetadata(metadata),
    response: undefined
  })

/** A price for every dimension, in dollars per million tokens and per thousand calls. */
const full: Pricing.Prices = {
  input: 1,
  output: 10,
  cacheRead: "0.1",
  cacheWrite: "1.25",
  cacheWriteHour: 2,
  reasoning: 12,
  inputAudio: 32,
  inputImage: 5,
  outputAudio: 64,
  outputImage: 40,
  tiers: { priority: 2, flex: { input: "0.5", output: 5 } },
  tools: { web_search: 10, file_search: "2.5" }
}

/** Prices without any optional price. */
const plain: Pricing.Prices = { input: 1, output: 10 }

const million = 1_000_000

describe("Pricing", () => {
  describe("fromTable", () => {
    const prices = Pricing.fromTable({ "openai:m": full, "openai:plain": plain })

    const dimensions: ReadonlyArray<readonly [string, Usage.Usage, string, string | undefined]> = [
      ["input", Usage.make(million, 0), "1", undefined],
      ["output", Usage.make(0, million), "10", undefined],
      ["cacheRead", Usage.make(million, 0, { cacheReadTokens: million }), "0.1", undefined],
      ["reasoning", Usage.make(0, million, { reasoningTokens: million }), "12", undefined],
      ["cacheWrite", Usage.make(million, 0, { cacheWriteTokens: million }), "1.25", "1"],
      [
        "cacheWriteHour",
        Usage.make(million, 0, { cacheWriteTokens: million, cacheWriteHourTokens: million }),
        "2",
        "1"
      ],
      ["inputAudio", Usage.make(million, 0, { inputAudioTokens: million }), "32", "1"],
      ["inputImage", Usage.make(million, 0, { inputImageTokens: million }), "5", "1"],
      ["outputAudio", Usage.make(0, million, { outputAudioTokens: million }), "64", "10"],
      ["outputImage", Usage.make(0, million, { outputImageTokens: million }), "40", "10"],
      ["tools.web_search", Usage.make(0, 0, { toolCalls: { web_search: 100 } }), "1", "0"],
      ["tools.file_search", Usage.make(0, 0, { toolCalls: { file_search: 100 } }), "0.25", "0"]
    ]

    it.effect.each(dimensions)("charges the price of %s", ([, usage, dollars]) =>
      Effect.gen(function* () {
        expect(yield* prices.price(call("m", usage))).toEqual(Amount.usd(dollars))
      })
    )

    it.effect.each(dimensions.filter(([, , , base]) => base !== undefined))(
      "refuses %s without a price",
      ([dimension, usage]) =>
        Effect.gen(function* () {
          expect(yield* Effect.flip(prices.price(call("plain", usage)))).toEqual(
            new Pricing.UnknownPrice({ provider: "openai", model: "plain", dimension })
          )
        })
    )

    it.effect.each(dimensions.filter(([, , , base]) => base !== undefined))(
      "charges the base of %s without a price if unknownDimension is base",
      ([, usage, , base]) =>
        Effect.gen(function* () {
          const some = Pricing.fromTable({ plain }, { unknownDimension: "base" })
          expect(yield* some.price(call("plain", usage))).toEqual(Amount.usd(base ?? ""))
        })
    )

    it.effect("charges cache reads and reasoning without a price as input and output", () =>
      Effect.gen(function* () {
        const usage = Usage.make(million, million, { cacheReadTokens: million, reasoningTokens: million })
        expect(yield* prices.price(call("plain", usage))).toEqual(Amount.usd(11))
      })
    )

    it.effect("adds up the parts of a call, exactly", () =>
      Effect.gen(function* () {
        const usage = Usage.make(1_000, 100, {
          cacheReadTokens: 300,
          cacheWriteTokens: 200,
          cacheWriteHourTokens: 50,
          inputAudioTokens: 100,
          inputImageTokens: 10,
          reasoningTokens: 40,
          outputAudioTokens: 5,
          toolCalls: { web_search: 2 }
        })
        // In millionths of a dollar: 390 input, 30 reads, 187.5 and 100 writes, 3,200 audio, 50 images;
        // 550 output, 480 reasoning, 320 audio; 20,000 searches.
        expect(yield* prices.price(call("m", usage))).toEqual(Amount.usd("0.0253075"))
      })
    )

    it.effect("charges at most the tokens of the total if its parts exceed it, the most expensive first", () =>
      Effect.gen(function* () {
        const usage = Usage.make(100, 0, { cacheReadTokens: 80, inputAudioTokens: 60 })
        // 60 audio and 40 reads.
        expect(yield* prices.price(call("m", usage))).toEqual(Amount.usd("0.001924"))
      })
    )

    it.effect("accepts a usage whose counts aren't counts", () =>
      Effect.gen(function* () {
        const usage = { ...Usage.make(0, 0), inputTokens: NaN, outputTokens: 0.5, reasoningTokens: -Infinity }
        expect(yield* prices.price(call("m", usage))).toEqual(Amount.usd("0.00001"))
      })
    )

    it.effect("limits a price to the largest amount", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ m: { input: 1e30, output: 0 } })
        expect((yield* some.price(call("m", Usage.make(1, 0)))).amount).toBe(2n ** 63n - 1n)
      })
    )

    it.effect("rounds up to a whole microcent, once", () =>
      Effect.gen(function* () {
        const tiny = Pricing.fromTable({ m: { input: "0.00000001", output: "0.00000001" } })
        expect(yield* tiny.price(call("m", Usage.make(1, 1)))).toEqual(Amount.usdMicrocents(1))
        expect(yield* tiny.price(call("m", Usage.make(million, million)))).toEqual(Amount.usdMicrocents(2))
        expect(yield* tiny.price(call("m", Usage.make(0, 0)))).toEqual(Amount.usdMicrocents(0))
      })
    )

    it.effect("reads numbers with 15 significant digits", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ m: { input: 0.1 + 0.2, output: 1e-7 } })
        expect(yield* some.price(call("m", Usage.make(million, 10 * million)))).toEqual(Amount.usd("0.300001"))
      })
    )

    it.effect.each<readonly [string | undefined, string]>([
      [undefined, "11"],
      ["default", "11"],
      ["standard", "11"],
      ["on_demand", "11"],
      ["auto", "11"],
      ["priority", "22"],
      ["Priority", "22"],
      ["flex", "5.5"],
      ["batch", "11"]
    ])("charges the prices of the tier %s", ([serviceTier, dollars]) =>
      Effect.gen(function* () {
        const usage = Usage.make(million, million)
        expect(yield* prices.price(call("m", usage, { serviceTier }))).toEqual(Amount.usd(dollars))
      })
    )

    it.effect("refuses a tier without a price, or charges the regular prices", () =>
      Effect.gen(function* () {
        const tiered = call("plain", Usage.make(million, 0), { serviceTier: "priority" })
        expect(yield* Effect.flip(prices.price(tiered))).toEqual(
          new Pricing.UnknownPrice({ provider: "openai", model: "plain", dimension: "tiers.priority" })
        )
        const some = Pricing.fromTable({ plain }, { unknownDimension: "base" })
        expect(yield* some.price(tiered)).toEqual(Amount.usd(1))
      })
    )

    it.effect("charges the prices of a long context for all tokens above its limit", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({
          m: { ...plain, longContext: { above: 200_000, input: 2, output: 15 }, tiers: { priority: 2 } }
        })
        expect(yield* some.price(call("m", Usage.make(200_000, 0)))).toEqual(Amount.usd("0.2"))
        expect(yield* some.price(call("m", Usage.make(200_001, 100)))).toEqual(Amount.usd("0.401502"))
        expect(yield* some.price(call("m", Usage.make(300_000, 0), { serviceTier: "priority" }))).toEqual(
          Amount.usd("1.2")
        )
      })
    )

    it.effect("charges a price for each request", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ m: { ...plain, requests: 5 } })
        expect(yield* some.price(call("m", Usage.make(0, 0)))).toEqual(Amount.usd("0.005"))
      })
    )

    it.effect("finds the price of a tool under every name of it", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ m: { ...plain, tools: { web_search_20250305: 10 } } })
        for (const tool of ["web_search", "web_search_preview", "OpenAiWebSearch", "openai.web_search"]) {
          const usage = { ...Usage.make(0, 0), toolCalls: { [tool]: 1 } }
          expect(yield* some.price(call("m", usage))).toEqual(Amount.usd("0.01"))
        }
      })
    )

    it.each<readonly [string, Pricing.Prices]>([
      ["a negative price", { input: "-1", output: "1" }],
      ["a price that isn't finite", { input: NaN, output: Infinity }],
      ["a price with a comma", { input: "1,25", output: "1" }],
      ["an empty price", { input: "", output: "1" }],
      ["a negative factor", { ...plain, tiers: { priority: -2 } }],
      ["a price of a tool with a unit", { ...plain, tools: { web_search: "$10" } }],
      ["a limit of the long context that isn't a count", { ...plain, longContext: { ...plain, above: -1 } }]
    ])("throws a RangeError for %s", (_name, invalid) => {
      expect(() => Pricing.fromTable({ m: invalid })).toThrow(RangeError)
      expect(() => Pricing.fromTable({}, { fallback: invalid })).toThrow(RangeError)
    })

    it.each([-1, 0.5, NaN])("throws a RangeError for a toolCallsPerRequest of %s", (toolCallsPerRequest) => {
      expect(() => Pricing.fromTable({}, { toolCallsPerRequest })).toThrow(RangeError)
    })
  })

  describe("the price of a name", () => {
    const at = (dollars: number): Pricing.Prices => ({ input: dollars, output: dollars })
    const table = {
      "gpt-4": at(4),
      "openai:gpt-5": at(5),
      "gpt-5": at(55),
      "gpt-4-0613": at(6),
      "claude-3-5-haiku": at(7)
    }
    const prices = Pricing.fromTable(table)
    const one = Usage.make(million, 0)

    it.effect.each<readonly [string, number]>([
      ["gpt-4", 4],
      ["gpt-4-0314", 4],
      ["gpt-4-0613", 6],
      ["gpt-4-2024-08-06", 4],
      ["gpt-4-20240806", 4],
      ["gpt-4-240806", 4],
      ["gpt-4-2407", 4],
      ["gpt-4-05-20", 4],
      ["gpt-4-08-2024", 4],
      ["gpt-4-2024-02-29", 4],
      ["gpt-4@20241022", 4],
      ["claude-3-5-haiku@20241022", 7],
      ["claude-3-5-haiku-20241022-v1:0", 7],
      ["gpt-5-2026-01-31", 5]
    ])("%s is found", ([model, dollars]) =>
      Effect.gen(function* () {
        expect(yield* prices.price(call(model, one))).toEqual(Amount.usd(dollars))
      })
    )

    it.effect.each([
      "gpt-4-32k",
      "gpt-4-32k-0613",
      "gpt-4-1106-preview",
      "gpt-4-turbo-2024-04-09",
      "gpt-4o",
      "gpt-4o-2024-08-06",
      "gpt-4.1",
      "gpt-4-5",
      "gpt-4-002",
      "gpt-4-1350",
      "gpt-4-2024-13-01",
      "gpt-4-2023-02-29",
      "gpt-4-0230",
      "gpt-4-1",
      "gpt-4-128000",
      "gpt-4-latest",
      "gpt-4:latest",
      "gpt-4-v1:0",
      "gpt-4-",
      "gpt-40613",
      "GPT-4",
      "__proto__",
      "constructor"
    ])("%s is unknown", (model) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(prices.price(call(model, one)))).toEqual(
          new Pricing.UnknownModel({ provider: "openai", model })
        )
        expect(yield* Effect.flip(prices.maximum(request(model)))).toEqual(
          new Pricing.UnknownModel({ provider: "openai", model })
        )
      })
    )

    it.effect("of another provider isn't that of a qualified key", () =>
      Effect.gen(function* () {
        expect(yield* prices.price(call("gpt-5", one, { provider: "azure" }))).toEqual(Amount.usd(55))
        expect(yield* prices.price(call("gpt-5", one, { provider: undefined }))).toEqual(Amount.usd(55))
      })
    )

    it.effect.each<readonly [string, string | undefined, number]>([
      ["gpt-5", "gpt-4", 5],
      ["gpt-5-2026-01-31", "gpt-4", 5],
      ["router-choice-7", "gpt-4", 4],
      ["router-choice-7", "gpt-4-0314", 4],
      ["router-choice-7", "auto", 99],
      ["router-choice-7", undefined, 99]
    ])("%s for the requested model %s comes before the fallback", ([model, requestedModel, dollars]) =>
      Effect.gen(function* () {
        const some = Pricing.fromTable(table, { fallback: at(99) })
        expect(yield* some.price(call(model, one, { requestedModel }))).toEqual(Amount.usd(dollars))
      })
    )
  })

  describe("maximum", () => {
    const prices = Pricing.fromTable({ m: full, plain })

    it.effect("is that of the most expensive input, output, tier and calls of the tools", () =>
      Effect.gen(function* () {
        const found = yield* prices.maximum(request("m", { providerTools: ["web_search", "file_search"] }))
        // 1,000 tokens at 64 and 128 dollars per million; 10 calls at 10 and 2.5 dollars per thousand.
        expect(found).toEqual(Amount.usd("0.317"))
      })
    )

    it.effect("is that of the requested tier", () =>
      Effect.gen(function* () {
        expect(yield* prices.maximum(request("m", { serviceTier: "flex" }))).toEqual(Amount.usd("0.0055"))
        expect(yield* prices.maximum(request("m", { serviceTier: "default" }))).toEqual(Amount.usd("0.096"))
        expect(yield* prices.maximum(request("m", { serviceTier: "auto" }))).toEqual(Amount.usd("0.192"))
        expect(yield* prices.maximum(request("plain", { serviceTier: "batch" }))).toEqual(Amount.usd("0.011"))
      })
    )

    it.effect("refuses a tool or a tier without a price, unless unknownDimension is base", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ plain }, { unknownDimension: "base" })
        for (const [options, dimension] of [
          [{ providerTools: ["web_search_20250305"] }, "tools.web_search"],
          [{ serviceTier: "priority" }, "tiers.priority"]
        ] as const) {
          expect(yield* Effect.flip(prices.maximum(request("plain", options)))).toEqual(
            new Pricing.UnknownPrice({ provider: "openai", model: "plain", dimension })
          )
          expect(yield* some.maximum(request("plain", options))).toEqual(Amount.usd("0.011"))
        }
      })
    )

    it.effect("allows for toolCallsPerRequest calls of each tool", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({ m: { ...plain, tools: { web_search: 10 } } }, { toolCallsPerRequest: 2 })
        const searching = request("m", { inputTokens: 0, outputTokens: 0, providerTools: ["web_search"] })
        expect(yield* some.maximum(searching)).toEqual(Amount.usd("0.02"))
      })
    )

    it.effect("of prices made from a function is that of plain tokens and ten calls of each tool", () =>
      Effect.gen(function* () {
        const some = Pricing.make(({ usage }) =>
          Effect.succeed(Amount.usdMicrocents(Usage.total(usage) + (usage.toolCalls["web_search"] ?? 0)))
        )
        expect(yield* some.maximum(request("m", { providerTools: ["web_search"] }))).toEqual(
          Amount.usdMicrocents(2_010)
        )
      })
    )

    const Count = Schema.Literals([0, 1, 2, 7, 99, 1_000, 250_000])
    const Price = Schema.Literals(["0", "0.00000001", "0.1", "1", "3.33333333", "75"])
    const Kinds = Schema.Struct({
      cacheRead: Schema.optional(Price),
      cacheWrite: Schema.optional(Price),
      cacheWriteHour: Schema.optional(Price),
      reasoning: Schema.optional(Price),
      inputAudio: Schema.optional(Price),
      inputImage: Schema.optional(Price),
      outputAudio: Schema.optional(Price),
      outputImage: Schema.optional(Price),
      input: Price,
      output: Price
    })
    const Details = Schema.Struct({
      cacheReadTokens: Count,
      cacheWriteTokens: Count,
      cacheWriteHourTokens: Count,
      inputAudioTokens: Count,
      inputImageTokens: Count,
      reasoningTokens: Count,
      outputAudioTokens: Count,
      outputImageTokens: Count
    })
    /** All tokens of one kind, or some of each. */
    const Used = Schema.Union([
      Details,
      Schema.Struct({ cacheReadTokens: Schema.Literals([2 ** 40]) }),
      Schema.Struct({ cacheWriteTokens: Schema.Literals([2 ** 40]), cacheWriteHourTokens: Count }),
      Schema.Struct({ inputAudioTokens: Schema.Literals([2 ** 40]), outputAudioTokens: Schema.Literals([2 ** 40]) }),
      Schema.Struct({ inputImageTokens: Schema.Literals([2 ** 40]), outputImageTokens: Schema.Literals([2 ** 40]) }),
      Schema.Struct({ reasoningTokens: Schema.Literals([2 ** 40]) }),
      Schema.Struct({})
    ])
    const Tier = Schema.UndefinedOr(Schema.Literals(["auto", "default", "flex", "batch", "priority", "fast"]))

    it.effect.prop(
      "is at least the price of every usage within the request",
      {
        prices: Kinds,
        long: Schema.optional(Kinds),
        fast: Kinds,
        priority: Schema.Literals(["0.5", "1", "2.5"]),
        input: Count,
        output: Count,
        usedPart: Schema.Literals([1, 0.5, 0]),
        details: Used,
        searches: Schema.Literals([0, 1, 3]),
        requestedTier: Schema.UndefinedOr(Schema.Literals(["auto", "default", "flex", "priority", "fast"])),
        tier: Tier,
        unknownDimension: Schema.Literals(["base", "refuse", "base"])
      },
      (given) =>
        Effect.gen(function* () {
          const table = Pricing.fromTable(
            {
              m: {
                ...given.prices,
                longContext: given.long === undefined ? undefined : { ...given.long, above: 1_000 },
                tiers: { fast: given.fast, priority: given.priority },
                tools: { web_search: "0.5" },
                requests: "0.001"
              }
            },
            { unknownDimension: given.unknownDimension, toolCallsPerRequest: 3 }
          )
          const isKnown = given.requestedTier !== undefined && given.requestedTier !== "auto"
          const highest = yield* table.maximum(
            request("m", {
              inputTokens: given.input,
              outputTokens: given.output,
              providerTools: ["web_search"],
              serviceTier: given.requestedTier
            })
          )
          const used = Usage.make(given.input * given.usedPart, given.output * given.usedPart, {
            ...given.details,
            toolCalls: { web_search: given.searches }
          })
          const serviceTier = isKnown ? given.requestedTier : given.tier
          const price = yield* Effect.result(table.price(call("m", used, { serviceTier })))
          if (price._tag === "Success") expect(price.success.amount).toBeLessThanOrEqual(highest.amount)
          else expect(given.unknownDimension).toBe("refuse")
        }),
      { arbitrary: { runs: 2_000 }, timeout: 60_000 }
    )

    it.effect.prop(
      "of a usage that is reported twice is at least that of each report",
      { one: Details, two: Details, input: Count, output: Count, otherInput: Count, otherOutput: Count },
      ({ input, one, otherInput, otherOutput, output, two }) =>
        Effect.gen(function* () {
          const first = Usage.make(input, output, one)
          const second = Usage.make(otherInput, otherOutput, two)
          const both = yield* prices.price(call("m", Usage.larger(first, second)))
          for (const usage of [first, second]) {
            expect((yield* prices.price(call("m", usage))).amount).toBeLessThanOrEqual(both.amount)
          }
        }),
      { arbitrary: { runs: 1_000 }, timeout: 60_000 }
    )
  })

  describe("reportedCost", () => {
    const cost = (usage: unknown) => Pricing.reportedCost(finish({ openrouter: { usage } }))

    it.each<readonly [string, unknown, string]>([
      ["OpenRouter's cost", { cost: 0.00123 }, "0.00123"],
      ["a cost of 0", { cost: 0 }, "0"],
      ["a cost below a microcent", { cost: 1e-12 }, "0.00000001"],
      [
        "the cost alone for a call with OpenRouter's key",
        { cost: 0.5, is_byok: false, cost_details: { upstream_inference_cost: 0.45 } },
        "0.5"
      ],
      [
        "the fee and the upstream cost for a call with the user's key",
        { cost: 0.1, is_byok: true, cost_details: { upstream_inference_cost: 0.2 } },
        "0.3"
      ],
      ["the upstream cost without a fee", { is_byok: true, cost_details: { upstream_inference_cost: 0.2 } }, "0.2"],
      [
        "the parts of the upstream cost",
        {
          cost: 0.1,
          is_byok: true,
          cost_details: { upstream_inference_prompt_cost: 0.2, upstream_inference_completions_cost: 0.3 }
        },
        "0.6"
      ],
      ["a fee that is below the upstream cost", { cost: 0.01, cost_details: { upstream_inference_cost: 0.2 } }, "0.21"],
      ["a cost that includes the upstream cost", { cost: 0.2, cost_details: { upstream_inference_cost: 0.2 } }, "0.2"],
      ["names in camel case", { cost: 0.1, isByok: true, costDetails: { upstreamInferenceCost: 0.2 } }, "0.3"]
    ])("returns %s", (_name, usage, dollars) => {
      expect(cost(usage)).toEqual(Amount.usd(dollars))
    })

    it.each<readonly [string, unknown]>([
      ["no cost", {}],
      ["a negative cost", { cost: -1 }],
      ["a cost that isn't a number", { cost: "0.1" }],
      ["a fee without the upstream cost", { cost: 0.01, is_byok: true }],
      [
        "a fee with an upstream cost of null",
        { cost: 0.01, is_byok: true, cost_details: { upstream_inference_cost: null } }
      ],
      ["no usage", null]
    ])("is undefined for %s", (_name, usage) => {
      expect(cost(usage)).toBeUndefined()
    })

    it("is undefined for a cost that isn't finite and for metadata that throws", () => {
      const hostile = finish({})
      Reflect.set(hostile.metadata, "openrouter", { usage: { cost: NaN } })
      expect(Pricing.reportedCost(hostile)).toBeUndefined()
      Object.defineProperty(hostile, "metadata", {
        get: () => {
          throw new Error("hostile")
        }
      })
      expect(Pricing.reportedCost(hostile)).toBeUndefined()
      expect(Pricing.serviceTier(hostile)).toBeUndefined()
    })
  })

  describe("serviceTier", () => {
    it.each<readonly [unknown, string | undefined]>([
      [{}, undefined],
      [{ openai: { serviceTier: "flex" } }, "flex"],
      [{ openai: { service_tier: "Priority" } }, "priority"],
      [{ openai: { serviceTier: null } }, undefined],
      [{ anthropic: { usage: { service_tier: "batch" } } }, "batch"],
      [{ anthropic: { usage: { service_tier: "standard", speed: "fast" } } }, "fast"],
      [{ groq: { service_tier: "on_demand" } }, "on_demand"],
      [{ openrouter: { usage: { service_tier: "flex" } } }, "flex"],
      [{ bedrock: { serviceTier: { type: "priority" } } }, "priority"],
      [{ google: { usageMetadata: { trafficType: "ON_DEMAND" } } }, "on_demand"],
      [{ google: { usageMetadata: { trafficType: "ON_DEMAND_FLEX" } } }, "flex"],
      [{ google: { usageMetadata: { trafficType: "PROVISIONED_THROUGHPUT" } } }, "provisioned_throughput"],
      [{ azure: { serviceTier: "default" }, openai: { serviceTier: "priority" } }, "priority"]
    ])("of %j is %s", (metadata, tier) => {
      expect(Pricing.serviceTier(finish(metadata))).toBe(tier)
    })
  })

  describe("fromDollars", () => {
    it.each<readonly [number, bigint]>([
      [0, 0n],
      [-0, 0n],
      [-1, 0n],
      [0.1 + 0.2, 30_000_000n],
      [1.005, 100_500_000n],
      [0.000000011, 2n],
      [1e-30, 1n],
      [Number.MIN_VALUE, 1n],
      [123_456_789, 12_345_678_900_000_000n],
      [92_233_720_369, 2n ** 63n - 1n],
      [Number.MAX_VALUE, 2n ** 63n - 1n],
      [Infinity, 2n ** 63n - 1n],
      [-Infinity, 0n]
    ])("of %s are %s microcents", (dollars, microcents) => {
      expect(Pricing.fromDollars(dollars).amount).toBe(microcents)
    })

    it("throws a RangeError for NaN", () => {
      expect(() => Pricing.fromDollars(NaN)).toThrow(RangeError)
    })
  })

  describe("UnknownPrice", () => {
    it("names the dimension and the model", () => {
      const error = new Pricing.UnknownPrice({ provider: "openai", model: "gpt-5", dimension: "inputAudio" })
      expect(error.message).toBe(
        `No price is known for inputAudio of the model openai:gpt-5: add it to the model's prices, or choose unknownDimension: "base"`
      )
    })

    it("is a cause of an AiError", () => {
      const error = new Pricing.UnknownPrice({ provider: undefined, model: "gpt-5", dimension: "tools.web_search" })
      expect(CyclesAiError.causeOf(CyclesAiError.fromBudget("generateText", error))).toEqual(error)
    })
  })
})
