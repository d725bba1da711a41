/**
 * The tokens of files in a prompt.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Prompt from "effect/ai/Prompt"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Schema from "effect/Schema"
import * as Estimator from "../../src/Estimator.ts"
import { duration, imageSize, pdfPages } from "../../src/internal/estimator/media.ts"

// ---------------------------------------------------------------------------------------------------------------------
// files
// ---------------------------------------------------------------------------------------------------------------------

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

const bytes = (...parts: ReadonlyArray<string | ReadonlyArray<number>>): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? Array.from(part, (c) => c.charCodeAt(0)) : part)))

const big = (n: number, size: number): ReadonlyArray<number> =>
  Array.from({ length: size }, (_, i) => Math.floor(n / 256 ** (size - 1 - i)) % 256)

const little = (n: number, size: number): ReadonlyArray<number> => big(n, size).toReversed()

const image = {
  PNG: (width: number, height: number) =>
    bytes("\x89PNG\r\n\x1a\n", big(13, 4), "IHDR", big(width, 4), big(height, 4), [8, 6, 0, 0, 0]),
  GIF: (width: number, height: number) => bytes("GIF89a", little(width, 2), little(height, 2), [0xf7, 0, 0]),
  JPEG: (width: number, height: number) =>
    bytes(
      [0xff, 0xd8],
      [0xff, 0xe0, ...big(16, 2), ...ascii("JFIF\0"), 1, 1, 0, 0, 1, 0, 1, 0, 0],
      // A thumbnail in an EXIF segment, and a Huffman table, which has a marker in the range of frames.
      [0xff, 0xe1, ...big(12, 2), 0xff, 0xc0, 0, 17, 8, 0, 9, 0, 9, 3],
      [0xff, 0xc4, ...big(4, 2), 0, 0],
      [0xff, 0xff, 0xc2, ...big(17, 2), 8, ...big(height, 2), ...big(width, 2), 3]
    ),
  "WebP VP8": (width: number, height: number) =>
    bytes(
      "RIFF",
      little(100, 4),
      "WEBPVP8 ",
      little(80, 4),
      [0, 0, 0, 0x9d, 1, 0x2a],
      little(width, 2),
      little(height, 2)
    ),
  "WebP VP8L": (width: number, height: number) =>
    bytes("RIFF", little(100, 4), "WEBPVP8L", little(80, 4), [0x2f], little((height - 1) * 16_384 + width - 1, 4)),
  "WebP VP8X": (width: number, height: number) =>
    bytes("RIFF", little(100, 4), "WEBPVP8X", little(10, 4), [0, 0, 0, 0], little(width - 1, 3), little(height - 1, 3))
}

const wav = (seconds: number): Uint8Array => {
  const data = seconds * 32_000
  const format = bytes("fmt ", little(16, 4), [1, 0, 1, 0], little(16_000, 4), little(32_000, 4), [2, 0, 16, 0])
  const header = bytes("RIFF", little(36 + data, 4), "WAVE", "LIST", little(3, 4), "abc\0")
  const file = new Uint8Array(header.length + format.length + 8 + data)
  file.set(header)
  file.set(format, header.length)
  file.set(bytes("data", little(data, 4)), header.length + format.length)
  return file
}

const mp4 = (seconds: number): Uint8Array =>
  bytes(
    [...big(16, 4), ...ascii("ftypisom"), ...big(0, 4)],
    [...big(116, 4), ...ascii("moov"), ...big(108, 4), ...ascii("mvhd")],
    [...big(0, 4), ...big(0, 8), ...big(1_000, 4), ...big(seconds * 1_000, 4)]
  )

const pdf = (...objects: ReadonlyArray<string>): Uint8Array =>
  ascii(`%PDF-1.7\n${objects.map((object, i) => `${i + 1} 0 obj\n${object}\nendobj`).join("\n")}\n%%EOF`)

const page = "<< /Type /Page /Parent 1 0 R >>"

/** Pages in an object stream, whose text is compressed. */
const compressedPdf = (size: number): Uint8Array =>
  pdf(`<< /Type /ObjStm /N 100 /First 800 /Filter /FlateDecode >>\nstream\n${"x".repeat(size)}\nendstream`)

// ---------------------------------------------------------------------------------------------------------------------
// estimates
// ---------------------------------------------------------------------------------------------------------------------

const file = (mediaType: string, data: string | Uint8Array | URL, options: Record<string, Schema.Json> = {}) =>
  Prompt.make([{ role: "user", content: [{ type: "file", mediaType, data, options }] }])

