/**
 * Correcting estimates by the usage of calls.
 */
import { describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { encode } from "gpt-tokenizer"
import * as Estimator from "../../src/Estimator.ts"
import * as Line from "../../src/internal/estimator/line.ts"
import { languages } from "../fixtures/languages.ts"

const model = "openai:gpt-4o"

const samples: ReadonlyArray<{ readonly kind: string; readonly text: string }> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/generated-samples.json"), "utf8")
)
const generated = (kind: string): string => samples.find((sample) => sample.kind === kind)?.text ?? ""

const filled = (text: string, length: number): string => text.repeat(Math.ceil(length / text.length)).slice(0, length)

const english = filled((languages["English"] ?? []).join("\n"), 88_000)
const hindi = filled((languages["Hindi"] ?? []).join("\n"), 20_000)
const smallInts = filled(generated("JSON small ints"), 88_000)

/** The input tokens of a text, as OpenAI counts them. */
const countOf = (text: string): number => encode(text).length + 7

/** A PNG of 1,024 by 1,024 pixels: 765 tokens by the rule. */
const image = new Uint8Array(24)
image.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
new DataView(image.buffer).setUint32(16, 1_024)
new DataView(image.buffer).setUint32(20, 1_024)

const images = (count: number): Prompt.RawInput => [
  {
    role: "user",
    content: Array.from({ length: count }, () => ({ type: "file", mediaType: "image/png", data: image }))
  }
]

/** Makes calls one after another. */
const simulation = (of: string = model, estimator = Estimator.make()) => {
  const calls = { count: 0, low: 0, ratios: 0 }
  return {
    calls,
    /** Makes a call and learns from it; returns the reserved tokens. */
    call: (prompt: Prompt.RawInput, truth: number, tools: ReadonlyArray<Tool.Any> = []) =>
      Effect.map(estimator.input({ model: of, prompt: Prompt.make(prompt), tools }), (estimate) => {
        calls.count += 1
        calls.ratios += estimate.tokens / truth
        if (estimate.tokens < truth) calls.low += 1
        estimator.learn(estimate, { inputTokens: truth, outputTokens: undefined, output: "" })
        return estimate.tokens
      })
  }
}

const within = (reserved: number, truth: number, most: number): void => {
  expect(reserved / truth).toBeGreaterThanOrEqual(1)
  expect(reserved / truth).toBeLessThanOrEqual(most)
}

// Texts whose estimate without corrections is 1.2 to 1.25 of the truth.
const plain = 1.3

