import { describe, expect, it } from "@effect/vitest"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { encode } from "gpt-tokenizer"
import * as Estimator from "../src/Estimator.ts"
import * as GptTokenizer from "../src/GptTokenizer.ts"

const request = (prompt: Prompt.RawInput, tools: ReadonlyArray<Tool.Any> = []): Estimator.Request => ({
  model: "openai:gpt-5",
  prompt: Prompt.make(prompt),
  tools
})

const samples = {
  english: "The quick brown fox jumps over the lazy dog, and nobody is charged for it twice. ".repeat(20),
  german: "Der Donaudampfschifffahrtsgesellschaftskapitän prüft die Überweisungen jeden Morgen. ".repeat(20),
  japanese: "予算を超える呼び出しは、実行される前に拒否されます。".repeat(20),
  chinese: "在花钱之前检查预算，所有代理共享同一个限额。".repeat(20),
  arabic: "تُفحص الميزانية قبل إنفاق المال ولا بعده. ".repeat(20),
  hindi: "पैसा खर्च होने से पहले बजट की जाँच की जाती है। ".repeat(20),
  typescript:
    "export const f = <A>(a: A): Effect.Effect<A> => Effect.map(self, (x) => ({ ...x, id: x.id ?? 0 }))\n".repeat(20),
  json: JSON.stringify(Array.from({ length: 100 }, (_, i) => ({ id: i, name: `n${i}`, ok: i % 2 === 0 })))
}

describe("Estimator", () => {
  describe("make", () => {
    for (const [name, text] of Object.entries(samples)) {
      it.effect(`is above what the o200k vocabulary needs for ${name}`, () =>
        Effect.gen(function* () {
          const estimated = yield* Estimator.make().input(request(text))
          expect(estimated).toBeGreaterThanOrEqual(encode(text).length)
        })
      )
    }

    it.effect("counts tools, schemas and attachments", () =>
      Effect.gen(function* () {
        const estimator = Estimator.make()
        const plain = yield* estimator.input(request("Hi"))
        const Look = Tool.make("Look", {
          description: "Looks up a word",
          parameters: Schema.Struct({ word: Schema.String })
        })
        expect(yield* estimator.input(request("Hi", [Look]))).toBeGreaterThan(plain + 20)
        const image = Prompt.make([
          { role: "user", content: [{ type: "file", mediaType: "image/png", data: new Uint8Array(9) }] }
        ])
        expect(yield* estimator.input(request(image))).toBeGreaterThanOrEqual(2_000)
        expect(
          yield* estimator.input({ ...request("Hi"), schema: Schema.Struct({ name: Schema.String, born: Schema.Int }) })
        ).toBeGreaterThan(plain + 20)
      })
    )

    it.effect("rises at once where a call took more, and sinks slowly where it took less", () =>
      Effect.gen(function* () {
        const estimator = Estimator.make()
        const first = yield* estimator.input(request(samples.english))
        estimator.learn("openai:gpt-5", first, first * 2)
        const raised = yield* estimator.input(request(samples.english))
        expect(raised).toBeGreaterThanOrEqual(first * 2)
        estimator.learn("openai:gpt-5", raised, first)
        const lower = yield* estimator.input(request(samples.english))
        expect(lower).toBeLessThan(raised)
        expect(lower).toBeGreaterThan(first)
        expect(yield* estimator.input({ ...request(samples.english), model: "other" })).toBe(first)
      })
    )

    // @effect-diagnostics schemaNumber:off
    it.effect.prop(
      "stays a count that can be reserved, whatever it learns",
      { lessons: Schema.Array(Schema.Tuple([Schema.Number, Schema.Number])), text: Schema.String },
      ({ lessons, text }) =>
        Effect.gen(function* () {
          const estimator = Estimator.make()
          for (const [estimated, actual] of lessons) estimator.learn("openai:gpt-5", estimated, actual)
          const tokens = yield* estimator.input(request(text))
          expect(Number.isSafeInteger(tokens)).toBe(true)
          expect(tokens).toBeGreaterThan(0)
          expect(tokens).toBeLessThanOrEqual(100 + text.length * 40)
        })
    )
  })

  describe("layerTokenizer", () => {
    it.effect("counts by the tokenizer that is there", () =>
      Effect.gen(function* () {
        const estimator = Estimator.fromTokenizer(GptTokenizer.make)
        expect(yield* estimator.input(request(samples.english))).toBe(encode(samples.english).length + 4)
      })
    )
  })
})
