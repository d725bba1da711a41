/**
 * Usage in the shapes that provider packages and providers report.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Usage from "../src/Usage.ts"

type Finish = Parameters<typeof Usage.fromFinish>[0]

const decodeUsage = Schema.decodeUnknownSync(Response.Usage)
const decodeMetadata = Schema.decodeUnknownSync(Response.ProviderMetadata)

const finish = (usage: unknown, metadata: unknown = {}): Finish => ({
  usage: decodeUsage(usage),
  metadata: decodeMetadata(metadata)
})

const none = { inputTokens: {}, outputTokens: {} }
const counted = Usage.make(11, 7)

describe("Usage", () => {
  describe("make", () => {
    it("turns invalid counts into 0, rounds fractions up and limits large counts", () => {
      expect(
        Usage.make(-1, NaN, { cacheReadTokens: 1.2, reasoningTokens: Infinity, toolCalls: { web_search: -3 } })
      ).toEqual({
        ...Usage.make(0, 0),
        cacheReadTokens: 2,
        reasoningTokens: 2 ** 40,
        toolCalls: { web_search: 0 }
      })
    })

    it("names a tool without its provider and version", () => {
      const { toolCalls } = Usage.make(0, 0, {
        toolCalls: { web_search_20250305: 1, OpenAiWebSearch: 3, "anthropic.web_fetch_20250910": 2, google_search: 2 }
      })
      expect(toolCalls).toEqual({ web_search: 3, web_fetch: 2 })
    })
  })

  describe("fromFinish", () => {
    const reported: ReadonlyArray<readonly [string, unknown, Usage.Usage]> = [
      [
        "OpenAI Responses, whose totals include cached input and reasoning",
        {
          inputTokens: { uncached: 36, total: 1_060, cacheRead: 1_024, cacheWrite: 0 },
          outputTokens: { total: 300, text: 44, reasoning: 256 }
        },
        Usage.make(1_060, 300, { cacheReadTokens: 1_024, reasoningTokens: 256 })
      ],
      [
        "Anthropic, with cache writes and without reasoning",
        { inputTokens: { uncached: 20, total: 2_070, cacheRead: 50, cacheWrite: 2_000 }, outputTokens: { total: 90 } },
        Usage.make(2_070, 90, { cacheReadTokens: 50, cacheWriteTokens: 2_000 })
      ],
      [
        "parts without totals",
        { inputTokens: { uncached: 20, cacheRead: 50 }, outputTokens: { text: 5, reasoning: 6 } },
        Usage.make(70, 11, { cacheReadTokens: 50, reasoningTokens: 6 })
      ],
      [
        "input that was read from a cache completely",
        { inputTokens: { uncached: 0, cacheRead: 50 }, outputTokens: { total: 5 } },
        Usage.make(50, 5, { cacheReadTokens: 50 })
      ],
      [
        "a total that leaves out the cache, as the sum of the parts",
        { inputTokens: { uncached: 20, total: 20, cacheRead: 50 }, outputTokens: { total: 5 } },
        Usage.make(70, 5, { cacheReadTokens: 50 })
      ],
      ["a missing input, from the count", { inputTokens: {}, outputTokens: { total: 5 } }, Usage.make(11, 5)],
      ["an input of 0, from the count", { inputTokens: { total: 0 }, outputTokens: { total: 5 } }, Usage.make(11, 5)],
      [
        "a negative input, from the count",
        { inputTokens: { total: -5 }, outputTokens: { total: 3 } },
        Usage.make(11, 3)
      ],
      ["a missing output, from the count", { inputTokens: { total: 5 }, outputTokens: {} }, Usage.make(5, 7)],
      ["an output of 0, from the count", { inputTokens: { total: 5 }, outputTokens: { total: 0 } }, Usage.make(5, 7)],
      [
        "a negative output, from the count",
        { inputTokens: { total: 5 }, outputTokens: { total: -1 } },
        Usage.make(5, 7)
      ],
      [
        "cache reads alone, with at least the counted input",
        { inputTokens: { cacheRead: 4 }, outputTokens: {} },
        Usage.make(11, 7, { cacheReadTokens: 4 })
      ],
      [
        "more reasoning than output, added to the output",
        { inputTokens: { total: 5 }, outputTokens: { total: 100, reasoning: 300 } },
        Usage.make(5, 400, { reasoningTokens: 300 })
      ],
      [
        "text and reasoning that exceed the total, as their sum",
        { inputTokens: { total: 5 }, outputTokens: { total: 100, text: 100, reasoning: 50 } },
        Usage.make(5, 150, { reasoningTokens: 50 })
      ],
      [
        "output of reasoning only, which is part of the total",
        { inputTokens: { total: 5 }, outputTokens: { total: 256, text: 0, reasoning: 256 } },
        Usage.make(5, 256, { reasoningTokens: 256 })
      ],
      [
        "a very large count, limited",
        { inputTokens: { total: Number.MAX_SAFE_INTEGER }, outputTokens: { total: 1 } },
        Usage.make(2 ** 40, 1)
      ]
    ]

    it.each(reported)("reads %s", (_name, usage, expected) => {
      expect(Usage.fromFinish(finish(usage), counted)).toEqual(expected)
    })

    it.each([
      ["no counts", none],
      ["0 and 0", { inputTokens: { total: 0 }, outputTokens: { total: 0 } }],
      [
        "zeros in every part",
        { inputTokens: { uncached: 0, total: 0, cacheRead: 0 }, outputTokens: { text: 0, reasoning: 0 } }
      ],
      ["negative counts", { inputTokens: { total: -1, uncached: -4 }, outputTokens: { total: -1, text: -1 } }]
    ])("returns undefined for %s", (_name, usage) => {
      expect(Usage.fromFinish(finish(usage), counted)).toBeUndefined()
    })

    it("keeps an output of 0 if no output was counted", () => {
      const usage = { inputTokens: { total: 5 }, outputTokens: { total: 0 } }
      expect(Usage.fromFinish(finish(usage), Usage.make(11, 0))).toEqual(Usage.make(5, 0))
    })

    const plain = { inputTokens: { total: 100 }, outputTokens: { total: 50 } }
    const inMetadata: ReadonlyArray<readonly [string, unknown, unknown, Usage.Usage]> = [
      [
        "Anthropic's cache lifetimes and server tools",
        plain,
        {
          anthropic: {
            usage: {
              input_tokens: 20,
              cache_read_input_tokens: 30,
              cache_creation_input_tokens: 50,
              cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 40 },
              output_tokens: 50,
              output_tokens_details: { thinking_tokens: 12 },
              server_tool_use: { web_search_requests: 3, web_fetch_requests: 0 },
              service_tier: "standard"
            }
          }
        },
        Usage.make(100, 50, {
          cacheReadTokens: 30,
          cacheWriteTokens: 50,
          cacheWriteHourTokens: 40,
          reasoningTokens: 12,
          toolCalls: { web_search: 3 }
        })
      ],
      [
        "Anthropic's counts if the part has none",
        none,
        {
          anthropic: {
            usage: {
              input_tokens: 20,
              cache_read_input_tokens: 30,
              cache_creation_input_tokens: null,
              output_tokens: 9
            }
          }
        },
        Usage.make(50, 9, { cacheReadTokens: 30 })
      ],
      [
        "OpenRouter's audio, images and searches",
        plain,
        {
          openrouter: {
            usage: {
              prompt_tokens: 100,
              completion_tokens: 50,
              total_tokens: 150,
              prompt_tokens_details: { cached_tokens: 10, cache_write_tokens: 20, audio_tokens: 30, video_tokens: 4 },
              completion_tokens_details: { reasoning_tokens: 5, audio_tokens: 6, image_tokens: 3, video_tokens: 4 },
              server_tool_use: { web_search_requests: 1 }
            }
          }
        },
        Usage.make(100, 50, {
          cacheReadTokens: 10,
          cacheWriteTokens: 20,
          inputAudioTokens: 30,
          inputImageTokens: 4,
          reasoningTokens: 5,
          outputAudioTokens: 6,
          outputImageTokens: 7,
          toolCalls: { web_search: 1 }
        })
      ],
      [
        "Google's thoughts, which aren't part of the candidates",
        { inputTokens: { total: 100 }, outputTokens: { total: 50, reasoning: 20 } },
        {
          google: {
            usageMetadata: {
              promptTokenCount: 100,
              candidatesTokenCount: 50,
              thoughtsTokenCount: 20,
              toolUsePromptTokenCount: 8,
              cachedContentTokenCount: 16,
              totalTokenCount: 178,
              promptTokensDetails: [
                { modality: "TEXT", tokenCount: 60 },
                { modality: "AUDIO", tokenCount: 30 },
                { modality: "IMAGE", tokenCount: 6 },
                { modality: "VIDEO", tokenCount: 4 }
              ],
              candidatesTokensDetails: [
                { modality: "IMAGE", tokenCount: 30 },
                { modality: "VIDEO", tokenCount: 10 }
              ]
            },
            groundingMetadata: { webSearchQueries: ["a", "b"] }
          }
        },
        Usage.make(108, 70, {
          cacheReadTokens: 16,
          inputAudioTokens: 30,
          inputImageTokens: 10,
          reasoningTokens: 20,
          outputImageTokens: 40,
          toolCalls: { web_search: 2 }
        })
      ],
      [
        "reasoning that only the total of the report includes",
        { inputTokens: { total: 100 }, outputTokens: { total: 50, reasoning: 20 } },
        { xai: { usage: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 170 } } },
        Usage.make(100, 70, { reasoningTokens: 20 })
      ],
      ["the sum alone", none, { local: { usage: { total_tokens: 500 } } }, Usage.make(11, 489)],
      ["a sum below the counted tokens", none, { local: { usage: { total_tokens: 5 } } }, Usage.make(11, 7)],
      [
        "the sum and the input",
        none,
        { local: { usage: { prompt_tokens: 100, total_tokens: 500 } } },
        Usage.make(100, 400)
      ],
      [
        "the sum and the output",
        { inputTokens: {}, outputTokens: { total: 20 } },
        { google: { usageMetadata: { totalTokenCount: 500 } } },
        Usage.make(480, 20)
      ],
      [
        "web searches without token counts",
        none,
        { google: { groundingMetadata: { webSearchQueries: ["a"] } } },
        Usage.make(11, 7, { toolCalls: { web_search: 1 } })
      ]
    ]

    it.each(inMetadata)("reads %s from the metadata", (_name, usage, metadata, expected) => {
      expect(Usage.fromFinish(finish(usage, metadata), counted)).toEqual(expected)
    })

    it("takes the larger number of counted and reported calls of each tool", () => {
      const metadata = { anthropic: { usage: { server_tool_use: { web_search_requests: 3 } } } }
      const calls = Usage.make(11, 7, { toolCalls: { web_search: 1, AnthropicWebFetch: 2 } })
      expect(Usage.fromFinish(finish(plain, metadata), calls)?.toolCalls).toEqual({ web_search: 3, web_fetch: 2 })
    })

    it.each<readonly [string, () => unknown]>([
      ["getters that throw", () => Object.defineProperty({}, "usage", { enumerable: true, get: fail })],
      ["proxies that throw", () => new Proxy({}, { get: fail, ownKeys: fail, has: fail, getPrototypeOf: fail })],
      ["revoked proxies", revoked],
      [
        "values of other types",
        () => ({ usage: "many", usageMetadata: [1], groundingMetadata: { webSearchQueries: 5 } })
      ],
      [
        "lists that aren't lists",
        () => ({ usageMetadata: { promptTokensDetails: { length: 2 ** 31 }, promptTokenCount: {} } })
      ],
      ["a symbol, a bigint and null", () => ({ usage: { prompt_tokens: Symbol("1"), output_tokens: null } })]
    ])("reads usage beside metadata with %s", (_name, make) => {
      const hostile: Finish = { usage: decodeUsage(plain), metadata: {} }
      Reflect.set(hostile.metadata, "provider", make())
      expect(Usage.fromFinish(hostile, counted)).toEqual(Usage.make(100, 50))
    })

    it.each<readonly [string, unknown, number]>([
      ["NaN", NaN, 11],
      ["Infinity", Infinity, 11],
      ["a string", "5", 11],
      ["null", null, 11],
      ["a fraction, rounded up", 4.2, 5],
      ["a bigint", 5n, 5],
      ["-0", -0, 11]
    ])("reads an input of %s", (_name, total, expected) => {
      const raw = finish({ inputTokens: {}, outputTokens: { total: 3 } })
      Reflect.set(raw.usage, "inputTokens", { total })
      expect(Usage.fromFinish(raw, counted)).toEqual(Usage.make(expected, 3))
      expect(Usage.hasInput(raw)).toBe(expected === 5)
    })

    it("returns undefined for a usage whose properties throw", () => {
      const hostile = finish(none)
      Object.defineProperty(hostile, "usage", { get: fail })
      Object.defineProperty(hostile, "metadata", { get: fail })
      expect(Usage.fromFinish(hostile, counted)).toBeUndefined()
      expect(Usage.hasInput(hostile)).toBe(false)
    })

    const Small = Schema.Literals([-1, 0, 1, 2, 5, 100, 2 ** 50])
    const Counts = Schema.Struct({
      uncached: Schema.optional(Small),
      total: Schema.optional(Small),
      cacheRead: Schema.optional(Small),
      cacheWrite: Schema.optional(Small)
    })
    const Outputs = Schema.Struct({
      total: Schema.optional(Small),
      text: Schema.optional(Small),
      reasoning: Schema.optional(Small)
    })

    it.prop(
      "returns totals that include their parts and every reported count",
      { inputTokens: Counts, outputTokens: Outputs },
      (usage) => {
        const found = Usage.fromFinish(finish(usage), counted)
        const inputs = [usage.inputTokens.total, usage.inputTokens.uncached]
        const outputs = [usage.outputTokens.total, usage.outputTokens.text]
        const all = [
          ...inputs,
          ...outputs,
          usage.inputTokens.cacheRead,
          usage.inputTokens.cacheWrite,
          usage.outputTokens.reasoning
        ]
        expect(found === undefined).toBe(all.every((count) => (count ?? 0) <= 0))
        if (found === undefined) return
        expect(found.inputTokens).toBeGreaterThanOrEqual(
          found.cacheReadTokens + found.cacheWriteTokens > 2 ** 40
            ? 2 ** 40
            : found.cacheReadTokens + found.cacheWriteTokens
        )
        expect(found.outputTokens).toBeGreaterThanOrEqual(found.reasoningTokens)
        for (const count of inputs) expect(found.inputTokens).toBeGreaterThanOrEqual(Math.min(count ?? 0, 2 ** 40))
        for (const count of outputs) expect(found.outputTokens).toBeGreaterThanOrEqual(Math.min(count ?? 0, 2 ** 40))
        if (!Usage.hasInput(finish(usage))) expect(found.inputTokens).toBeGreaterThanOrEqual(counted.inputTokens)
      },
      { arbitrary: { runs: 500 }, timeout: 60_000 }
    )
  })

  describe("hasInput", () => {
    it.each([
      ["a total", { inputTokens: { total: 5 }, outputTokens: {} }, {}, true],
      ["uncached input", { inputTokens: { uncached: 5 }, outputTokens: {} }, {}, true],
      ["a total in the metadata", none, { openai: { usage: { prompt_tokens: 5 } } }, true],
      ["a total of 0", { inputTokens: { total: 0 }, outputTokens: { total: 5 } }, {}, false],
      ["a negative total", { inputTokens: { total: -5 }, outputTokens: { total: 5 } }, {}, false],
      ["cache reads alone", { inputTokens: { cacheRead: 5 }, outputTokens: {} }, {}, false],
      ["no input", none, {}, false]
    ])("for %s", (_name, usage, metadata, expected) => {
      expect(Usage.hasInput(finish(usage, metadata))).toBe(expected)
    })
  })

  describe("larger", () => {
    it("takes the larger count of each kind and the calls of each tool", () => {
      const one = Usage.make(10, 5, { cacheWriteTokens: 4, toolCalls: { web_search: 1, x_search: 4 } })
      const two = Usage.make(8, 9, { reasoningTokens: 2, toolCalls: { web_search: 3 } })
      expect(Usage.larger(one, two)).toEqual(
        Usage.make(10, 9, { cacheWriteTokens: 4, reasoningTokens: 2, toolCalls: { web_search: 3, x_search: 4 } })
      )
    })

    it("keeps the cache reads of a report that grows", () => {
      const first = Usage.make(20, 1)
      const last = Usage.make(70, 9, { cacheReadTokens: 50 })
      expect(Usage.larger(first, last)).toEqual(last)
    })

    it("doesn't let a contradictory report lower the input at the full price", () => {
      const plain = Usage.make(100, 1)
      const cached = Usage.make(100, 1, { cacheReadTokens: 90 })
      expect(Usage.larger(plain, cached)).toEqual(plain)
    })
  })
})

function fail(): never {
  throw new Error("hostile")
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
