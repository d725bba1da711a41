/**
 * The tokens of files in a prompt, by the rules of their provider.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { vocabulariesOf } from "./columns.ts"
import { duration, type ImageSize, imageSize, pdfPages } from "./media.ts"
import { findByName } from "./names.ts"

/** The content of a file, for any provider. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "image"; readonly size: ImageSize | undefined; readonly isLowDetail: boolean }
  | { readonly kind: "pdf"; readonly pages: number; readonly bytes: number }
  | { readonly kind: "audio" | "video"; readonly seconds: number }
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "address" }

/** The content of a file that isn't text. */
export type Attached = Exclude<Content, { readonly kind: "text" }>

// ---------------------------------------------------------------------------------------------------------------------
// content
// ---------------------------------------------------------------------------------------------------------------------

const contents = new WeakMap<Prompt.FilePart, { readonly data: Prompt.FilePart["data"]; readonly content: Content }>()

/** The content of a file, by its media type and its bytes. */
export const contentOf = (part: Prompt.FilePart): Content => {
  const known = contents.get(part)
  if (known !== undefined && known.data === part.data) return known.content
  const content = readContent(part)
  contents.set(part, { data: part.data, content })
  return content
}

const readContent = (part: Prompt.FilePart): Content => {
  const source = sourceOf(part.data)
  const mediaType = (part.mediaType || source.mediaType || "").toLowerCase().split(";")[0]?.trim() ?? ""
  const { bytes } = source
  if (isText(mediaType)) return bytes === undefined ? { kind: "address" } : { kind: "text", text: utf8(bytes) }
  if (mediaType.startsWith("image/")) {
    return { kind: "image", size: bytes && imageSize(bytes), isLowDetail: isLowDetail(part.options) }
  }
  if (bytes === undefined) return { kind: "address" }
  if (mediaType === "application/pdf" || isPdf(bytes))
    return { kind: "pdf", pages: pdfPages(bytes), bytes: bytes.length }
  if (mediaType.startsWith("audio/")) return { kind: "audio", seconds: duration(bytes) ?? bytes.length / 1_000 }
  if (mediaType.startsWith("video/")) return { kind: "video", seconds: duration(bytes) ?? bytes.length / 10_000 }
  return { kind: "bytes", bytes: bytes.length }
}

const isPdf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x25 && bytes[1] === 0x50 && bytes[2] === 0x44 && bytes[3] === 0x46

const isText = (mediaType: string): boolean =>
  mediaType.startsWith("text/") ||
  /^(application|image)\/((x-)?(json|ndjson|jsonl|xml|yaml|csv|toml|sql|javascript|typescript|ecmascript|sh|httpd-php)|[^/]*\+(json|xml|yaml))$/.test(
    mediaType
  )

interface Source {
  readonly mediaType?: string | undefined
  /** The file, unless it is an address. */
  readonly bytes?: Uint8Array | undefined
}

const sourceOf = (data: Prompt.FilePart["data"]): Source => {
  if (data instanceof Uint8Array) return { bytes: data }
  const text = typeof data === "string" ? data : data.href
  if (/^data:/i.test(text)) return dataUrl(text)
  if (typeof data !== "string" || isAddress(text)) return {}
  return { bytes: base64(text) ?? new TextEncoder().encode(text) }
}

const isAddress = (text: string): boolean =>
  /^[a-z][a-z\d+.-]*:\/\//i.test(text) || (text.length < 256 && /^(file-|files\/|file_)/.test(text))

const dataUrl = (url: string): Source => {
  const comma = url.indexOf(",")
  const head = url.slice(5, Math.max(5, comma))
  const body = url.slice(comma + 1)
  const mediaType = head.split(";")[0]
  if (/;\s*base64\s*$/i.test(head)) return { mediaType, bytes: base64(body) ?? new TextEncoder().encode(body) }
  try {
    return { mediaType, bytes: new TextEncoder().encode(decodeURIComponent(body)) }
  } catch {
    return { mediaType, bytes: new TextEncoder().encode(body) }
  }
}

const base64 = (text: string): Uint8Array | undefined => Result.getOrUndefined(Base64.decode(text))

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Whether the options of a part, by provider, request an image of low detail. */
const isLowDetail = (options: Prompt.FilePart["options"]): boolean =>
  Object.values(options ?? {}).some(
    (option) =>
      Predicate.isObject(option) &&
      ((Predicate.hasProperty(option, "imageDetail") && option.imageDetail === "low") ||
        (Predicate.hasProperty(option, "detail") && option.detail === "low"))
  )

// ---------------------------------------------------------------------------------------------------------------------
// rules
// ---------------------------------------------------------------------------------------------------------------------

/** How a provider counts the tokens of attachments. */
interface Rules {
  readonly image: (size: ImageSize | undefined, isLowDetail: boolean) => number
  /** Tokens of a page of a PDF: of its image, and of its text if the provider adds that. */
  readonly page: { readonly image: number; readonly leastText: number; readonly mostText: number }
  readonly audioPerSecond: number
  readonly videoPerSecond: number
  readonly perByte: number
}

/** Tokens of an attachment, an integer of at least 1. */
export const tokensOf = (content: Attached, model: string): number => {
  const rules = findByName(model, rulesByName) ?? other
  return Math.max(1, Math.ceil(1.05 * tokensBy(rules, content)))
}

