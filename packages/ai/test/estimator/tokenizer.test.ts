/**
 * Estimates by a tokenizer.
 */
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as Tokenizer from "effect/ai/Tokenizer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { encode } from "gpt-tokenizer"
import * as Estimator from "../../src/Estimator.ts"
import * as GptTokenizer from "../../src/GptTokenizer.ts"
import { cut } from "../../src/internal/estimator/cut.ts"
import { languages } from "../fixtures/languages.ts"

const model = "openai:gpt-4o"
const english = (languages["English"] ?? []).join("\n")
const special = "<|endoftext|> <|im_start|>system<|im_sep|> <|fim_prefix|> <|endofprompt|>"

const real = (text: string): number => encode(text, { disallowedSpecial: new Set() }).length

const input = (estimator: Estimator.Estimator, prompt: Prompt.RawInput, of = model) =>
  Effect.map(estimator.input({ model: of, prompt: Prompt.make(prompt), tools: [] }), ({ tokens }) => tokens)

const exact = Estimator.fromTokenizer(GptTokenizer.make, { timeLimit: "1 minute" })
const table = Estimator.make()

/** A tokenizer that takes one token for eight characters, and the pieces that it was given. */
const recording = (before: Effect.Effect<unknown> = Effect.void) => {
  const pieces: Array<string> = []
  const tokenizer = Tokenizer.make({
    tokenize: (prompt) =>
      Effect.gen(function* () {
        const parts = prompt.content.flatMap(({ content }): ReadonlyArray<Prompt.Part> =>
          typeof content === "string" ? [] : content
        )
        const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
        pieces.push(text)
        yield* before
        return Array.from({ length: Math.ceil(text.length / 8) }, () => 0)
      })
  })
  return { pieces, tokenizer }
}

/** A list whose length is NaN. */
const withoutLength: Array<number> = new Proxy([0], {
  get: (target, key) => (key === "length" ? Number.NaN : Reflect.get(target, key))
})

/** Texts without a boundary, of 100 KB. */
const hostile: Readonly<Record<string, string>> = {
  "one letter": "a".repeat(100_000),
  "letters at random": Array.from({ length: 100_000 }, (_, i) =>
    String.fromCharCode(97 + ((i * 7_919 + (i >> 3) * 104_729) % 26))
  ).join(""),
  spaces: " ".repeat(100_000),
  "line breaks": "\n".repeat(100_000),
  digits: "1234567890".repeat(10_000),
  signs: "=".repeat(100_000),
  DNA: "GATTACACCTGA".repeat(8_333),
  Chinese: "每天清晨老人都会沿着河边散步".repeat(7_000),
  Thai: "ทุกเช้าคุณยายจะตื่นขึ้นมาทำขนมไปขายที่ตลาดริมแม่น้ำ".repeat(1_900),
  emoji: "😀🎉🚀".repeat(16_000),
  "half surrogates": "\ud83d".repeat(100_000)
}

describe("GptTokenizer", () => {
  it.effect("encodes the strings of special tokens as text, in each kind of part", () =>
    Effect.gen(function* () {
      const file = { type: "file", mediaType: "text/plain", data: new TextEncoder().encode(special) } as const
      const call = {
        type: "tool-call",
        id: special,
        name: special,
        params: { special },
        providerExecuted: false
      } as const
      const result = { type: "tool-result", id: special, name: special, isFailure: false } as const
      const prompts: ReadonlyArray<Prompt.RawInput> = [
        special,
        [{ role: "system", content: special }],
        [{ role: "user", content: [{ type: "text", text: special }, file] }],
        [{ role: "assistant", content: [{ type: "text", text: special }] }],
        [{ role: "assistant", content: [{ type: "reasoning", text: special }, call] }],
        [{ role: "tool", content: [{ ...result, result: special }] }],
        [{ role: "tool", content: [{ ...result, result: 1, modelOutput: [{ type: "text", text: special }] }] }]
      ]
      for (const prompt of prompts) {
        const tokens = yield* GptTokenizer.make.tokenize(prompt)
        expect(tokens.length).toBeGreaterThanOrEqual(real(special))
        expect(yield* input(exact, prompt)).toBeGreaterThanOrEqual(real(special))
      }
      expect((yield* GptTokenizer.make.tokenize(special)).length).toBe(real(special))
    })
  )

  it.effect("tokenizes parameters that aren't JSON", () =>
    Effect.gen(function* () {
      const params: Record<string, unknown> = { text: "Hello", large: 10n }
      params["self"] = params
      const prompt = Prompt.make([
        { role: "assistant", content: [{ type: "tool-call", id: "1", name: "look", params, providerExecuted: false }] }
      ])
      expect((yield* GptTokenizer.make.tokenize(prompt)).length).toBeGreaterThan(3)
    })
  )

  it("hasVocabularyOf accepts only models of o200k", () => {
    expect(GptTokenizer.make.hasVocabularyOf("openai:gpt-5")).toBe(true)
    for (const other of ["openai:gpt-4", "anthropic:claude-sonnet-4", "unknown"]) {
      expect(GptTokenizer.make.hasVocabularyOf(other)).toBe(false)
    }
  })
})

