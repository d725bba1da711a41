/**
 * One pass over a text that counts the features that determine how many tokens it takes. The features don't depend on a
 * model.
 */
import { Class, classes, groupOf, isAsciiLetter, isDigit, isSpaced } from "./characters.ts"
import { indexOf, levels, size } from "./weights.ts"

const at = {
  piece: indexOf("word piece"),
  letters4: indexOf("letters 4+"),
  letters8: indexOf("letters 8+"),
  letters13: indexOf("letters 13+"),
  pairRare: indexOf("pair, rare"),
  pairOdd: indexOf("pair, odd"),
  pairLessCommon: indexOf("pair, less common"),
  vowelEnd: indexOf("ends in a i o u"),
  capitalPiece: indexOf("Capital piece"),
  capitalRun: indexOf("capital in a run"),
  glued: indexOf("piece after a letter or digit"),
  oneLetter: indexOf("piece of one letter"),
  sameLetter: indexOf("same letter again"),
  digit: indexOf("digit"),
  threeDigits: indexOf("three digits"),
  digitRun: indexOf("digit run"),
  digitAfterLetter: indexOf("digit after letter"),
  spaceLetter: indexOf("space before letter"),
  spaceDigit: indexOf("space before digit"),
  spaceSign: indexOf("space before sign"),
  spaceOther: indexOf("space before other"),
  spaceRun: indexOf("run of spaces"),
  spaces16: indexOf("16 spaces"),
  lineBreak: indexOf("line break"),
  lineBreakMore: indexOf("further line break"),
  tab: indexOf("tab"),
  tabMore: indexOf("further tab"),
  indented: indexOf("indented line"),
  signCommon: indexOf("sign, common"),
  signOther: indexOf("sign, other"),
  signCommonMore: indexOf("further sign, common"),
  signOtherMore: indexOf("further sign, other"),
  signSame: indexOf("same sign again"),
  signBetween: indexOf("sign between letters"),
  control: indexOf("control"),
  longWord: indexOf("its letters 9+"),
  cyrillicOther: indexOf("Cyrillic, not Russian"),
  arabicOther: indexOf("Arabic, not of Arabic"),
  virama: indexOf("virama"),
  cjkRun: indexOf("run of CJK or kana"),
  latin1Letter: indexOf("Latin-1 letter"),
  latinExtended: indexOf("Latin Extended"),
  latinAdditional: indexOf("Latin Additional"),
  cyrillic: indexOf("Cyrillic"),
  arabic: indexOf("Arabic"),
  kana: indexOf("kana"),
  cjk: indexOf("CJK"),
  cjkRare: indexOf("CJK, less common"),
  emoji: indexOf("emoji"),
  maths: indexOf("maths alphabet"),
  astral: indexOf("other astral")
}

/**
 * The words, groups of three digits and runs of signs of a text. Every vocabulary has about one token or more for each of them,
 * but the weights of short words add up to less. A word of an alphabet other than Latin counts 1.5.
 */
export const unitsOf = (counts: Float64Array): number =>
  (counts[at.piece] ?? 0) -
  (counts[at.glued] ?? 0) +
  1.5 * (counts[size] ?? 0) +
  (counts[at.threeDigits] ?? 0) +
  (counts[at.signCommon] ?? 0) +
  (counts[at.signOther] ?? 0) -
  (counts[at.signBetween] ?? 0)

/** The kind of the run before the current one. */
const Before = { other: 0, letter: 1, digit: 2, space: 3, lineBreak: 4, tab: 5, sign: 6, cjk: 7, alphabet: 8 } as const

