/**
 * The classes of characters that `features` counts: one for each ASCII character, one for each block of the rest.
 */
import { type Feature, indexOf, size } from "./weights.ts"

/** The classes of ASCII characters. */
export const Class = {
  control: 0,
  small: 1,
  capital: 2,
  digit: 3,
  space: 4,
  lineBreak: 5,
  tab: 6,
  common: 7,
  other: 8
} as const

/** The class of each ASCII character. */
export const classes: Uint8Array = new Uint8Array(128)
classes.fill(Class.other, 33, 127)
for (const sign of ".,:;\"'(){}[]/-_=<>") classes[sign.charCodeAt(0)] = Class.common
classes.fill(Class.small, 97, 123)
classes.fill(Class.capital, 65, 91)
classes.fill(Class.digit, 48, 58)
classes[32] = Class.space
classes[10] = Class.lineBreak
classes[13] = Class.lineBreak
classes[9] = Class.tab

/** Whether a UTF-16 unit is an ASCII digit. */
export const isDigit = (unit: number): boolean => unit >= 48 && unit < 58

/** Whether a UTF-16 unit is an ASCII letter. */
export const isAsciiLetter = (unit: number): boolean => (unit | 32) >= 97 && (unit | 32) <= 122

/** The blocks of the basic plane that have a group, with their first and last character, in order of precedence. */
const blocks: ReadonlyArray<readonly [first: number, last: number, group: Feature]> = [
  [0x80, 0xff, "Latin-1 letter"],
  [0x100, 0x24f, "Latin Extended"],
  [0x250, 0x2ff, "IPA"],
  [0x300, 0x37f, "combining"],
  [0x380, 0x3ff, "Greek"],
  [0x400, 0x4ff, "Cyrillic"],
  [0x500, 0x57f, "Armenian"],
  [0x580, 0x5ff, "Hebrew"],
  [0x600, 0x6ff, "Arabic"],
  [0x700, 0x7ff, "Thaana, N'Ko, Syriac"],
  [0x800, 0x8ff, "Arabic"],
  [0x900, 0x97f, "Devanagari"],
  [0x980, 0x9ff, "Bengali"],
  [0xa00, 0xa7f, "Gurmukhi"],
  [0xa80, 0xaff, "Gujarati"],
  [0xb00, 0xb7f, "Odia"],
  [0xb80, 0xbff, "Tamil"],
  [0xc00, 0xc7f, "Telugu"],
  [0xc80, 0xcff, "Kannada"],
  [0xd00, 0xd7f, "Malayalam"],
  [0xd80, 0xdff, "Sinhala"],
  [0xe00, 0xe7f, "Thai"],
  [0xe80, 0xeff, "Lao"],
  [0xf00, 0xfff, "Tibetan"],
  [0x1000, 0x107f, "Myanmar"],
  [0x1080, 0x10ff, "Georgian"],
  [0x1100, 0x11ff, "Hangul Jamo"],
  [0x1200, 0x137f, "Ethiopic"],
  [0x1380, 0x167f, "Cherokee, UCAS"],
  [0x1780, 0x17ff, "Khmer"],
  [0x1e00, 0x1eff, "Latin Additional"],
  [0x1f00, 0x1fff, "Greek Extended"],
  [0x2000, 0x207f, "general punctuation"],
  [0x2080, 0x24ff, "symbol"],
  [0x2500, 0x257f, "box drawing"],
  [0x2580, 0x27ff, "symbol"],
  [0x2800, 0x28ff, "Braille"],
  [0x2900, 0x2bff, "symbol"],
  [0x3000, 0x30ff, "kana"],
  [0x3400, 0x4dff, "CJK Extension A"],
  [0x4e00, 0x9fff, "CJK"],
  [0xac00, 0xd7ff, "Hangul"],
  [0xe000, 0xf8ff, "private use"],
  [0xfe00, 0xfe7f, "zero width, variation"],
  [0xff00, 0xffff, "CJK punctuation, fullwidth"]
]

/** The group of each block of 128 characters. */
const pages = new Uint8Array(512).fill(indexOf("other BMP"))
for (const [first, last, group] of blocks) pages.fill(indexOf(group), first >> 7, (last >> 7) + 1)

