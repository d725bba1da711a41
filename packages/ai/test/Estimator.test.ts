import { describe, expect, it } from "@effect/vitest"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Estimator from "../src/Estimator.ts"

const model = "openai:gpt-4o"

const request = (prompt: Prompt.RawInput, more: Partial<Estimator.Request> = {}): Estimator.Request => ({
  model,
  prompt: Prompt.make(prompt),
  tools: [],
  ...more
})

const tokens = (prompt: Prompt.RawInput, more?: Partial<Estimator.Request>) =>
  Effect.map(Estimator.make().input(request(prompt, more)), (estimate) => estimate.tokens)

/** About 2,000 tokens. */
const long = "The quick brown fox jumps over the lazy dog. ".repeat(200)
const longTokens = 2_000

const call = (part: Partial<Prompt.ToolCallPartEncoded>): Prompt.RawInput => [
  {
    role: "assistant",
    content: [{ type: "tool-call", id: "1", name: "look", params: {}, providerExecuted: false, ...part }]
  }
]

const result = (part: Partial<Prompt.ToolResultPartEncoded>): Prompt.RawInput => [
  {
    role: "tool",
    content: [{ type: "tool-result", id: "1", name: "look", isFailure: false, result: null, ...part }]
  }
]

const assistant = (part: Prompt.AssistantMessagePartEncoded): Prompt.RawInput => [
  { role: "assistant", content: [part] }
]

const Look = Tool.make("Look", {
  description: "Looks up a word",
  parameters: Schema.Struct({ word: Schema.String })
})