describe("input", () => {
  it.effect("keeps the estimate of a long text after a short call used far more", () =>
    Effect.gen(function* () {
      const { call } = simulation()
      yield* call("Hi", 50)
      within(yield* call(english, countOf(english)), countOf(english), plain)
    })
  )

  it.effect("keeps the estimate of a long text after a short call used what was estimated", () =>
    Effect.gen(function* () {
      const { call, calls } = simulation()
      yield* call("Hi", 8)
      within(yield* call(english, countOf(english)), countOf(english), plain)
      expect(calls.low).toBe(0)
    })
  )

  it.effect("learns nothing for text from small images, and lowers the estimate of images", () =>
    Effect.gen(function* () {
      const fresh = yield* simulation().call(english, countOf(english))
      const { call, calls } = simulation()
      for (let i = 0; i < 30; i++) yield* call(images(1), 85 + 10)
      expect(calls.low).toBe(0)
      const last = yield* call(images(10), 860)
      within(last, 860, 3.2)
      expect(yield* call(english, countOf(english))).toBe(fresh)
    })
  )

  it.effect("raises the estimate of images at once", () =>
    Effect.gen(function* () {
      const { call } = simulation()
      yield* call(images(1), 2_000)
      within(yield* call(images(5), 10_000), 10_000, 1.2)
    })
  )

  for (const [name, text] of Object.entries({ English: english, Hindi: hindi })) {
    it.effect(`reserves enough for a list of numbers after 30 calls in ${name}`, () =>
      Effect.gen(function* () {
        const { call } = simulation()
        for (let i = 0; i < 30; i++) yield* call(text, countOf(text))
        within(yield* call(smallInts, countOf(smallInts)), countOf(smallInts), 1.1)
      })
    )
  }

  it.effect("adds a hidden prompt once it has seen it", () =>
    Effect.gen(function* () {
      const { call, calls } = simulation()
      for (let i = 0; i < 30; i++) {
        const text = english.slice(0, 1_000 + 500 * i)
        yield* call(text, countOf(text) + 3_000)
      }
      within(yield* call(english, countOf(english) + 3_000), countOf(english) + 3_000, plain)
      expect(calls.low).toBe(1)
    })
  )

  it.effect("forgets one call that used far more than the others", () =>
    Effect.gen(function* () {
      const { call, calls } = simulation()
      for (let i = 0; i < 30; i++) yield* call("Hi", i === 15 ? 50_008 : 8)
      expect(yield* call("Hi", 8)).toBeLessThanOrEqual(20)
      expect(calls.low).toBe(1)
    })
  )

  it.effect("adds the results of searches that every third call makes", () =>
    Effect.gen(function* () {
      const { call, calls } = simulation()
      for (let i = 0; i < 30; i++) {
        const text = english.slice(0, 1_000 + 500 * i)
        yield* call(text, countOf(text) + (i % 3 === 0 ? 20_000 : 0))
      }
      within(yield* call(english, countOf(english) + 20_000), countOf(english) + 20_000, plain)
      expect(calls.low).toBe(1)
    })
  )

  describe("of a vocabulary that needs far more tokens than the one of its name", () => {
    const calls = (of: string, factor: number) =>
      Effect.gen(function* () {
        const { call, calls } = simulation(of)
        for (let i = 1; i <= 12; i++) {
          const text = english.slice(0, (english.length * i) / 12)
          yield* call(text, Math.ceil(factor * countOf(text)))
        }
        const truth = Math.ceil(factor * countOf(english))
        return { ratio: (yield* call(english, truth)) / truth, low: calls.low }
      })

    it.effect("has a larger slope after four large calls that were too low", () =>
      Effect.gen(function* () {
        // By slopes up to 1.25 the last call would be reserved with 0.93 of its tokens.
        const { low, ratio } = yield* calls(model, 1.75)
        expect(ratio).toBeGreaterThanOrEqual(1)
        expect(ratio).toBeLessThanOrEqual(1.2)
        expect(low).toBeLessThanOrEqual(6)
      })
    )

    it.effect("is covered from the start if the model is unknown", () =>
      Effect.gen(function* () {
        const { low, ratio } = yield* calls("local:unknown", 1.6)
        expect(ratio).toBeGreaterThanOrEqual(1)
        expect(ratio).toBeLessThanOrEqual(1.45)
        expect(low).toBeLessThanOrEqual(1)
      })
    )

    it("has few calls too low if the slope may be 2 from the start", () => {
      const line = Line.make(2)
      let low = 0
      for (let i = 1; i <= 12; i++) {
        const [text, truth] = [1_900 * i, Math.ceil(1.6 * 1_530 * i)]
        if (line.reserve({ text, attachments: {} }) < truth) low += 1
        line.learn({ text, attachments: {} }, truth)
      }
      expect(low).toBeLessThanOrEqual(2)
      within(line.reserve({ text: 22_800, attachments: {} }), 1.6 * 1_530 * 12, 1.05)
    })
  })

  it.effect("is tight in an agent loop of JSON, logs and code with a hidden prompt", () =>
    Effect.gen(function* () {
      const { call, calls } = simulation()
      const steps = ["JSON mixed", "app log", "JSON records", "file paths"].map(generated)
      let history = "You are an agent that fixes builds."
      for (let step = 0; step < 60; step++) {
        history += `\n${steps[step % steps.length]?.slice(0, 700)}`
        yield* call(history, countOf(history) + 346)
      }
      expect(calls.low).toBeLessThanOrEqual(1)
      expect(calls.ratios / calls.count).toBeLessThanOrEqual(1.35)
    })
  )

  it.effect("learns separately for each model, and for calls with tools that the provider runs", () =>
    Effect.gen(function* () {
      const Search = Tool.providerDefined({ id: "openai.web_search", customName: "Search", providerName: "web_search" })
      const estimator = Estimator.make()
      const fresh = yield* simulation().call("Hi", 8)
      const searching = simulation(model, estimator)
      yield* searching.call("Hi", 30_000, [Search()])
      expect(yield* searching.call("Hi", 30_000, [Search()])).toBeGreaterThan(30_000)
      expect(yield* searching.call("Hi", 8)).toBe(fresh)
      expect(yield* simulation("openai:gpt-4.1", estimator).call("Hi", 8)).toBe(fresh)
    })
  )

  it.effect("keeps the corrections of the 256 models that were used last", () =>
    Effect.gen(function* () {
      const estimator = Estimator.make()
      const call = (of: string, truth: number) => simulation(of, estimator).call("Hi", truth)
      const fresh = yield* call("first", 1_000)
      expect(yield* call("first", 1_000)).toBeGreaterThan(1_000)
      for (let i = 0; i < 255; i++) yield* call(`model-${i}`, 10)
      expect(yield* call("first", 1_000)).toBeGreaterThan(1_000)
      for (let i = 0; i < 256; i++) yield* call(`model-${i}`, 10)
      expect(yield* call("first", 1_000)).toBe(fresh)
    })
  )
})

