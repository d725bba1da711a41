/**
 * Output limits in the settings of each provider package, as its requests have them.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as OutputLimit from "../src/OutputLimit.ts"

const settings = (key: string) => Context.Service<object, { readonly [field: string]: unknown }>(key)

const providers = [
  [
    "openai",
    "@effect/ai-openai/OpenAiLanguageModel/Config",
    { temperature: 0.2 },
    { temperature: 0.2, max_output_tokens: 256 }
  ],
  ["anthropic", "@effect/ai-anthropic/AnthropicLanguageModel/Config", { max_tokens: 9 }, { max_tokens: 256 }],
  [
    "google",
    "@effect/ai-google/GoogleLanguageModel/Config",
    { generationConfig: { temperature: 1 } },
    { generationConfig: { temperature: 1, maxOutputTokens: 256 } }
  ],
  ["openrouter", "@effect/ai-openrouter/OpenRouterLanguageModel/Config", {}, { max_tokens: 256 }],
  [
    "amazon-bedrock",
    "@effect/ai-amazon-bedrock/AmazonBedrockLanguageModel/Config",
    {},
    { inferenceConfig: { maxTokens: 256 } }
  ]
] as const

describe("OutputLimit", () => {
  describe("byProvider", () => {
    it.each(providers)("sets the limit of %s beside what is set already", (name, key, before, after) => {
      const Config = settings(key)
      const limit = OutputLimit.byProvider[name]
      const context = limit?.set(Context.make(Config, before), 256) ?? Context.empty()
      expect(Context.getOrUndefined(context, Config)).toEqual(after)
      expect(limit?.get(context)).toBe(256)
      expect(limit?.get(Context.empty())).toBeUndefined()
    })

    it("knows every provider that has a setting", () => {
      expect(Object.keys(OutputLimit.byProvider).toSorted()).toEqual(providers.map(([name]) => name).toSorted())
    })
  })
})