describe("input", () => {
  it.effect("counts 8 tokens for a request, 4 for a message and at least 1 for a text", () =>
    Effect.gen(function* () {
      expect(yield* tokens([])).toBe(8)
      expect(yield* tokens([{ role: "system", content: "" }])).toBe(12)
      expect(yield* tokens("Hi")).toBe(15)
      expect(yield* Estimator.make().input(request("Hi"))).toEqual({
        model,
        tokens: 15,
        text: 7,
        attachments: {},
        hasProviderTools: false
      })
    })
  )

  const counted: Readonly<Record<string, Prompt.RawInput>> = {
    "the text of a system message": [{ role: "system", content: long }],
    "the text of a user message": long,
    "the text of an assistant message": assistant({ type: "text", text: long }),
    reasoning: assistant({ type: "reasoning", text: long }),
    "encrypted reasoning": assistant({
      type: "reasoning",
      text: "",
      options: { openai: { itemId: "rs_1", encryptedContent: long } }
    }),
    "the signature of reasoning": assistant({
      type: "reasoning",
      text: "",
      options: { anthropic: { info: { type: "thinking", signature: long } } }
    }),
    "the signature of a tool call": call({ options: { google: { thoughtSignature: long } } }),
    "the id of a tool call": call({ id: long }),
    "the name of a tool call": call({ name: long }),
    "the parameters of a tool call": call({ params: { deep: [{ text: long }] } }),
    "the id of a tool result": result({ id: long }),
    "the result of a tool": result({ result: { text: long } }),
    "the failure of a tool": result({ isFailure: true, result: long }),
    "the text of a tool's model output": result({ modelOutput: [{ type: "text", text: long }] }),
    "a text file in a tool's model output": result({
      modelOutput: [{ type: "file", mediaType: "text/plain", data: new TextEncoder().encode(long) }]
    }),
    "the reason of an approval": [
      {
        role: "tool",
        content: [{ type: "tool-approval-response", approvalId: "1", approved: false, reason: long }]
      }
    ]
  }
  for (const [name, prompt] of Object.entries(counted)) {
    it.effect(`counts ${name}`, () =>
      Effect.gen(function* () {
        const estimate = yield* tokens(prompt)
        expect(estimate).toBeGreaterThanOrEqual(longTokens)
        expect(estimate).toBeLessThanOrEqual(2 * longTokens)
      })
    )
  }

  it.effect("counts the model output of a tool instead of its result", () =>
    Effect.gen(function* () {
      const short = yield* tokens(result({ result: long.repeat(10), modelOutput: [{ type: "text", text: "Done" }] }))
      expect(short).toBeLessThan(40)
      const whole = result({ result: { url: "https://example.com" }, modelOutput: [{ type: "text", text: long }] })
      expect(yield* tokens(whole)).toBeGreaterThan(longTokens)
      expect(yield* tokens(result({ result: long, modelOutput: [] }))).toBeLessThan(40)
    })
  )

  it.effect("counts no settings in the options of parts", () =>
    Effect.gen(function* () {
      const options = { anthropic: { cacheControl: { type: "ephemeral", ttl: "1h" } } }
      const prompt = [{ role: "user", content: [{ type: "text", text: "Hi", options }] }] as const
      expect(yield* tokens(prompt)).toBe(yield* tokens("Hi"))
    })
  )

  it.effect("counts the name, the description and the JSON Schema of tools", () =>
    Effect.gen(function* () {
      const plain = yield* tokens("Hi")
      expect(yield* tokens("Hi", { tools: [Look] })).toBeGreaterThan(plain + 32 + 20)
      const described = Tool.make("Look", { description: long })
      expect(yield* tokens("Hi", { tools: [described] })).toBeGreaterThan(plain + longTokens)
      const annotated = Tool.make("Look", {
        parameters: Schema.Struct({ word: Schema.String.annotate({ description: long }) })
      })
      expect(yield* tokens("Hi", { tools: [annotated] })).toBeGreaterThan(plain + longTokens)
      const Dynamic = Tool.dynamic("Look", { parameters: { type: "object", description: long } })
      expect(yield* tokens("Hi", { tools: [Dynamic] })).toBeGreaterThan(plain + longTokens)
      const Search = Tool.providerDefined({
        id: "openai.file_search",
        customName: "Search",
        providerName: "file_search",
        args: Schema.Struct({ instructions: Schema.String })
      })
      const { hasProviderTools, text } = yield* Estimator.make().input(
        request("Hi", { tools: [Search({ instructions: long })] })
      )
      expect(text).toBeGreaterThan(longTokens)
      expect(hasProviderTools).toBe(true)
    })
  )

  it.effect("adds the hidden prompt of Claude to requests with tools or a schema", () =>
    Effect.gen(function* () {
      const claude = { model: "anthropic:claude-sonnet-4-5" }
      const plain = yield* tokens("Hi", claude)
      expect(plain).toBeLessThan(30)
      expect(yield* tokens("Hi", { ...claude, tools: [Look] })).toBeGreaterThan(plain + 700)
      expect(yield* tokens("Hi", { ...claude, schema: Schema.String })).toBeGreaterThan(plain + 700)
    })
  )

  it.effect("counts the schema of a structured response", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ name: Schema.String.annotate({ description: long }), born: Schema.Int })
      expect(yield* tokens("Hi", { schema })).toBeGreaterThan(longTokens)
    })
  )

  it.effect("estimates more for an unknown model than for any known one", () =>
    Effect.gen(function* () {
      const unknown = yield* tokens(long, { model: "local:unknown" })
      for (const model of ["openai:gpt-4o", "openai:gpt-4"]) {
        expect(unknown).toBeGreaterThan(yield* tokens(long, { model }))
      }
    })
  )

  describe("doesn't fail", () => {
    const cyclic: Record<string, unknown> = { text: long }
    cyclic["self"] = cyclic
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const throwing = {
      get text(): string {
        throw new Error("no text")
      }
    }
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error("get")
        },
        ownKeys: () => {
          throw new Error("ownKeys")
        }
      }
    )
    const deep = Array.from({ length: 20_000 }).reduce<unknown>((inner) => [inner], long)
    const values: Readonly<Record<string, unknown>> = {
      "a cycle": cyclic,
      "a revoked proxy": proxy,
      "a getter that throws": throwing,
      "a proxy that throws": hostile,
      "a bigint": 10n ** 100n,
      "a function": () => long,
      "a symbol": Symbol("look"),
      undefined,
      "a deep value": deep,
      "half a surrogate pair": "\ud83d"
    }
    for (const [name, value] of Object.entries(values)) {
      it.effect(`for ${name} in the parameters and in the result of a tool`, () =>
        Effect.gen(function* () {
          for (const part of [
            Prompt.makePart("tool-call", { id: "1", name: "look", params: value, providerExecuted: false })
          ]) {
            const prompt = Prompt.fromMessages([Prompt.makeMessage("assistant", { content: [part] })])
            const { tokens } = yield* Estimator.make().input({ model, prompt, tools: [] })
            expect(Number.isSafeInteger(tokens) && tokens >= 14).toBe(true)
          }
          const part = Prompt.makePart("tool-result", {
            id: "1",
            name: "look",
            isFailure: false,
            result: value,
            providerExecuted: false
          })
          const prompt = Prompt.fromMessages([Prompt.makeMessage("tool", { content: [part] })])
          const { tokens } = yield* Estimator.make().input({ model, prompt, tools: [] })
          expect(Number.isSafeInteger(tokens) && tokens >= 14).toBe(true)
        })
      )
    }

    it.effect("for a tool whose parameters have no JSON Schema", () =>
      Effect.gen(function* () {
        const Odd = Tool.make("Odd", { parameters: Schema.Struct({ symbol: Schema.UniqueSymbol(Symbol.for("odd")) }) })
        expect(yield* tokens("Hi", { tools: [Odd] })).toBeGreaterThan(40)
      })
    )
  })

  it.effect("counts the strings of a value with a cycle", () =>
    Effect.gen(function* () {
      const params: Record<string, unknown> = { text: long }
      params["self"] = params
      const part = Prompt.makePart("tool-call", { id: "1", name: "look", params, providerExecuted: false })
      const prompt = Prompt.fromMessages([Prompt.makeMessage("assistant", { content: [part] })])
      const { tokens } = yield* Estimator.make().input({ model, prompt, tools: [] })
      expect(tokens).toBeGreaterThan(longTokens)
    })
  )
})

describe("output", () => {
  it("is 0 for no text and at least 1 for any other", () => {
    const estimator = Estimator.make()
    expect(estimator.output(model, "")).toBe(0)
    expect(estimator.output(model, "a")).toBeGreaterThanOrEqual(1)
    expect(estimator.output(model, long)).toBeGreaterThanOrEqual(longTokens)
  })
})

describe("layer", () => {
  it.effect("provides an estimator", () =>
    Effect.gen(function* () {
      const estimator = yield* Estimator.Estimator
      expect((yield* estimator.input(request("Hi"))).tokens).toBe(15)
    }).pipe(Effect.provide(Estimator.layer()))
  )
})
