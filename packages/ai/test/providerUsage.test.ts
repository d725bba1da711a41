import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Usage from "../src/Usage.ts"

const make = Usage.make

describe("Usage", () => {
  describe("fromOpenAi", () => {
    it.each<readonly [string, Parameters<typeof Usage.fromOpenAi>[0], Usage.Usage | undefined]>([
      [
        "chat completions: cached input and reasoning are parts of the totals",
        {
          prompt_tokens: 1_060,
          completion_tokens: 300,
          total_tokens: 1_360,
          prompt_tokens_details: { cached_tokens: 1_024, cache_write_tokens: 30, audio_tokens: 2, image_tokens: 3 },
          completion_tokens_details: { reasoning_tokens: 256, audio_tokens: 4 }
        },
        make(1_060, 300, {
          cacheReadTokens: 1_024,
          cacheWriteTokens: 30,
          inputAudioTokens: 2,
          inputImageTokens: 3,
          reasoningTokens: 256,
          outputAudioTokens: 4
        })
      ],
      [
        "the Responses API",
        {
          input_tokens: 20,
          output_tokens: 30,
          total_tokens: 50,
          input_tokens_details: { cached_tokens: 8, cache_write_tokens: 5 },
          output_tokens_details: { reasoning_tokens: 12 }
        },
        make(20, 30, { cacheReadTokens: 8, cacheWriteTokens: 5, reasoningTokens: 12 })
      ],
      [
        "OpenRouter's video tokens and web searches",
        {
          prompt_tokens: 20,
          completion_tokens: 30,
          prompt_tokens_details: { image_tokens: 3, video_tokens: 4 },
          completion_tokens_details: { image_tokens: 5, video_tokens: 6 },
          server_tool_use: { web_search_requests: 1 }
        },
        make(20, 30, { inputImageTokens: 7, outputImageTokens: 11, toolCalls: { web_search: 1 } })
      ],
      [
        "a server without details",
        { prompt_tokens: 20, completion_tokens: 30, prompt_tokens_details: null, completion_tokens_details: null },
        make(20, 30)
      ],
      [
        "reasoning in addition to completion_tokens, by the total",
        {
          prompt_tokens: 20,
          completion_tokens: 30,
          total_tokens: 62,
          completion_tokens_details: { reasoning_tokens: 12 }
        },
        make(20, 42, { reasoningTokens: 12 })
      ],
      [
        "reasoning in addition to completion_tokens, because it is larger",
        { prompt_tokens: 20, completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 12 } },
        make(20, 17, { reasoningTokens: 12 })
      ],
      [
        "cached tokens in addition to prompt_tokens",
        { prompt_tokens: 4, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 100 } },
        make(104, 5, { cacheReadTokens: 100 })
      ],
      ["an embedding", { prompt_tokens: 8, total_tokens: 8 }, make(8, 0)],
      ["a total alone, as output", { total_tokens: 50 }, make(0, 50)],
      ["a total below the sum", { prompt_tokens: 20, completion_tokens: 30, total_tokens: 3 }, make(20, 30)],
      ["only input", { prompt_tokens: 20, completion_tokens: null }, make(20, 0)],
      ["nothing", {}, undefined],
      ["null", null, undefined],
      ["0 and 0", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, undefined],
      ["negative counts and NaN", { prompt_tokens: -1, completion_tokens: Number.NaN }, undefined],
      ["a fraction, rounded up", { prompt_tokens: 1.2, completion_tokens: 1 }, make(2, 1)]
    ])("reads %s", (_name, usage, expected) => {
      expect(Usage.fromOpenAi(usage)).toEqual(expected)
    })
  })

  describe("fromAnthropic", () => {
    it.each<readonly [string, Parameters<typeof Usage.fromAnthropic>[0], Usage.Usage | undefined]>([
      [
        "a message: the input is the sum of three counts",
        {
          input_tokens: 12,
          cache_read_input_tokens: 8,
          cache_creation_input_tokens: 2_000,
          cache_creation: { ephemeral_5m_input_tokens: 500, ephemeral_1h_input_tokens: 1_500 },
          output_tokens: 30,
          output_tokens_details: { thinking_tokens: 12 },
          server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 }
        },
        make(2_020, 30, {
          cacheReadTokens: 8,
          cacheWriteTokens: 2_000,
          cacheWriteHourTokens: 1_500,
          reasoningTokens: 12,
          toolCalls: { web_search: 2 }
        })
      ],
      [
        "a cache write by lifetime only",
        { input_tokens: 12, output_tokens: 1, cache_creation: { ephemeral_1h_input_tokens: 5 } },
        make(17, 1, { cacheWriteTokens: 5, cacheWriteHourTokens: 5 })
      ],
      ["message_start", { input_tokens: 20, output_tokens: 1, cache_read_input_tokens: null }, make(20, 1)],
      ["message_delta, which may leave out the input", { input_tokens: null, output_tokens: 30 }, make(0, 30)],
      ["null fields", { input_tokens: null, output_tokens: null, server_tool_use: null }, undefined],
      ["0 and 0", { input_tokens: 0, output_tokens: 0 }, undefined],
      ["nothing", undefined, undefined]
    ])("reads %s", (_name, usage, expected) => {
      expect(Usage.fromAnthropic(usage)).toEqual(expected)
    })
  })

  describe("fromAiSdk", () => {
    it.each<readonly [string, Parameters<typeof Usage.fromAiSdk>[0], Usage.Usage | undefined]>([
      [
        "generateText",
        {
          inputTokens: 20,
          inputTokenDetails: { cacheReadTokens: 8, cacheWriteTokens: 2 },
          outputTokens: 30,
          outputTokenDetails: { reasoningTokens: 12 },
          totalTokens: 50
        },
        make(20, 30, { cacheReadTokens: 8, cacheWriteTokens: 2, reasoningTokens: 12 })
      ],
      [
        "a call in a middleware",
        {
          inputTokens: { total: 20, noCache: 10, cacheRead: 8, cacheWrite: 2 },
          outputTokens: { total: 30, text: 18, reasoning: 12 }
        },
        make(20, 30, { cacheReadTokens: 8, cacheWriteTokens: 2, reasoningTokens: 12 })
      ],
      [
        "a call in a middleware without totals",
        { inputTokens: { noCache: 10, cacheRead: 8 }, outputTokens: { text: 18, reasoning: 12 } },
        make(18, 30, { cacheReadTokens: 8, reasoningTokens: 12 })
      ],
      [
        "a call whose provider reports reasoning in addition to the output",
        {
          inputTokens: { total: 20 },
          outputTokens: { total: 18, text: 6, reasoning: 12 },
          raw: { prompt_tokens: 20, completion_tokens: 18, total_tokens: 50 }
        },
        make(20, 30, { reasoningTokens: 12 })
      ],
      ["an embedding", { tokens: 8 }, make(8, 0)],
      ["undefined counts", { inputTokens: undefined, outputTokens: undefined, totalTokens: undefined }, undefined],
      ["undefined counts of a call", { inputTokens: { total: undefined }, outputTokens: {} }, undefined]
    ])("reads %s", (_name, usage, expected) => {
      expect(Usage.fromAiSdk(usage)).toEqual(expected)
    })
  })

  describe("fromGoogle", () => {
    it.each<readonly [string, Parameters<typeof Usage.fromGoogle>[0], Usage.Usage | undefined]>([
      [
        "usageMetadata: thoughts aren't part of the candidates, tool results aren't part of the prompt",
        {
          promptTokenCount: 15,
          toolUsePromptTokenCount: 5,
          cachedContentTokenCount: 8,
          candidatesTokenCount: 18,
          thoughtsTokenCount: 12,
          totalTokenCount: 50,
          promptTokensDetails: [
            { modality: "TEXT", tokenCount: 4 },
            { modality: "IMAGE", tokenCount: 5 },
            { modality: "VIDEO", tokenCount: 4 }
          ],
          toolUsePromptTokensDetails: [{ modality: "AUDIO", tokenCount: 2 }],
          candidatesTokensDetails: [{ modality: "IMAGE", tokenCount: 7 }, {}]
        },
        make(20, 30, {
          cacheReadTokens: 8,
          reasoningTokens: 12,
          inputImageTokens: 9,
          inputAudioTokens: 2,
          outputImageTokens: 7
        })
      ],
      ["the first chunk, which has no output", { promptTokenCount: 20, totalTokenCount: 20 }, make(20, 0)],
      ["a total above the sum", { promptTokenCount: 20, candidatesTokenCount: 30, totalTokenCount: 55 }, make(20, 35)],
      ["a live session", { promptTokenCount: 20, responseTokenCount: 30 }, make(20, 30)],
      ["nothing", {}, undefined]
    ])("reads %s", (_name, usage, expected) => {
      expect(Usage.fromGoogle(usage)).toEqual(expected)
    })
  })

  describe("fromOllama", () => {
    it("reads the counts of a response", () => {
      expect(Usage.fromOllama({ prompt_eval_count: 20, eval_count: 30 })).toEqual(make(20, 30))
      expect(Usage.fromOllama({ eval_count: 30 })).toEqual(make(0, 30))
      expect(Usage.fromOllama({})).toBeUndefined()
    })
  })

  describe("fromBedrock", () => {
    it("adds the cached tokens to the input", () => {
      expect(
        Usage.fromBedrock({ inputTokens: 10, cacheReadInputTokens: 8, cacheWriteInputTokens: 2, outputTokens: 30 })
      ).toEqual(make(20, 30, { cacheReadTokens: 8, cacheWriteTokens: 2 }))
      expect(Usage.fromBedrock({})).toBeUndefined()
    })
  })

  const readers: ReadonlyArray<readonly [string, (report: object | null | undefined) => Usage.Usage | undefined]> = [
    ["fromOpenAi", Usage.fromOpenAi],
    ["fromAnthropic", Usage.fromAnthropic],
    ["fromAiSdk", Usage.fromAiSdk],
    ["fromGoogle", Usage.fromGoogle],
    ["fromOllama", Usage.fromOllama],
    ["fromBedrock", Usage.fromBedrock]
  ]

  const names = [
    ..."prompt_tokens completion_tokens total_tokens input_tokens output_tokens prompt_tokens_details".split(" "),
    ..."completion_tokens_details input_tokens_details output_tokens_details cached_tokens reasoning_tokens".split(" "),
    ..."cache_read_input_tokens cache_creation cache_creation_input_tokens server_tool_use inputTokens".split(" "),
    ..."outputTokens total cacheRead reasoning promptTokenCount candidatesTokenCount thoughtsTokenCount".split(" "),
    ..."totalTokenCount promptTokensDetails prompt_eval_count eval_count cacheReadInputTokens".split(" "),
    ..."image_tokens video_tokens web_search_requests".split(" ")
  ]
  const Value = Schema.Union([Schema.Number, Schema.Int, Schema.String, Schema.Null, Schema.Undefined, Schema.Boolean])
  const Inner = Schema.Union([Value, Schema.Array(Value), Schema.Record(Schema.Literals(names), Value)])
  const Report = Schema.Record(Schema.Literals(names), Inner)

  describe.each(readers)("%s", (_name, read) => {
    it.prop("returns undefined or counts of at least 0 whose parts fit, for any report", [Report], ([report]) => {
      const usage = read(report)
      if (usage === undefined) return
      const { toolCalls, ...counts } = usage
      for (const count of [...Object.values(counts), ...Object.values(toolCalls)]) {
        expect(Number.isSafeInteger(count) && count >= 0).toBe(true)
      }
      expect(Usage.total(usage)).toBeGreaterThan(0)
      expect(usage.cacheReadTokens + usage.cacheWriteTokens).toBeLessThanOrEqual(usage.inputTokens)
      expect(usage.reasoningTokens).toBeLessThanOrEqual(usage.outputTokens)
    })

    it.each([0, "x", true, [], Symbol.iterator, () => 0, new Date(0), Number.NaN])("ignores %s", (value) => {
      const report = Object.fromEntries(names.map((name) => [name, value]))
      expect(read(value === 0 ? { ...report, total_tokens: 0n } : report)).toBeUndefined()
    })
  })

  const fail = (): never => {
    throw new Error("unreadable")
  }
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const unreadable = [
    ["a proxy that throws", new Proxy({}, { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail })],
    ["a revoked proxy", revoked.proxy]
  ] as const

  it.each(unreadable)("treats %s as missing", (_, report) => {
    expect(Usage.fromOpenAi(report)).toBeUndefined()
    expect(Usage.fromAnthropic(report)).toBeUndefined()
    expect(Usage.fromAiSdk(report)).toBeUndefined()
    expect(Usage.fromGoogle(report)).toBeUndefined()
    expect(Usage.fromOllama(report)).toBeUndefined()
    expect(Usage.fromBedrock(report)).toBeUndefined()
  })

  it("treats a list that can't be read as missing", () => {
    const list = Proxy.revocable([], {})
    list.revoke()
    expect(Usage.fromGoogle({ promptTokenCount: 5, promptTokensDetails: list.proxy })).toEqual(make(5, 0))
  })
})
