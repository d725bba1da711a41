/**
 * Sizes of images, lengths of recordings and numbers of pages, from the headers of files. Nothing is decoded.
 */

/** Pixels of an image. */
export interface ImageSize {
  readonly width: number
  readonly height: number
}

/** The size in the header of a PNG, GIF, JPEG or WebP file, or `undefined` if there is none. */
export const imageSize = (bytes: Uint8Array): ImageSize | undefined => {
  const size = read(bytes, (view) => png(view) ?? gif(view) ?? jpeg(view) ?? webp(view))
  return size !== undefined && size.width > 0 && size.height > 0 && Math.max(size.width, size.height) <= 32_768
    ? size
    : undefined
}

/** The seconds in the header of a WAV or MP4 file, or `undefined` if there are none. */
export const duration = (bytes: Uint8Array): number | undefined => {
  const seconds = read(bytes, (view) => wav(view) ?? mp4(view))
  return seconds !== undefined && Number.isFinite(seconds) && seconds > 0 ? seconds : undefined
}

/** The pages of a PDF, at least 1. If its page tree is compressed, there is one page for every 2,000 bytes, at most 600. */
export const pdfPages = (bytes: Uint8Array): number => {
  const text = new TextDecoder("latin1").decode(bytes)
  const objects = count(text, /\/Type\s*\/Page(?![A-Za-z])/g)
  const declared = Math.max(
    largest(text, /\/Linearized\b[^<>]{0,400}?\/N\s+(\d{1,5})\b/g),
    largest(text, /\/Type\s*\/Pages\b[^<>]{0,4000}?\/Count\s+(\d{1,5})\b/g),
    largest(text, /\/Count\s+(\d{1,5})\b[^<>]{0,4000}?\/Type\s*\/Pages\b/g)
  )
  const isCompressed = declared === 0 && (objects === 0 || text.includes("/ObjStm"))
  return Math.max(1, objects, declared, isCompressed ? Math.min(600, Math.ceil(bytes.length / 2_000)) : 0)
}

const count = (text: string, pattern: RegExp): number => {
  let matches = 0
  for (const _ of text.matchAll(pattern)) matches++
  return matches
}

const largest = (text: string, pattern: RegExp): number => {
  let most = 0
  for (const [, digits] of text.matchAll(pattern)) most = Math.max(most, Number(digits))
  return most
}

// ---------------------------------------------------------------------------------------------------------------------
// formats
// ---------------------------------------------------------------------------------------------------------------------

/** Reads a header. Returns `undefined` if it is truncated. */
const read = <A>(bytes: Uint8Array, f: (view: DataView) => A | undefined): A | undefined => {
  try {
    return f(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch {
    return undefined
  }
}

const tag = (view: DataView, offset: number): string =>
  view.byteLength < offset + 4
    ? ""
    : String.fromCharCode(
        view.getUint8(offset),
        view.getUint8(offset + 1),
        view.getUint8(offset + 2),
        view.getUint8(offset + 3)
      )

const png = (view: DataView): ImageSize | undefined =>
  tag(view, 0) === "\x89PNG" ? { width: view.getUint32(16), height: view.getUint32(20) } : undefined

const gif = (view: DataView): ImageSize | undefined =>
  tag(view, 0) === "GIF8" ? { width: view.getUint16(6, true), height: view.getUint16(8, true) } : undefined

const jpeg = (view: DataView): ImageSize | undefined => {
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return undefined
  let offset = 2
  while (view.getUint8(offset) === 0xff) {
    const marker = view.getUint8(offset + 1)
    const isFill = marker === 0xff
    const isAlone = marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)
    if (isFill || isAlone) {
      offset += isFill ? 1 : 2
      continue
    }
    // Start of frame, without the tables that share its range of markers.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: view.getUint16(offset + 7), height: view.getUint16(offset + 5) }
    }
    const length = view.getUint16(offset + 2)
    if (length < 2) return undefined
    offset += 2 + length
  }
  return undefined
}

const webp = (view: DataView): ImageSize | undefined => {
  if (tag(view, 0) !== "RIFF" || tag(view, 8) !== "WEBP") return undefined
  switch (tag(view, 12)) {
    case "VP8 ":
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
    case "VP8L": {
      const bits = view.getUint32(21, true)
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
    }
    case "VP8X": {
      const uint24 = (offset: number) => view.getUint16(offset, true) | (view.getUint8(offset + 2) << 16)
      return { width: uint24(24) + 1, height: uint24(27) + 1 }
    }
    default:
      return undefined
  }
}

const wav = (view: DataView): number | undefined => {
  if (tag(view, 0) !== "RIFF" || tag(view, 8) !== "WAVE") return undefined
  let bytesPerSecond = 0
  for (let offset = 12; offset + 8 <= view.byteLength;) {
    const length = view.getUint32(offset + 4, true)
    const name = tag(view, offset)
    if (name === "fmt ") bytesPerSecond = view.getUint32(offset + 16, true)
    // A recording that was streamed has no length in its header.
    if (name === "data") return (view.byteLength - offset - 8) / bytesPerSecond
    offset += 8 + length + (length & 1)
  }
  return undefined
}

const mp4 = (view: DataView): number | undefined => {
  if (tag(view, 4) !== "ftyp") return undefined
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  for (let at = bytes.indexOf(0x6d); at >= 0; at = bytes.indexOf(0x6d, at + 1)) {
    if (tag(view, at) !== "mvhd") continue
    return view.getUint8(at + 4) === 1
      ? Number(view.getBigUint64(at + 28)) / view.getUint32(at + 24)
      : view.getUint32(at + 20) / view.getUint32(at + 16)
  }
  return undefined
}
