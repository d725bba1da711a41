/**
 * Cuts a text into pieces that any tokenizer encodes in bounded time. Byte-pair encoding takes quadratic time for a run without
 * a boundary, such as base64 or Chinese.
 */
import { isAsciiLetter, isDigit } from "./characters.ts"

/** The longest run of one kind in a piece, in UTF-16 units. */
const maxRun = 512

/** Pieces are cut before the first space after this length, or at the end of a run. */
const pieceSize = 8_192

const letter = 0
const digit = 1
const sign = 2
const space = 3

const kindOf = (unit: number): number => {
  if (unit >= 128 || isAsciiLetter(unit)) return letter
  if (isDigit(unit)) return digit
  return unit === 32 || (unit >= 9 && unit <= 13) ? space : sign
}

/** The index of the end of the piece that starts at `from`. A surrogate pair isn't cut. */
export const endOfPiece = (text: string, from: number): number => {
  let kind = -1
  let run = 0
  for (let i = from; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const next = kindOf(unit)
    if (next !== kind) {
      const size = i - from
      const isBeforeSpace = next === space && kindOf(text.charCodeAt(i + 1)) !== space
      if (size >= pieceSize && (isBeforeSpace || size >= pieceSize + maxRun)) return i
      kind = next
      run = 0
    }
    const isLowHalf = unit >= 0xdc00 && unit < 0xe000
    if (++run > maxRun && !isLowHalf) return i
    if (run > maxRun + 1) return i
  }
  return text.length
}

/** The pieces of a text; joined they are the text. */
export const cut = (text: string): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let from = 0; from < text.length;) {
    const end = endOfPiece(text, from)
    pieces.push(text.slice(from, end))
    from = end
  }
  return pieces
}