const group = {
  latin1Sign: indexOf("Latin-1 sign"),
  greek: indexOf("Greek"),
  punctuation: indexOf("general punctuation"),
  zeroWidth: indexOf("zero width, variation"),
  symbol: indexOf("symbol"),
  cjkSign: indexOf("CJK punctuation, fullwidth"),
  cjk: indexOf("CJK"),
  cjkRare: indexOf("CJK, less common"),
  hangul: indexOf("Hangul"),
  hangulRare: indexOf("Hangul, less common")
}

/** The group of a UTF-16 unit that is neither ASCII, nor a letter of Latin, nor half of a surrogate pair. */
export const groupOf = (unit: number): number => {
  if (unit < 0xc0) return group.latin1Sign
  const page = pages[unit >> 7] ?? 0
  if (page === group.cjk) return isCommon(unit) ? page : group.cjkRare
  if (page === group.hangul) return isCommon(unit) ? page : group.hangulRare
  if (page === group.punctuation) {
    if (unit >= 0x2070) return group.symbol
    const isZeroWidth =
      (unit >= 0x200b && unit <= 0x200f) || (unit >= 0x202a && unit <= 0x202e) || (unit >= 0x2060 && unit <= 0x206f)
    return isZeroWidth ? group.zeroWidth : page
  }
  if (unit >= 0x370 && unit < 0x380) return group.greek
  return unit >= 0x3000 && unit < 0x3040 ? group.cjkSign : page
}

/** Whether a group is an alphabet whose words are spaced, by the index of the group. */
export const isSpaced: Uint8Array = new Uint8Array(size)
const spaced: ReadonlyArray<Feature> = [
  "Greek",
  "Cyrillic",
  "Armenian",
  "Hebrew",
  "Arabic",
  "Thaana, N'Ko, Syriac",
  "Devanagari",
  "Bengali",
  "Gurmukhi",
  "Gujarati",
  "Odia",
  "Tamil",
  "Telugu",
  "Kannada",
  "Malayalam",
  "Sinhala",
  "Georgian",
  "Ethiopic",
  "Hangul",
  "Hangul, less common",
  "Greek Extended",
  "Tibetan"
]
for (const group of spaced) isSpaced[indexOf(group)] = 1

// ---------------------------------------------------------------------------------------------------------------------
// common characters of Chinese, Japanese and Korean
// ---------------------------------------------------------------------------------------------------------------------

/** The rows of the national standards that have the common characters, and the encodings that contain these rows. */
const standards: ReadonlyArray<readonly [label: string, firstRow: number, lastRow: number, firstCell: number]> = [
  ["gbk", 0xb0, 0xd7, 0xa1],
  ["big5", 0xa4, 0xc6, 0x40],
  ["euc-jp", 0xb0, 0xcf, 0xa1],
  ["euc-kr", 0xb0, 0xc8, 0xa1]
]

let commonCharacters: Uint32Array | undefined

const isCommon = (unit: number): boolean => {
  commonCharacters ??= readCommonCharacters()
  return (((commonCharacters[unit >> 5] ?? 0) >> (unit & 31)) & 1) === 1
}

/** A bit for each common character. Without the encodings of a standard, its characters are estimated as less common ones. */
const readCommonCharacters = (): Uint32Array => {
  const bits = new Uint32Array(0xd800 >> 5)
  for (const [label, firstRow, lastRow, firstCell] of standards) {
    const bytes: Array<number> = []
    for (let row = firstRow; row <= lastRow; row++) {
      for (let cell = firstCell; cell <= 0xfe; cell++) bytes.push(row, cell, 0x20)
    }
    const text = decode(label, Uint8Array.from(bytes))
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit >= 0x3400 && unit < 0xd800) bits[unit >> 5] = (bits[unit >> 5] ?? 0) | (1 << (unit & 31))
    }
  }
  return bits
}

const decode = (label: string, bytes: Uint8Array): string => {
  try {
    return new TextDecoder(label).decode(bytes)
  } catch {
    return ""
  }
}