const estimate = (model: string, prompt: Prompt.Prompt, options?: Estimator.Options) =>
  Estimator.make(options).input({ model, prompt, tools: [] })

/** The tokens of the attachments of a prompt, by class. */
const attached = (model: string, prompt: Prompt.Prompt, options?: Estimator.Options) =>
  Effect.map(estimate(model, prompt, options), ({ attachments }) => attachments)

describe("imageSize", () => {
  for (const [format, make] of Object.entries(image)) {
    it(`reads the header of ${format}`, () => {
      expect(imageSize(make(1_234, 567))).toEqual({ width: 1_234, height: 567 })
      expect(imageSize(make(1, 1))).toEqual({ width: 1, height: 1 })
    })

    it(`is undefined for each truncated header of ${format}`, () => {
      const whole = make(1_234, 567)
      const least = whole.length - (format === "PNG" ? 5 : format === "GIF" ? 3 : format === "JPEG" ? 1 : 0)
      for (let length = 0; length < least; length++) expect(imageSize(whole.slice(0, length))).toBeUndefined()
    })
  }

  it("is undefined for sizes that no image has", () => {
    expect(imageSize(image.PNG(0, 100))).toBeUndefined()
    expect(imageSize(image.PNG(4_000_000_000, 100))).toBeUndefined()
    expect(imageSize(ascii("no image"))).toBeUndefined()
  })

  it.prop("never throws", { bytes: Schema.Array(Schema.Int) }, ({ bytes }) => {
    for (const start of [[0xff, 0xd8], Array.from(image["WebP VP8"](9, 9)), Array.from(wav(0)), Array.from(mp4(1))]) {
      const data = Uint8Array.from([...start, ...bytes])
      imageSize(data)
      duration(data)
      expect(pdfPages(data)).toBeGreaterThanOrEqual(1)
    }
  })
})

describe("images", () => {
  const cases: ReadonlyArray<readonly [model: string, width: number, height: number, tokens: number]> = [
    // OpenAI by tiles: 85 + 170 a tile after the image has been fitted.
    ["openai:gpt-4o", 512, 512, 255],
    ["openai:gpt-4o", 1_024, 1_024, 765],
    ["openai:gpt-5", 2_048, 4_096, 1_105],
    ["openai:o1", 8_000, 3_000, 1_445],
    ["openai:gpt-4o-mini", 1_024, 1_024, 2_833 + 4 * 5_667],
    // By tiles or by patches of 32, whichever is larger.
    ["openai:gpt-4.1", 1_024, 1_024, 1_024],
    ["openai:gpt-4.1", 100, 100, 255],
    ["openai:gpt-4.1-mini", 1_024, 1_024, 1_024 * 1.62],
    ["openai:gpt-5-nano", 4_000, 4_000, 1_536 * 2.46],
    ["openai:o4-mini", 320, 320, 100 * 1.72],
    ["openai:gpt-5.2", 4_000, 3_000, 1.2 * 125 * 94],
    // Claude by squares of 28.
    ["anthropic:claude-sonnet-4-5", 560, 560, 400],
    ["anthropic:claude-sonnet-4-5", 4_000, 3_000, 1_700],
    ["anthropic:claude-opus-4-7", 2_000, 1_500, 3_888],
    ["anthropic:claude-opus-4-7", 4_000, 3_000, 5_000],
    ["anthropic:claude-unknown", 2_000, 1_500, 3_888],
    ["google:gemini-2.5-flash", 384, 384, 258],
    ["google:gemini-2.5-flash", 1_536, 1_536, 1_032],
    ["google:gemini-2.5-flash", 960, 540, 1_548],
    ["google:gemini-3-pro", 4_000, 4_000, 1_120],
    ["ollama:llava", 4_000, 4_000, 2_900]
  ]
  for (const [model, width, height, tokens] of cases) {
    it.effect(`of ${width} x ${height} for ${model}`, () =>
      Effect.gen(function* () {
        const expected = { image: Math.ceil(1.05 * tokens) }
        expect(yield* attached(model, file("image/png", image.PNG(width, height)))).toEqual(expected)
      })
    )
  }

  const ceilings: Readonly<Record<string, number>> = {
    "openai:gpt-4o": 1_445,
    "openai:gpt-4o-mini": 48_169,
    "openai:gpt-4.1-mini": 1_536 * 1.62,
    "openai:gpt-5.2": 16_000,
    "claude-sonnet-4": 1_700,
    "claude-opus-4-7": 5_000,
    "gemini-3-pro": 1_120,
    unknown: 2_900
  }
  for (const [model, tokens] of Object.entries(ceilings)) {
    it.effect(`of unknown size count the most that ${model} takes`, () =>
      Effect.gen(function* () {
        for (const data of [
          new URL("https://example.com/cat.png"),
          "https://example.com/cat.png",
          "file-AbC123",
          "files/abc-123",
          "file_011CNha8iCJcU1wXNR6q4V8w",
          "gs://bucket/cat.png",
          "data:image/png;base64,iVBO",
          "not an image",
          "",
          new Uint8Array(5_000_000),
          image.JPEG(100, 100).slice(0, 20)
        ]) {
          const expected = { image: Math.ceil(1.05 * tokens) }
          expect(yield* attached(model, file("image/png", data))).toEqual(expected)
        }
      })
    )
  }

  it.effect("have the same size as bytes, as base64 and as data URL", () =>
    Effect.gen(function* () {
      const whole = image.JPEG(1_024, 1_024)
      const base64 = Base64.encode(whole)
      const url = `data:image/jpeg;base64,${base64}`
      for (const data of [whole, base64, url, new URL(url)]) {
        expect(yield* attached("openai:gpt-4o", file("image/jpeg", data))).toEqual({ image: 804 })
      }
    })
  )

  it.effect("of low detail count 90 tokens for OpenAI, and their size for Anthropic", () =>
    Effect.gen(function* () {
      const prompt = file("image/png", image.PNG(4_000, 4_000), { openai: { imageDetail: "low" } })
      expect(yield* attached("openai:gpt-4o", prompt)).toEqual({ image: 90 })
      expect(yield* attached("claude-sonnet-4", prompt)).toEqual({ image: 1_785 })
    })
  )

  it.effect("in the output of a tool count as images", () =>
    Effect.gen(function* () {
      const prompt = Prompt.make([
        {
          role: "tool",
          content: [
            {
              type: "tool-result",
              id: "call_1",
              name: "screenshot",
              isFailure: false,
              result: "x".repeat(100_000),
              modelOutput: [{ type: "file", mediaType: "image/png", data: image.PNG(1_024, 1_024) }]
            }
          ]
        }
      ])
      const { attachments, text } = yield* estimate("openai:gpt-4o", prompt)
      expect(attachments).toEqual({ image: 804 })
      expect(text).toBeLessThan(50)
    })
  )
})

