/**
 * Counting the features of a text.
 */
import { describe, expect, it, vi } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { tokensOfString } from "../../src/internal/estimator/count.ts"
import { features } from "../../src/internal/estimator/features.ts"
import { type Column, indexOf, type Feature, size } from "../../src/internal/estimator/weights.ts"

const columns: ReadonlyArray<Column> = ["o200k", "claude3", "claude47", "gemini", "open", "any"]

/** The features that a text has. */
const counted = (text: string, ...names: ReadonlyArray<Feature>): ReadonlyArray<number | undefined> => {
  const counts = features(text)
  return names.map((name) => counts[indexOf(name)])
}

describe("features", () => {
  it("cuts words where a capital follows a small letter", () => {
    expect(counted("getHTTPResponse", "word piece", "Capital piece", "capital in a run")).toEqual([2, 0, 5])
    expect(counted("fooBar", "word piece", "Capital piece", "piece after a letter or digit")).toEqual([2, 1, 1])
    expect(counted("abcdefghijklmno", "letters 4+", "letters 8+", "letters 13+")).toEqual([12, 8, 3])
    expect(counted("a", "piece of one letter", "ends in a i o u")).toEqual([1, 0])
  })

  it("counts digits singly, by threes and by runs", () => {
    expect(counted("x1234 56", "digit", "three digits", "digit run", "digit after letter")).toEqual([6, 3, 2, 1])
  })

  it("counts white space by what surrounds it", () => {
    const names = ["space before letter", "space before digit", "space before sign", "space before other"] as const
    expect(counted("a b 1 - я ", ...names)).toEqual([1, 1, 2, 1])
    expect(counted(" ".repeat(40), "run of spaces", "16 spaces")).toEqual([1, 2])
    expect(counted("a\r\n\n\tb\n  c", "line break", "further line break", "tab", "indented line")).toEqual([2, 2, 1, 2])
  })

  it("counts signs by whether they are common, repeated or between letters", () => {
    const names = [
      "sign, common",
      "sign, other",
      "further sign, common",
      "further sign, other",
      "same sign again"
    ] as const
    expect(counted("(% ==> ?!", ...names)).toEqual([2, 1, 1, 2, 1])
    expect(counted("a-b c- d", "sign between letters")).toEqual([1])
  })

  it("counts half of a surrogate pair as a replacement character", () => {
    expect(counted("\ud83d", "other astral", "emoji")).toEqual([1, 0])
    expect(counted("\udc00\ud83d\ude00", "other astral", "emoji")).toEqual([1, 1])
  })

  it("distinguishes common Chinese and Korean characters from less common ones", () => {
    expect(counted("的龘", "CJK", "CJK, less common", "run of CJK or kana")).toEqual([1, 1, 1])
    expect(counted("가뷁", "Hangul", "Hangul, less common")).toEqual([1, 1])
  })

  it("counts all characters as less common if the platform has no encodings", async () => {
    const text = "每天清晨，老人都会沿着河边散步。 할머니 댁 마당에는 커다란 감나무가 한 그루 있었다."
    vi.resetModules()
    vi.stubGlobal("TextDecoder", function (label: string) {
      throw new RangeError(`unknown encoding ${label}`)
    })
    try {
      const bare = await import("../../src/internal/estimator/count.ts")
      for (const column of columns) {
        expect(bare.tokensOfString(text, [column])).toBeGreaterThan(tokensOfString(text, [column]))
      }
    } finally {
      vi.unstubAllGlobals()
      vi.resetModules()
    }
  })
})

describe("tokens", () => {
  it("are at least 1, also for an empty text", () => {
    for (const column of columns) expect(tokensOfString("", [column])).toBe(1)
  })

  it("are never more than bytes in a vocabulary of bytes", () => {
    expect(tokensOfString("\u{1F9EC}\u{1F9EC}", ["o200k"])).toBeLessThanOrEqual(9)
  })

  it("are the larger count of several vocabularies", () => {
    const text = "Some text, and some more of it."
    expect(tokensOfString(text, ["claude3", "claude47"])).toBe(
      Math.max(tokensOfString(text, ["claude3"]), tokensOfString(text, ["claude47"]))
    )
  })

  it("take one pass over the text, of up to 10 MB", () => {
    const reads = (length: number) => {
      const text = "Lorem ipsum, 12 dolores!\n\tsit  ämet 每天 ".repeat(length / 41)
      let units = 0
      const charCodeAt = vi.spyOn(String.prototype, "charCodeAt").mockImplementation(function (
        this: string,
        i: number
      ) {
        units++
        return (this.codePointAt(i) ?? Number.NaN) & 0xffff
      })
      features(text)
      charCodeAt.mockRestore()
      return units / text.length
    }
    expect(reads(41_000)).toBeLessThan(2.5)
    expect(Math.abs(reads(41_000) - reads(4_100))).toBeLessThan(0.01)
    expect(tokensOfString("word ".repeat(2_000_000), ["o200k"])).toBeGreaterThan(2_000_000)
  }, 60_000)

  it.prop(
    "are integers from 1, and those of a text are near the sum of its halves",
    { first: Schema.String, second: Schema.String },
    ({ first, second }) => {
      for (const column of columns) {
        const [a, b, both] = [first, second, first + second].map((text) => tokensOfString(text, [column]))
        expect(both).toSatisfy((tokens) => Number.isSafeInteger(tokens) && tokens >= 1)
        // A joint can make one word of two, or two halves of a surrogate pair into one character.
        expect(both).toBeLessThanOrEqual((a ?? 0) + (b ?? 0) + 12)
        expect(both).toBeGreaterThanOrEqual((a ?? 0) - 12)
      }
    },
    { arbitrary: { runs: 300 }, timeout: 60_000 }
  )

  it.prop(
    "are integers from 1 for any UTF-16 units",
    { units: Schema.Array(Schema.Int) },
    ({ units }) => {
      const text = String.fromCharCode(...units.map((unit) => unit & 0xffff))
      expect(features(text).length).toBe(size + 1)
      for (const column of columns) {
        expect(tokensOfString(text, [column])).toSatisfy((tokens) => Number.isSafeInteger(tokens) && tokens >= 1)
      }
    },
    { arbitrary: { runs: 300 }, timeout: 60_000 }
  )
})