const tokensBy = (rules: Rules, content: Attached): number => {
  switch (content.kind) {
    case "image":
      return rules.image(content.size, content.isLowDetail)
    case "pdf": {
      const { image, leastText, mostText } = rules.page
      const text = Math.min(mostText, Math.max(leastText, (0.75 * content.bytes) / content.pages))
      return content.pages * (image + text)
    }
    case "audio":
      return content.seconds * rules.audioPerSecond
    case "video":
      return content.seconds * rules.videoPerSecond
    case "bytes":
      return Math.max(1_000, content.bytes * rules.perByte)
    case "address":
      return 50_000
  }
}

/** The number of squares that an image covers after it has been reduced to a longest side. */
const squares = ({ height, width }: ImageSize, side: number, longest = Infinity): number => {
  const scale = Math.min(1, longest / Math.max(width, height))
  return Math.ceil((width * scale) / side) * Math.ceil((height * scale) / side)
}

/** OpenAI: fits the image into 2,048 and its short side into 768, and counts tiles of 512. */
const tiles =
  (base: number, tile: number): Rules["image"] =>
  (size, isLowDetail) => {
    if (isLowDetail) return base
    if (size === undefined) return base + 8 * tile
    const { height, width } = size
    const fitted = Math.min(1, 2_048 / Math.max(width, height))
    const scale = Math.min(fitted, 768 / Math.min(width, height))
    return base + tile * squares({ width: width * scale, height: height * scale }, 512)
  }

/** OpenAI: counts patches of 32, at most 1,536. */
const patches =
  (factor: number): Rules["image"] =>
  (size) =>
    factor * Math.min(1_536, size === undefined ? Infinity : squares(size, 32))

const larger =
  (first: Rules["image"], second: Rules["image"]): Rules["image"] =>
  (size, isLowDetail) =>
    Math.max(first(size, isLowDetail), second(size, isLowDetail))

/** Claude: counts squares of 28 of an image that has been reduced to a longest side. */
const grid =
  (longest: number, ceiling: number): Rules["image"] =>
  (size) =>
    Math.min(ceiling, size === undefined ? ceiling : squares(size, 28, longest))

/** Gemini 2: counts 258 tokens for each tile; tiles of small images are smaller. */
const geminiTiles: Rules["image"] = (size) => {
  if (size === undefined) return 258 * 24
  if (size.width <= 384 && size.height <= 384) return 258
  const side = Math.min(768, Math.max(256, Math.floor(Math.min(size.width, size.height) / 1.5)))
  return 258 * Math.min(24, squares(size, side))
}

const openAi = (image: Rules["image"], page: number): Rules => ({
  image,
  page: { image: page, leastText: 3_000, mostText: 8_000 },
  audioPerSecond: 10,
  videoPerSecond: 300,
  perByte: 0.5
})

const gemini = (image: Rules["image"], page: number): Rules => ({
  image,
  page: { image: page, leastText: 0, mostText: 0 },
  audioPerSecond: 32,
  videoPerSecond: 263,
  perByte: 0.5
})

const anthropic = (image: Rules["image"], page: Rules["page"]): Rules => ({
  image,
  page,
  audioPerSecond: 50,
  videoPerSecond: 300,
  perByte: 0.5
})

const claude46 = anthropic(grid(1_568, 1_700), { image: 1_700, leastText: 3_300, mostText: 8_000 })
const claude47 = anthropic(grid(2_576, 5_000), { image: 5_000, leastText: 3_000, mostText: 8_000 })
const gemini2 = gemini(geminiTiles, 258)
const gemini3 = gemini(() => 1_120, 560)

/** Rules for all other providers and for local models. */
const other: Rules = {
  image: () => 2_900,
  page: { image: 2_900, leastText: 3_000, mostText: 8_000 },
  audioPerSecond: 50,
  videoPerSecond: 300,
  perByte: 1
}

/** Rules by the start of a model's name. The first match wins. */
const families: ReadonlyArray<readonly [pattern: RegExp, rules: Rules]> = [
  [/^gpt-4o-mini/, openAi(tiles(2_833, 5_667), 36_835)],
  [/^gpt-(4\.1|5)-mini/, openAi(patches(1.62), 1_536 * 1.62)],
  [/^gpt-(4\.1|5)-nano/, openAi(patches(2.46), 1_536 * 2.46)],
  [/^o4-mini/, openAi(patches(1.72), 1_536 * 1.72)],
  [/^gpt-4\.1/, openAi(larger(tiles(85, 170), patches(1)), 1_536)],
  [/^(chat)?gpt-4o|^gpt-4(?!\.\d)|^gpt-4\.5|^gpt-5(?![.\d])|^o[13](?![a-z\d])/, openAi(tiles(85, 170), 1_445)],
  [/^(chat)?gpt-|^o\d|^codex-|^computer-use-/, openAi((size) => (size ? 1.2 * squares(size, 32) : 16_000), 2_942)],
  [/^gemini-[12]/, gemini2],
  [/^gemini-[3-9]/, gemini3],
  [/^gemini-/, gemini(larger(geminiTiles, gemini3.image), 560)]
]

const rulesByName = (name: string): Rules | undefined =>
  name.startsWith("claude")
    ? vocabulariesOf(name).includes("claude47")
      ? claude47
      : claude46
    : families.find(([pattern]) => pattern.test(name))?.[1]