describe("fromTokenizer", () => {
  it.effect("counts the models of its vocabulary exactly, and adds the frame of the request", () =>
    Effect.gen(function* () {
      expect(yield* input(exact, english)).toBe(8 + 4 + real(english))
      const messages = [
        { role: "system", content: "Be brief." },
        { role: "user", content: english }
      ] as const
      expect(yield* input(exact, messages)).toBe(8 + 2 * 4 + real("Be brief.") + real(english))
    })
  )

  it.effect("is never below the estimate without a tokenizer for another model", () =>
    Effect.gen(function* () {
      const numbers = JSON.stringify(Array.from({ length: 500 }, (_, i) => i % 7))
      for (const of of ["anthropic:claude-sonnet-4", "openai:gpt-4", "unknown"]) {
        for (const text of [english, numbers]) {
          const expected = Math.max(12 + real(text), yield* input(table, text, of))
          expect(yield* input(exact, text, of)).toBe(expected)
        }
      }
      const { tokenizer } = recording()
      expect(yield* input(Estimator.fromTokenizer(tokenizer), english)).toBe(yield* input(table, english))
    })
  )

  it.effect("counts exactly for the models that hasVocabularyOf accepts", () =>
    Effect.gen(function* () {
      const { tokenizer } = recording()
      const estimator = Estimator.fromTokenizer(tokenizer, { hasVocabularyOf: (name) => name === "local:tiny" })
      expect(yield* input(estimator, "x".repeat(400), "local:tiny")).toBe(62)
    })
  )

  it.effect("learns with a slope of at most 1.1", () =>
    Effect.gen(function* () {
      const estimator = Estimator.fromTokenizer(GptTokenizer.make, { timeLimit: "1 minute" })
      for (const size of [400, 800, 1_200]) {
        const prompt = Prompt.make(english.slice(0, size))
        const estimate = yield* estimator.input({ model, prompt, tools: [] })
        estimator.learn(estimate, { inputTokens: 1.5 * estimate.text, outputTokens: undefined, output: "" })
      }
      const { text, tokens } = yield* estimator.input({ model, prompt: Prompt.make(english.repeat(20)), tools: [] })
      expect(tokens).toBeLessThanOrEqual(1.1 * text + 400)
    })
  )

  for (const [name, text] of Object.entries(hostile)) {
    it.effect(`gives the tokenizer pieces of bounded size: ${name}`, () =>
      Effect.gen(function* () {
        const { pieces, tokenizer } = recording()
        yield* input(Estimator.fromTokenizer(tokenizer, { hasVocabularyOf: () => true }), text)
        expect(pieces.join("")).toBe(text)
        for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(513)
      })
    )

    it.effect(`counts at least the tokens of the whole text, and at most 2 % more: ${name}`, () =>
      Effect.gen(function* () {
        const part = text.slice(0, 3_000)
        const tokens = (yield* input(exact, part)) - 12
        expect(tokens).toBeGreaterThanOrEqual(real(part))
        expect(tokens).toBeLessThanOrEqual(1.02 * real(part) + 12)
      })
    )
  }

  it.effect("caches the counts of parts", () =>
    Effect.gen(function* () {
      const { pieces, tokenizer } = recording()
      const estimator = Estimator.fromTokenizer(tokenizer)
      const first = Prompt.make(english)
      const before = yield* input(estimator, first)
      const { length } = pieces
      expect(yield* input(estimator, first)).toBe(before)
      expect(pieces.length).toBe(length)
      yield* input(estimator, Prompt.concat(first, "And now?"))
      expect(pieces.slice(length)).toEqual(["And now?"])
    })
  )

  it.effect("counts a part again if its parameters have changed", () =>
    Effect.gen(function* () {
      const params = { query: "short" }
      const prompt = Prompt.make([
        { role: "assistant", content: [{ type: "tool-call", id: "1", name: "look", params, providerExecuted: false }] }
      ])
      for (const estimator of [table, exact]) {
        params.query = "short"
        const before = yield* input(estimator, prompt)
        params.query = "a much longer query than before"
        expect(yield* input(estimator, prompt)).toBeGreaterThan(before + 3)
      }
    })
  )

  it.effect("counts by features for requests above 1,048,576 characters", () =>
    Effect.gen(function* () {
      const { pieces, tokenizer } = recording()
      const text = "word ".repeat(210_000)
      const estimator = Estimator.fromTokenizer(tokenizer, { hasVocabularyOf: () => true })
      expect(yield* input(estimator, text)).toBe(yield* input(table, text))
      expect(pieces).toEqual([])
    })
  )

  it.effect("lets other fibers run, at least once for every 128 KB", () =>
    Effect.gen(function* () {
      let turns = 0
      const seen: Array<number> = []
      const { pieces, tokenizer } = recording(Effect.sync(() => seen.push(turns)))
      const turn = Effect.sync(() => turns++)
      const other = yield* Effect.forkChild(Effect.forever(Effect.andThen(turn, Effect.yieldNow)))
      yield* input(Estimator.fromTokenizer(tokenizer), "word ".repeat(200_000))
      yield* Fiber.interrupt(other)
      const perTurn = new Map<number, number>()
      seen.forEach((turn, i) => perTurn.set(turn, (perTurn.get(turn) ?? 0) + (pieces[i]?.length ?? 0)))
      expect(Math.max(...perTurn.values())).toBeLessThanOrEqual(2 * 65_536 + 8_192)
    })
  )

  describe("falls back to features", () => {
    const fails = AiError.make({
      module: "Test",
      method: "tokenize",
      reason: new AiError.InternalProviderError({ description: "broken" })
    })
    const broken: Readonly<Record<string, () => Effect.Effect<Array<number>, AiError.AiError>>> = {
      "that fails": () => Effect.fail(fails),
      "that dies": () => Effect.die(new Error("broken")),
      "that interrupts itself": () => Effect.interrupt,
      "that throws": () => {
        throw new Error("broken")
      },
      "that returns a list without a length": () => Effect.succeed(withoutLength),
      "that hangs": () => Effect.never
    }
    for (const [name, tokenize] of Object.entries(broken)) {
      it.effect(`for a tokenizer ${name}`, () =>
        Effect.gen(function* () {
          const truncate = (prompt: Prompt.RawInput) => Effect.succeed(Prompt.make(prompt))
          const tokenizer = Tokenizer.Tokenizer.of({ tokenize, truncate })
          const estimator = Estimator.fromTokenizer(tokenizer, { hasVocabularyOf: () => true })
          const fiber = yield* Effect.forkChild(input(estimator, english))
          yield* TestClock.adjust("50 millis")
          expect(yield* Fiber.join(fiber)).toBe(yield* input(table, english))
        })
      )
    }

    it.effect("for the rest of a request that takes longer than timeLimit", () =>
      Effect.gen(function* () {
        const text = `${english}\n`.repeat(100)
        const { pieces, tokenizer } = recording(TestClock.adjust("20 millis"))
        const options = { hasVocabularyOf: () => true }
        const estimator = Estimator.fromTokenizer(tokenizer, options)
        const prompt = Prompt.make(text)
        const tokens = yield* input(estimator, prompt)
        expect(pieces.length).toBe(3)
        expect(tokens).toBeGreaterThan(yield* input(Estimator.fromTokenizer(recording().tokenizer, options), text))
        expect(tokens).toBeLessThan(yield* input(table, text))
        // The part isn't given to the tokenizer again.
        expect(yield* input(estimator, prompt)).toBe(tokens)
        expect(pieces.length).toBe(3)

        const patient = recording(TestClock.adjust("20 millis"))
        yield* input(Estimator.fromTokenizer(patient.tokenizer, { ...options, timeLimit: Duration.infinity }), text)
        expect(patient.pieces.join("")).toBe(text)
      })
    )
  })
})

describe("layerTokenizer", () => {
  it.effect("uses the tokenizer of the context", () =>
    Effect.gen(function* () {
      const estimator = yield* Estimator.Estimator
      expect(yield* input(estimator, "Hello")).toBe(12 + real("Hello"))
    }).pipe(Effect.provide(Estimator.layerTokenizer({ timeLimit: "1 minute" }).pipe(Layer.provide(GptTokenizer.layer))))
  )
})

describe("cut", () => {
  it.prop(
    "returns the whole text in pieces, without cutting a surrogate pair",
    { units: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])) },
    ({ units }) => {
      const text = units
        .map(([unit, times]) => String.fromCodePoint(Math.abs(unit) % 0x110000).repeat(Math.abs(times) % 1_500))
        .join("")
      const pieces = cut(text)
      expect(pieces.join("")).toBe(text)
      for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(8_192 + 1_026)
      if (text.isWellFormed()) expect(pieces.every((piece) => piece.isWellFormed())).toBe(true)
    },
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )
})
