import { describe, expect, it } from "@effect/vitest"
import * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import { Amount } from "effect-cycles"
import * as GenaiPrices from "../src/GenaiPrices.ts"
import * as Pricing from "../src/Pricing.ts"
import * as Usage from "../src/Usage.ts"

const call = (model: string, usage: Usage.Usage, provider: string | undefined = "openai"): Pricing.Call => ({
  provider,
  model,
  usage,
  serviceTier: undefined,
  atMs: Date.UTC(2026, 10, 1)
})

describe("Pricing", () => {
  describe("fromTable", () => {
    const prices = Pricing.fromTable({
      "openai:gpt-5": { input: "1.25", output: 10, cacheRead: "0.125", cacheWrite: "1.5", reasoning: "20" },
      "gpt-5-mini": { input: "0.00000001", output: "0.00000001" }
    })

    it.effect("prices each kind of token, exactly", () =>
      Effect.gen(function* () {
        const usage = {
          inputTokens: 1_000,
          cacheReadTokens: 600,
          cacheWriteTokens: 100,
          outputTokens: 50,
          reasoningTokens: 20
        }
        // 300 x 125 + 600 x 12.5 + 100 x 150 + 30 x 1,000 + 20 x 2,000 microcents
        expect(yield* prices.price(call("gpt-5", usage))).toEqual(Amount.usdMicrocents(130_000))
      })
    )

    it.effect("rounds up to a whole microcent, once", () =>
      Effect.gen(function* () {
        expect(yield* prices.price(call("gpt-5-mini", Usage.make(1, 1)))).toEqual(Amount.usdMicrocents(1))
        expect(yield* prices.price(call("gpt-5-mini", Usage.make(0, 0)))).toEqual(Amount.usdMicrocents(0))
      })
    )

    it.effect("prices a dated model as the model, and no other that begins the same", () =>
      Effect.gen(function* () {
        const dated = yield* prices.price(call("gpt-5-2026-01-31", Usage.make(1_000, 0)))
        expect(dated).toEqual(Amount.usdMicrocents(125_000))
        expect(yield* Effect.flip(prices.price(call("gpt-5-turbo", Usage.make(1, 0))))).toEqual(
          new Pricing.UnknownModel({ provider: "openai", model: "gpt-5-turbo" })
        )
      })
    )

    it.effect("takes the fallback for a model that it doesn't know", () =>
      Effect.gen(function* () {
        const some = Pricing.fromTable({}, { fallback: { input: 10, output: 50 } })
        expect(yield* some.price(call("new", Usage.make(1, 1)))).toEqual(Amount.usdMicrocents(6_000))
      })
    )

    it("refuses a price that is no amount of dollars", () => {
      expect(() => Pricing.fromTable({ m: { input: "-1", output: "1" } })).toThrow(RangeError)
    })
  })

  describe("reportedCost", () => {
    const finish = (metadata: Response.ProviderMetadata): Response.FinishPart =>
      Response.makePart("finish", {
        reason: "stop",
        usage: new Response.Usage({ inputTokens: {}, outputTokens: {} }),
        metadata,
        response: undefined
      })

    it("reads what OpenRouter reports", () => {
      const cost = Pricing.reportedCost(finish({ openrouter: { usage: { cost: 0.00123 } } }))
      expect(cost).toEqual(Amount.usdMicrocents(123_000))
    })

    it("is nothing where nothing or no amount is reported", () => {
      expect(Pricing.reportedCost(finish({}))).toBeUndefined()
      expect(Pricing.reportedCost(finish({ openrouter: { usage: { cost: -1 } } }))).toBeUndefined()
    })
  })

  describe("GenaiPrices", () => {
    it.effect("prices a model with its cache reads", () =>
      Effect.gen(function* () {
        const prices = GenaiPrices.make()
        const plain = yield* prices.price(call("gpt-5", Usage.make(1_000_000, 0)))
        expect(plain).toEqual(Amount.usd("1.25"))
        const cached = yield* prices.price(call("gpt-5", { ...Usage.make(1_000_000, 0), cacheReadTokens: 1_000_000 }))
        expect(cached).toEqual(Amount.usd("0.125"))
      })
    )

    it.effect("doesn't know every model", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(GenaiPrices.make().price(call("homemade-1", Usage.make(1, 1), "nobody")))
        expect(error._tag).toBe("UnknownModel")
      })
    )
  })
})