describe("pdfPages", () => {
  it("counts the pages of a plain file, not their tree", () => {
    expect(pdfPages(pdf("<< /Type /Pages /Kids [2 0 R 3 0 R] >>", page, page))).toBe(2)
    expect(pdfPages(pdf("<</Type/Pages/Count 3/Kids[]>>", "<</Type/Page>>", "<</Type/Page>>", "<</Type/Page>>"))).toBe(
      3
    )
  })

  it("reads the number of pages that a file declares", () => {
    expect(pdfPages(pdf("<< /Linearized 1 /L 9000000 /O 5 /N 12 >>", page, "<< /Type /ObjStm >>"))).toBe(12)
    expect(pdfPages(pdf("<< /Kids [2 0 R] /Count 7 /Type /Pages >>", "<< /Type /ObjStm >>"))).toBe(7)
  })

  it("is a page for every 2,000 bytes if the pages are in object streams, at most 600", () => {
    expect(pdfPages(compressedPdf(20_000))).toBe(11)
    expect(pdfPages(compressedPdf(5_000_000))).toBe(600)
    expect(pdfPages(pdf(page, "<< /Type /ObjStm >>\nstream\n" + "x".repeat(20_000)))).toBe(11)
    expect(pdfPages(new Uint8Array(0))).toBe(1)
  })
})