/** The features of a text, in the order of the weights, followed by the number of its words of spaced alphabets. */
export const features = (text: string): Float64Array => {
  const counts = new Float64Array(size + 1)
  const add = (feature: number, count = 1): void => {
    counts[feature] = (counts[feature] ?? 0) + count
  }
  const { length } = text
  /** The length of the current run of an alphabet. */
  let letters = 0
  let before: number = Before.other
  let i = 0
  while (i < length) {
    const unit = text.charCodeAt(i)
    const kind = unit < 128 ? (classes[unit] ?? 0) : -1
    if (kind === Class.small || kind === Class.capital || isLatin(unit)) {
      i = word(text, i, before === Before.letter || before === Before.digit || before === Before.alphabet, counts)
      before = Before.letter
      continue
    }
    const start = i++
    switch (kind) {
      case Class.digit:
        while (i < length && isDigit(text.charCodeAt(i))) i++
        add(at.digitRun)
        add(at.digit, i - start)
        add(at.threeDigits, Math.ceil((i - start) / 3))
        if (before === Before.letter) add(at.digitAfterLetter)
        before = Before.digit
        continue
      case Class.space:
        while (i < length && text.charCodeAt(i) === 32) i++
        if (i - start > 1) add(at.spaceRun)
        add(at.spaces16, (i - start) >> 4)
        add(spaceBefore(i < length ? text.charCodeAt(i) : 0))
        if (before === Before.lineBreak) add(at.indented)
        before = Before.space
        continue
      case Class.lineBreak:
        add(at.lineBreak)
        for (; i < length; i++) {
          const next = text.charCodeAt(i)
          if (next === 10) add(at.lineBreakMore)
          else if (next !== 13) break
        }
        before = Before.lineBreak
        continue
      case Class.tab:
        while (i < length && text.charCodeAt(i) === 9) i++
        add(at.tab)
        add(at.tabMore, i - start - 1)
        if (before === Before.lineBreak) add(at.indented)
        before = Before.tab
        continue
      case Class.common:
      case Class.other:
        i = signs(text, start, counts)
        if (before === Before.letter && i - start === 1 && i < length && isAsciiLetter(text.charCodeAt(i))) {
          add(at.signBetween)
        }
        before = Before.sign
        continue
      case Class.control:
        add(at.control)
        before = Before.other
        continue
    }
    if (unit >= 0xd800 && unit < 0xe000) {
      const low = unit < 0xdc00 && i < length ? text.charCodeAt(i) : 0
      if (low >= 0xdc00 && low < 0xe000) {
        add(unit >= 0xd83c && unit <= 0xd83e ? at.emoji : unit === 0xd835 ? at.maths : at.astral)
        i++
      } else {
        // Half of a pair is sent as U+FFFD.
        add(at.astral)
      }
      before = Before.other
      continue
    }
    const group = groupOf(unit)
    add(group)
    if (group === at.cyrillic) {
      if (!((unit >= 0x410 && unit < 0x450) || unit === 0x401 || unit === 0x451)) add(at.cyrillicOther)
    } else if (group === at.arabic) {
      if (unit >= 0x66e && unit !== 0x6d4) add(at.arabicOther)
    } else if (unit >= 0x900 && unit < 0xe00 && (unit & 0x7f) === 0x4d) add(at.virama)
    if (group === at.cjk || group === at.cjkRare || group === at.kana) {
      if (before !== Before.cjk) add(at.cjkRun)
      before = Before.cjk
    } else if (isSpaced[group] === 1) {
      letters = before === Before.alphabet ? letters + 1 : 1
      if (letters === 1) add(size)
      if (letters > 8) add(at.longWord)
      before = Before.alphabet
    } else before = Before.other
  }
  return counts
}

/**
 * Counts a word of Latin letters and returns the index after it. A word consists of pieces: capitals followed by small
 * letters; a capital after a small letter starts a new piece. This loop dominates the time of the pass, so its counters
 * are local.
 */
const word = (text: string, from: number, isContinued: boolean, counts: Float64Array): number => {
  const { length } = text
  let isGlued = isContinued
  let i = from
  let pieces = 0
  let letters4 = 0
  let same = 0
  let lessCommon = 0
  let odd = 0
  let rare = 0
  const add = (feature: number, count = 1): void => {
    counts[feature] = (counts[feature] ?? 0) + count
  }
  while (i < length) {
    const start = i
    let capitals = 0
    let last = -1
    for (; i < length; i++) {
      let unit = text.charCodeAt(i)
      if (unit < 128) {
        const kind = classes[unit]
        if (kind === Class.capital) {
          if (capitals < i - start) break
          capitals++
          unit |= 32
        } else if (kind !== Class.small) break
        const letter = unit - 97
        if (last >= 0) {
          if (letter === last) same++
          const level = levels[last * 26 + letter]
          if (level === 1) lessCommon++
          else if (level === 2) odd++
          else if (level === 3) rare++
        }
        last = letter
      } else if (isLatin(unit)) {
        add(unit < 0x100 ? at.latin1Letter : unit < 0x250 ? at.latinExtended : at.latinAdditional)
        last = -1
      } else break
    }
    const size = i - start
    if (size === 0) break
    pieces++
    if (size > 3) letters4 += size - 3
    if (size > 7) add(at.letters8, size - 7)
    if (size > 12) add(at.letters13, size - 12)
    if (size === 1) add(at.oneLetter)
    else if (size > 3 && (last === 0 || last === 8 || last === 14 || last === 20)) add(at.vowelEnd)
    if (isGlued) add(at.glued)
    if (capitals > 1) add(at.capitalRun, capitals)
    else if (capitals === 1) add(at.capitalPiece)
    isGlued = true
  }
  add(at.piece, pieces)
  if (letters4 > 0) add(at.letters4, letters4)
  if (same > 0) add(at.sameLetter, same)
  if (lessCommon > 0) add(at.pairLessCommon, lessCommon)
  if (odd > 0) add(at.pairOdd, odd)
  if (rare > 0) add(at.pairRare, rare)
  return i
}

/** Counts a run of signs and returns the index after it. */
const signs = (text: string, from: number, counts: Float64Array): number => {
  const add = (feature: number): void => {
    counts[feature] = (counts[feature] ?? 0) + 1
  }
  let last = text.charCodeAt(from)
  add(classes[last] === Class.common ? at.signCommon : at.signOther)
  let i = from + 1
  for (; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const kind = unit < 128 ? classes[unit] : undefined
    if (kind !== Class.common && kind !== Class.other) break
    add(unit === last ? at.signSame : kind === Class.common ? at.signCommonMore : at.signOtherMore)
    last = unit
  }
  return i
}

/** The feature of spaces, by what follows them; 0 at the end of the text. */
const spaceBefore = (next: number): number => {
  if (next >= 128) return at.spaceOther
  if (isAsciiLetter(next)) return at.spaceLetter
  return isDigit(next) ? at.spaceDigit : at.spaceSign
}

const isLatin = (unit: number): boolean => (unit >= 0xc0 && unit < 0x250) || (unit >= 0x1e00 && unit < 0x1f00)