describe("output", () => {
  const text = english.slice(0, 4_000)
  const learn = (estimator: Estimator.Estimator, outputTokens: number, times: number, output = text) =>
    Effect.map(estimator.input({ model, prompt: Prompt.make("Hi"), tools: [] }), (estimate) => {
      for (let i = 0; i < times; i++) estimator.learn(estimate, { inputTokens: undefined, outputTokens, output })
    })

  it.effect("rises after two long responses that had more tokens, to at most twice the estimate", () =>
    Effect.gen(function* () {
      const estimator = Estimator.make()
      const before = estimator.output(model, text)
      yield* learn(estimator, 1.5 * before, 1)
      expect(estimator.output(model, text)).toBe(before)
      yield* learn(estimator, 1.5 * before, 1)
      expect(estimator.output(model, text)).toBe(Math.ceil(1.5 * 1.05 * before))
      yield* learn(estimator, 50 * before, 4)
      expect(estimator.output(model, text)).toBe(2 * before)
      yield* learn(estimator, before / 2, 16)
      expect(estimator.output(model, text)).toBe(before)
    })
  )

  it.effect("learns nothing from short responses, and nothing for the input", () =>
    Effect.gen(function* () {
      const estimator = Estimator.make()
      const input = yield* estimator.input({ model, prompt: Prompt.make(english), tools: [] })
      const before = estimator.output(model, text)
      yield* learn(estimator, 199, 16, "Hi")
      expect(estimator.output(model, text)).toBe(before)
      yield* learn(estimator, 2 * before, 16)
      expect(yield* estimator.input({ model, prompt: Prompt.make(english), tools: [] })).toEqual(input)
      expect(estimator.output(model, "")).toBe(0)
    })
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// laws
// ---------------------------------------------------------------------------------------------------------------------

const Count = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 200_000 })))
const Calls = Schema.Array(Schema.Tuple([Count, Count]))

const none = {}
const learned = (cap: number, calls: ReadonlyArray<readonly [number, number]>) => {
  const line = Line.make(cap)
  for (const [text, truth] of calls) line.learn({ text, attachments: none }, truth)
  const offset = line.reserve({ text: 0, attachments: none })
  return { line, offset, slope: (line.reserve({ text: 1_000_000, attachments: none }) - offset) / 1_000_000 }
}