describe("files", () => {
  const pages = (count: number) => pdf(...Array.from({ length: count }, () => page))

  it.effect("of PDF count the image and the text of each page", () =>
    Effect.gen(function* () {
      const three = file("application/pdf", pages(3))
      expect(yield* attached("claude-sonnet-4", three)).toEqual({ pdf: Math.ceil(1.05 * 15_000) })
      expect(yield* attached("claude-opus-4-7", three)).toEqual({ pdf: Math.ceil(1.05 * 24_000) })
      expect(yield* attached("gemini-2.5-pro", three)).toEqual({ pdf: Math.ceil(1.05 * 774) })
      expect(yield* attached("gemini-3-pro", three)).toEqual({ pdf: Math.ceil(1.05 * 1_680) })
      expect((yield* attached("gpt-4o", three))["pdf"]).toBeGreaterThanOrEqual(3 * 1_445)
      const dense = file("application/pdf", pdf(page, `stream\n${"x".repeat(8_000)}`))
      expect((yield* attached("claude-sonnet-4", dense))["pdf"]).toBeGreaterThanOrEqual(1_700 + 6_000)
      expect(
        (yield* attached("claude-sonnet-4", file("application/pdf", compressedPdf(90_000))))["pdf"]
      ).toBeGreaterThan(45 * 5_000)
    })
  )

  it.effect("of PDF are recognized by their first bytes", () =>
    Effect.gen(function* () {
      const plain = yield* attached("claude-sonnet-4", file("application/octet-stream", pages(2)))
      expect(plain).toEqual(yield* attached("claude-sonnet-4", file("application/pdf", pages(2))))
    })
  )

  it.effect("of text count as text, decoded", () =>
    Effect.gen(function* () {
      const json = JSON.stringify(Array.from({ length: 200 }, (_, id) => ({ id, name: `name ${id}` })))
      const { tokens: expected } = yield* estimate("gpt-4o", Prompt.make(json))
      const url = `data:application/json,${encodeURIComponent(json)}`
      for (const data of [ascii(json), Base64.encode(json), url, new URL(url), json]) {
        for (const mediaType of ["application/json", "text/plain", "application/ld+json", "TEXT/CSV; charset=utf-8"]) {
          const { attachments, tokens } = yield* estimate("gpt-4o", file(mediaType, data))
          expect(attachments).toEqual({})
          expect(tokens).toBe(expected)
        }
      }
      const svg = yield* estimate("gpt-4o", file("image/svg+xml", ascii("<svg/>")))
      expect(svg.attachments).toEqual({})
    })
  )

  it.effect("count their names", () =>
    Effect.gen(function* () {
      const named = (fileName: string) =>
        Prompt.make([{ role: "user", content: [{ type: "file", mediaType: "image/png", data: "", fileName }] }])
      const { text } = yield* estimate("gpt-4o", named("a.png"))
      expect((yield* estimate("gpt-4o", named("Quarterly report, final version (3).png"))).text).toBeGreaterThan(
        text + 5
      )
    })
  )

  it.effect("that are only an address count 52,500 tokens", () =>
    Effect.gen(function* () {
      for (const mediaType of ["application/pdf", "text/plain", "audio/wav", "application/zip"]) {
        for (const data of [new URL("https://example.com/a"), "https://example.com/a", "file-abc", "files/abc"]) {
          expect(yield* attached("gpt-4o", file(mediaType, data))).toEqual({ address: 52_500 })
        }
      }
    })
  )

  it.effect("of sound and film count seconds", () =>
    Effect.gen(function* () {
      expect(yield* attached("gemini-2.5-pro", file("audio/wav", wav(60)))).toEqual({ audio: 2_016 })
      expect(yield* attached("gemini-2.5-pro", file("video/mp4", mp4(60)))).toEqual({ video: 16_569 })
      // Without a length, a file of the lowest plausible rate.
      expect(yield* attached("gemini-2.5-pro", file("audio/mpeg", new Uint8Array(60_000)))).toEqual({ audio: 2_016 })
      expect(duration(wav(0))).toBeUndefined()
    })
  )

  it.effect("of other types count 0.525 tokens for each byte, at least 1,050", () =>
    Effect.gen(function* () {
      expect(yield* attached("gpt-4o", file("application/zip", new Uint8Array(10_000)))).toEqual({ bytes: 5_250 })
      expect(yield* attached("gpt-4o", file("application/zip", new Uint8Array(10)))).toEqual({ bytes: 1_050 })
    })
  )

  it.effect("count what attachmentTokens returns, or else by the rules", () =>
    Effect.gen(function* () {
      const given = (tokens: number | undefined) =>
        attached("gpt-4o", file("text/plain", ascii("Hello")), { attachmentTokens: () => tokens })
      expect(yield* given(123)).toEqual({ text: 123 })
      expect(yield* given(0)).toEqual({ text: 0 })
      for (const tokens of [undefined, Number.NaN, -1]) expect(yield* given(tokens)).toEqual({})
      const attachmentTokens = () => {
        throw new Error("no idea")
      }
      expect(yield* attached("gpt-4o", file("image/png", ""), { attachmentTokens })).toEqual({ image: 1_518 })
    })
  )
})
