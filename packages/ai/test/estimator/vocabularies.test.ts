/**
 * The estimates of texts, compared with real vocabularies.
 */
import { describe, expect, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { encode as encodeCl100k } from "gpt-tokenizer/encoding/cl100k_base"
import { encode as encodeO200k } from "gpt-tokenizer/encoding/o200k_base"
import { tokensOfString } from "../../src/internal/estimator/count.ts"
import type { Column } from "../../src/internal/estimator/weights.ts"
import { languages, simple } from "../fixtures/languages.ts"

interface Sample {
  readonly kind: string
  readonly group: string
  readonly text: string
  readonly tokens: Readonly<Record<string, number>>
}

const samples: ReadonlyArray<Sample> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/generated-samples.json"), "utf8")
)

/** The vocabularies that were counted, by the column that covers them. `any` covers all of them. */
const counted: ReadonlyArray<{ readonly column: Column; readonly vocabularies: ReadonlyArray<string> }> = [
  { column: "o200k", vocabularies: ["o200k"] },
  { column: "claude3", vocabularies: ["claude3"] },
  { column: "claude47", vocabularies: ["claude47"] },
  { column: "gemini", vocabularies: ["gemma2", "gemma3"] },
  { column: "open", vocabularies: ["cl100k", "llama3", "qwen3", "deepseek3", "tekken"] }
]

/** Chinese characters and Hangul in random order, which the weights don't cover. */
const shuffled: ReadonlyArray<string> = [
  "random CJK (20,992)",
  "random Hangul syllables",
  "hanzi level 1 at random",
  "hanzi level 1, traditional",
  "Hangul of KS X 1001 at random"
]

const options = { disallowedSpecial: new Set<string>() }
const o200k = (text: string): number => encodeO200k(text, options).length
const cl100k = (text: string): number => encodeCl100k(text, options).length

const estimate = (column: Column, text: string): number => tokensOfString(text, [column])

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** Source files of this repository. */
const sources = (folder: string, extension: string): ReadonlyArray<string> => {
  const root = join(import.meta.dirname, "../../../..", folder)
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension))
    .toSorted()
    .map((name) => readFileSync(join(root, name), "utf8"))
    .filter((text) => text.length > 1_000)
}

describe("generated text", () => {
  it("has every kind of the reference", () => {
    expect(samples.length).toBe(141)
    expect(shuffled.filter((kind) => !samples.some((sample) => sample.kind === kind))).toEqual([])
  })

  for (const { column, vocabularies } of counted) {
    const columns = [column, "any"] as const
    it(`is never estimated below ${vocabularies.join(", ")}, except shuffled Chinese and Korean`, () => {
      const low = samples.flatMap(({ kind, text, tokens }) => {
        const least = shuffled.includes(kind) ? 0.7 : 1
        return vocabularies.flatMap((vocabulary) =>
          columns.flatMap((name) => {
            const ratio = estimate(name, text) / (tokens[vocabulary] ?? Number.NaN)
            return ratio >= least ? [] : [`${kind} in ${vocabulary} by ${name}: ${ratio.toFixed(3)}`]
          })
        )
      })
      expect(low).toEqual([])
    })
  }
})

describe("the fixture", () => {
  it("has the counts of gpt-tokenizer, except for zero width characters", () => {
    const wrong = samples.filter(({ text, tokens }) => o200k(text) !== tokens.o200k || cl100k(text) !== tokens.cl100k)
    // gpt-tokenizer has another encoding of U+FEFF than tiktoken.
    expect(wrong.map(({ kind }) => kind)).toEqual(["zero width"])
  })
})