describe("the line of a model", () => {
  it.prop(
    "has a slope from 1 to 2, and an offset of at most the largest residual",
    { calls: Calls },
    ({ calls }) => {
      const { offset, slope } = learned(1.25, calls)
      expect(slope).toBeGreaterThanOrEqual(1 - 1e-9)
      expect(slope).toBeLessThanOrEqual(2 + 1e-9)
      const largest = Math.max(0, ...calls.slice(-32).map(([text, truth]) => truth - text))
      expect(offset).toBeLessThanOrEqual(Math.max(8, Math.ceil(1.05 * largest)))
    },
    { arbitrary: { runs: 200 }, timeout: 60_000 }
  )

  it.prop(
    "doesn't depend on the order of the last calls",
    { calls: Calls, seed: Schema.Int },
    ({ calls, seed }) => {
      // With a cap of 2 from the start, the order of calls can't change the cap.
      const last = calls.slice(0, 32)
      const shuffled = last
        .map((call, i) => [Math.imul(i + 1, seed | 1) % 97, call] as const)
        .toSorted(([a], [b]) => a - b)
        .map(([, call]) => call)
      const [first, second] = [learned(2, last), learned(2, shuffled)]
      expect(second.offset).toBe(first.offset)
      expect(second.slope).toBe(first.slope)
    },
    { arbitrary: { runs: 200 }, timeout: 60_000 }
  )

  it.prop(
    "is above all of fewer than eight calls that its slope can reach",
    { calls: Schema.Array(Count) },
    ({ calls }) => {
      const few = calls.slice(0, 7).map((text) => [text, Math.ceil(text * 1.2) + 300] as const)
      const { line } = learned(1.25, few)
      for (const [text, truth] of few) expect(line.reserve({ text, attachments: none })).toBeGreaterThanOrEqual(truth)
    },
    { arbitrary: { runs: 200 }, timeout: 60_000 }
  )

  it.prop(
    "learns separately from text and from attachments",
    { calls: Calls, images: Schema.Array(Count) },
    ({ calls, images }) => {
      const { line } = learned(1.25, calls)
      const text = line.reserve({ text: 1_000, attachments: none })
      for (const truth of images) line.learn({ text: 100, attachments: { image: 1_000 } }, truth)
      expect(line.reserve({ text: 1_000, attachments: none })).toBe(text)

      const other = Line.make(1.25)
      for (const truth of images) other.learn({ text: 100, attachments: { image: 1_000 } }, truth)
      const ratio = (line: Line.Line) =>
        line.reserve({ text: 100, attachments: { image: 1_000 } }) - line.reserve({ text: 100, attachments: none })
      const before = ratio(other)
      for (const [text, truth] of calls) other.learn({ text, attachments: none }, truth)
      expect(ratio(other)).toBeCloseTo(before, 6)
      expect(before).toBeGreaterThanOrEqual(100)
      expect(before).toBeLessThanOrEqual(4_400)
    },
    { arbitrary: { runs: 200 }, timeout: 60_000 }
  )
})

// @effect-diagnostics schemaNumber:off
it.effect.prop(
  "an estimate is an integer of at least 1 after any reported usage",
  { reported: Schema.Array(Schema.Tuple([Schema.Number, Schema.Number])), text: Schema.String },
  ({ reported, text }) =>
    Effect.gen(function* () {
      const estimator = Estimator.make()
      const estimate = yield* estimator.input({ model, prompt: Prompt.make(text), tools: [] })
      for (const [inputTokens, outputTokens] of reported) {
        estimator.learn(estimate, { inputTokens, outputTokens, output: text })
      }
      const { tokens } = yield* estimator.input({ model, prompt: Prompt.make(text), tools: [] })
      expect(Number.isSafeInteger(tokens)).toBe(true)
      expect(tokens).toBeGreaterThanOrEqual(1)
      expect(Number.isSafeInteger(estimator.output(model, text))).toBe(true)
    }),
  { arbitrary: { runs: 200 }, timeout: 60_000 }
)

it.effect("usage that is NaN, infinite, zero or negative doesn't change estimates", () =>
  Effect.gen(function* () {
    const estimator = Estimator.make()
    const estimate = yield* estimator.input({ model, prompt: Prompt.make(english), tools: [] })
    const output = estimator.output(model, english)
    for (const usage of [Number.NaN, 0, -5, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, undefined]) {
      for (let i = 0; i < 10; i++) {
        estimator.learn(estimate, { inputTokens: usage, outputTokens: usage, output: english })
      }
    }
    expect(yield* estimator.input({ model, prompt: Prompt.make(english), tools: [] })).toEqual(estimate)
    expect(estimator.output(model, english)).toBe(output)
  })
)
