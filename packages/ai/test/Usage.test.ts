/**
 * Usage in the shapes that the provider packages of `effect/ai` give it.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Usage from "../src/Usage.ts"

const decode = Schema.decodeUnknownSync(Response.Usage)
const counted = Usage.make(11, 7)

const shapes: ReadonlyArray<readonly [string, unknown, Usage.Usage | undefined]> = [
  [
    "OpenAI Responses: cached input is part of the total, reasoning of the output",
    {
      inputTokens: { uncached: 36, total: 1_060, cacheRead: 1_024, cacheWrite: 0 },
      outputTokens: { total: 300, text: 44, reasoning: 256 }
    },
    { inputTokens: 1_060, cacheReadTokens: 1_024, cacheWriteTokens: 0, outputTokens: 300, reasoningTokens: 256 }
  ],
  [
    "Anthropic: no reasoning of its own, cache writes",
    {
      inputTokens: { uncached: 20, total: 2_070, cacheRead: 50, cacheWrite: 2_000 },
      outputTokens: { total: 90 }
    },
    { inputTokens: 2_070, cacheReadTokens: 50, cacheWriteTokens: 2_000, outputTokens: 90, reasoningTokens: 0 }
  ],
  [
    "parts without totals",
    { inputTokens: { uncached: 20, cacheRead: 50 }, outputTokens: { text: 5, reasoning: 6 } },
    { inputTokens: 70, cacheReadTokens: 50, cacheWriteTokens: 0, outputTokens: 11, reasoningTokens: 6 }
  ],
  [
    "the output only: the input is what was counted",
    { inputTokens: {}, outputTokens: { total: 5 } },
    { inputTokens: 11, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 5, reasoningTokens: 0 }
  ],
  ["Bedrock and others, which tell nothing", { inputTokens: {}, outputTokens: {} }, undefined],
  [
    "counts below zero",
    { inputTokens: { total: -5 }, outputTokens: { total: 3 } },
    { inputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 3, reasoningTokens: 0 }
  ]
]

describe("Usage", () => {
  describe("fromResponse", () => {
    it.each(shapes)("reads %s", (_name, told, expected) => {
      expect(Usage.fromResponse(decode(told), counted)).toEqual(expected)
    })
  })
})