describe("natural language", () => {
  for (const [language, texts] of Object.entries(languages)) {
    it(`in ${language} is never estimated below o200k and cl100k`, () => {
      for (const text of [...texts, texts.join("\n\n"), texts.join("\n\n").repeat(10)]) {
        // The frame of a message: 12 tokens are estimated, and OpenAI counts 7.
        expect(estimate("o200k", text) + 12).toBeGreaterThanOrEqual(o200k(text) + 7)
        expect(estimate("open", text) + 12).toBeGreaterThanOrEqual(cl100k(text) + 7)
        expect(estimate("any", text) + 12).toBeGreaterThanOrEqual(Math.max(o200k(text), cl100k(text)) + 7)
      }
    })
  }

  for (const [language, texts] of Object.entries(simple)) {
    it(`of simple sentences in ${language} is never estimated below o200k and cl100k`, () => {
      for (const text of texts.flatMap((text) => [text, text.repeat(50)])) {
        expect(estimate("o200k", text)).toBeGreaterThanOrEqual(o200k(text))
        expect(estimate("open", text)).toBeGreaterThanOrEqual(cl100k(text))
        expect(estimate("any", text)).toBeGreaterThanOrEqual(Math.max(o200k(text), cl100k(text)))
      }
    })
  }

  it("is estimated tightly by o200k", () => {
    const ratios = (language: string) => {
      const texts = languages[language] ?? []
      return median(texts.map((text) => estimate("o200k", text) / o200k(text)))
    }
    expect(ratios("English")).toBeLessThanOrEqual(1.3)
    const others = ["Chinese", "Japanese", "Korean", "Russian", "Ukrainian", "Arabic", "Hindi", "Thai"].map(ratios)
    expect(Math.max(...others)).toBeLessThanOrEqual(1.9)
    expect(median(others)).toBeLessThanOrEqual(1.35)
  })
})

describe("code", () => {
  const kinds = {
    "TypeScript of sources": sources("packages/client/src", ".ts"),
    "TypeScript of tests": sources("packages/ai/test", ".test.ts"),
    "TypeScript of examples": sources("docs/examples", ".ts"),
    "Markdown of guides": sources("docs/guide", ".md"),
    "TypeScript of scripts": sources("scripts", ".ts"),
    "minified TypeScript": sources("scripts", ".ts").map((text) => text.replaceAll(/\s+/g, " "))
  }
  for (const [kind, texts] of Object.entries(kinds)) {
    it(`such as ${kind} is never estimated below o200k and cl100k, and tightly`, () => {
      expect(texts.length).toBeGreaterThan(1)
      for (const text of texts) {
        expect(estimate("o200k", text)).toBeGreaterThanOrEqual(o200k(text))
        expect(estimate("open", text)).toBeGreaterThanOrEqual(cl100k(text))
      }
      expect(median(texts.map((text) => estimate("o200k", text) / o200k(text)))).toBeLessThanOrEqual(1.35)
    })
  }

  it("such as JSON and schemas is estimated tightly", () => {
    const ratios = samples.flatMap(({ kind, text, tokens }) =>
      /^(JSON (mixed|records|in)|tool schemas)/.test(kind) ? [estimate("o200k", text) / (tokens.o200k ?? 1)] : []
    )
    expect(ratios.length).toBeGreaterThan(4)
    expect(median(ratios)).toBeLessThanOrEqual(1.35)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// random text
// ---------------------------------------------------------------------------------------------------------------------

/** Words of one alphabet each; the characters of a word are in any order. */
const alphabets = {
  small: "abcdefghijklmnopqrstuvwxyz",
  capital: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  mixed: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/",
  digits: "0123456789",
  signs: ".,:;\"'(){}[]/-_=<>!?@#$%^&*+|~`\\",
  spaces: " \n\t",
  latin: "äöüßéèêàçñãõøåæœłżšč",
  cyrillic: "абвгдежзиклмнопрстуфхцчшщъыьэюя",
  emoji: "😀🎉🚀👍🏽❤🌍"
}

// @effect-diagnostics schemaNumber:off
it.prop(
  "random text is estimated at 0.95 of o200k and cl100k or more",
  {
    words: Schema.Array(
      Schema.Tuple([
        Schema.Literals(["small", "capital", "mixed", "digits", "signs", "spaces", "latin", "cyrillic", "emoji"]),
        Schema.Array(Schema.Int)
      ])
    )
  },
  ({ words }) => {
    const text = words
      .map(([alphabet, indexes]) => {
        const characters = Array.from(alphabets[alphabet])
        return indexes.map((index) => characters[Math.abs(index) % characters.length]).join("")
      })
      .join(" ")
    // Pieces of a few characters vary by a few tokens, which the frame of a request covers.
    expect(estimate("o200k", text) + 12).toBeGreaterThanOrEqual(0.95 * o200k(text))
    expect(estimate("open", text) + 12).toBeGreaterThanOrEqual(0.95 * cl100k(text))
  },
  { arbitrary: { runs: 200 }, timeout: 60_000 }
)
