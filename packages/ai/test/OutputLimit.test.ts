/**
 * Output limits in the settings of each provider package.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as OutputLimit from "../src/OutputLimit.ts"

const settings = (key: string) => Context.Service<object, { readonly [field: string]: unknown }>(key)

const keys = {
  openAi: "@effect/ai-openai/OpenAiLanguageModel/Config",
  openAiCompat: "@effect/ai-openai-compat/OpenAiLanguageModel/Config",
  openRouter: "@effect/ai-openrouter/OpenRouterLanguageModel/Config",
  anthropic: "@effect/ai-anthropic/AnthropicLanguageModel/Config",
  google: "@effect/ai-google/GoogleLanguageModel/Config",
  bedrock: "@effect/ai-amazon-bedrock/AmazonBedrockLanguageModel/Config"
}

const providers: ReadonlyArray<readonly [keyof typeof keys, object, object]> = [
  ["openAi", { temperature: 0.2 }, { temperature: 0.2, max_output_tokens: 256 }],
  ["openAiCompat", {}, { max_output_tokens: 256 }],
  ["openRouter", {}, { max_tokens: 256 }],
  ["anthropic", { max_tokens: 9 }, { max_tokens: 256 }],
  ["google", { generationConfig: { temperature: 1 } }, { generationConfig: { temperature: 1, maxOutputTokens: 256 } }],
  ["bedrock", {}, { inferenceConfig: { maxTokens: 256 } }]
]

const limits = {
  openAi: OutputLimit.openAi,
  openAiCompat: OutputLimit.openAiCompat,
  openRouter: OutputLimit.openRouter,
  anthropic: OutputLimit.anthropic,
  google: OutputLimit.google,
  bedrock: OutputLimit.bedrock
}

const contextOf = (name: keyof typeof keys, config: object) =>
  Context.make(settings(keys[name]), Object.fromEntries(Object.entries(config)))

const configOf = (name: keyof typeof keys, context: Context.Context<never>) =>
  Context.getOrUndefined(context, settings(keys[name]))

describe("OutputLimit", () => {
  it.each(providers)("%s sets its limit and keeps the other settings", (name, before, after) => {
    const limit = limits[name]
    const context = limit.set(contextOf(name, before), 256)
    expect(configOf(name, context)).toEqual(after)
    expect(limit.get(context)).toBe(256)
    expect(limit.get(Context.empty())).toBeUndefined()
  })

  it.each(providers)("%s reports that the provider read the limit, directly or in a copy", (name) => {
    let reads = 0
    const limit = limits[name]
    const context = limit.set(Context.empty(), 256, () => reads++)
    expect(reads).toBe(0)
    structuredClone({ ...configOf(name, context) })
    expect(reads).toBeGreaterThan(0)
  })

  describe("byProvider", () => {
    it("sets the limit of every package that names its provider openai", () => {
      const context = OutputLimit.byProvider["openai"]?.set(Context.empty(), 256) ?? Context.empty()
      expect(configOf("openAi", context)).toEqual({ max_output_tokens: 256 })
      expect(configOf("openAiCompat", context)).toEqual({ max_output_tokens: 256 })
      expect(configOf("openRouter", context)).toEqual({ max_tokens: 256 })
    })

    it("reads the smallest limit of the packages that share a name", () => {
      const context = Context.merge(
        contextOf("openAi", { max_output_tokens: 300 }),
        contextOf("openRouter", { max_tokens: 200 })
      )
      expect(OutputLimit.byProvider["openai"]?.get(context)).toBe(200)
    })
  })

  describe("thinking", () => {
    const thinking: ReadonlyArray<readonly [keyof typeof keys, (budget: number) => object, object]> = [
      ["anthropic", (n) => ({ thinking: { type: "enabled", budget_tokens: n } }), { thinking: { type: "disabled" } }],
      ["openRouter", (n) => ({ reasoning: { max_tokens: n } }), { reasoning: { enabled: false } }],
      [
        "bedrock",
        (n) => ({ additionalModelRequestFields: { thinking: { type: "enabled", budget_tokens: n } } }),
        { additionalModelRequestFields: { thinking: { type: "disabled" } } }
      ],
      [
        "google",
        (n) => ({ generationConfig: { thinkingConfig: { thinkingBudget: n } } }),
        { generationConfig: { thinkingConfig: {} } }
      ]
    ]

    it.each(thinking)("%s keeps a budget below the limit", (name, config) => {
      const context = limits[name].set(contextOf(name, config(1_500)), 2_000)
      expect(configOf(name, context)).toMatchObject(config(1_500))
    })

    it.each(thinking)("%s lowers a budget that isn't below the limit", (name, config) => {
      const context = limits[name].set(contextOf(name, config(8_000)), 2_000)
      expect(configOf(name, context)).toMatchObject(config(1_999))
    })

    it.each(thinking)("%s replaces the settings if the limit leaves too little for it", (name, config, off) => {
      const context = limits[name].set(contextOf(name, config(8_000)), 100)
      expect(configOf(name, context)).toMatchObject(off)
      expect(configOf(name, context)).not.toMatchObject(config(99))
    })

    it.each([100, 300, 511])("google has no budget below 512 tokens, which some models refuse: %s", (limit) => {
      const config = { generationConfig: { thinkingConfig: { includeThoughts: true, thinkingBudget: 8_000 } } }
      const context = limits.google.set(contextOf("google", config), limit)
      expect(configOf("google", context)).toEqual({ generationConfig: { maxOutputTokens: limit, thinkingConfig: {} } })
    })
  })

  it("none enforces nothing and leaves the context alone", () => {
    const context = contextOf("openAi", { max_output_tokens: 9 })
    expect(OutputLimit.none.isEnforced).toBe(false)
    expect(OutputLimit.none.set(context, 1)).toBe(context)
  })
  describe("shared", () => {
    const own = OutputLimit.setting("my/Config", "max_tokens")

    it("is enforced if any of its limits is", () => {
      expect(OutputLimit.shared(OutputLimit.none).isEnforced).toBe(false)
      expect(OutputLimit.shared(OutputLimit.none, own).isEnforced).toBe(true)
      expect(OutputLimit.shared(own).isEnforced).toBe(true)
    })

    it("has the smallest of the limits in the context and the largest budget for thinking", () => {
      const context = Context.make(settings(keys.anthropic), {
        max_tokens: 900,
        thinking: { budget_tokens: 500 }
      }).pipe(Context.add(settings(keys.openRouter), { max_tokens: 800, reasoning: { max_tokens: 700 } }))
      const both = OutputLimit.shared(OutputLimit.anthropic, OutputLimit.openRouter)
      expect(both.get(context)).toBe(800)
      expect(both.thinking?.(context)).toBe(700)
    })
  })

  describe("the settings in the context", () => {
    class Inner {
      readonly max_output_tokens = 50
      readonly #topP = 0.5
      get temperature() {
        return 0.3
      }
      get topP() {
        return this.#topP
      }
    }
    const settingsWith = (max: number) => ({ max_output_tokens: max, temperature: 0.3, topP: 0.5 })
    const hidden = Object.create(null, {
      max_output_tokens: { value: 50 },
      temperature: { value: 0.3 },
      topP: { value: 0.5 }
    })

    it.each([
      ["frozen", Object.freeze(settingsWith(50))],
      ["a class instance with accessors and private fields", new Inner()],
      ["a proxy", new Proxy(settingsWith(50), {})],
      ["without prototype, and not enumerable", hidden]
    ])("may be %s", (_, config) => {
      const context = Context.make(settings(keys.openAi), config)
      const after = Context.get(OutputLimit.openAi.set(context, 20), settings(keys.openAi))
      expect(OutputLimit.openAi.get(context)).toBe(50)
      expect([after["max_output_tokens"], after["temperature"], after["topP"]]).toEqual([20, 0.3, 0.5])
      expect(Object.getPrototypeOf(after)).toBe(Object.getPrototypeOf(config))
      expect(config["max_output_tokens"]).toBe(50)
    })

    it.each([
      ["100", 100],
      [" 100.7 ", 100],
      [100n, 100],
      [100.7, 100],
      [0, 0],
      [-1, undefined],
      [NaN, undefined],
      [Infinity, undefined],
      ["many", undefined],
      ["", undefined],
      [null, undefined],
      [1e300, 2 ** 40]
    ])("with the limit %s give %s", (limit, expected) => {
      expect(OutputLimit.openAi.get(contextOf("openAi", { max_output_tokens: limit }))).toBe(expected)
    })
  })
})
