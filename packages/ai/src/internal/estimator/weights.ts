/**
 * The tokens of each feature of a text, by vocabulary.
 *
 * The weights are the solution of a linear programme: the smallest estimate that isn't below the real count for any sample of
 * about 350 kinds of text, in ten vocabularies. The columns o200k, open and any are up to 17 % higher for some scripts, and for
 * words that end in a vowel: literary prose and translated messages that weren't among these samples need more in o200k and
 * cl100k.
 */

/** A group of vocabularies that share their weights. */
export type Column = "o200k" | "claude3" | "claude47" | "gemini" | "open" | "any"

/** One row for each feature: its name and its weight in the columns o200k, claude3, claude47, gemini, open and any. */
const rows = [
  ["word piece", 0.79, 0.43, 0.59, 0.46, 0.54, 0.51],
  ["letters 4+", 0.08, 0.14, 0.32, 0.15, 0.22, 0.36],
  ["letters 8+", 0.05, 0.05, 0.05, 0.05, 0.05, 0.05],
  ["letters 13+", 0.02, 0.06, 0.02, 0.02, 0.02, 0.02],
  ["pair, rare", 2.97, 2.13, 1.28, 1.34, 2.1, 1.39],
  ["pair, odd", 0.29, 0.43, 0.04, 0.67, 0.29, -0.0],
  ["pair, less common", -0.0, 0.19, 0.52, 0.34, 0.12, 0.69],
  ["ends in a i o u", 0.6, 1.1, 0.77, 0.14, 0.87, 0.56],
  ["Capital piece", 0.03, 1.08, 1.01, 0.07, 0.32, 1.08],
  ["capital in a run", 0.14, 0.18, 0.48, 0.05, 0.19, 0.46],
  ["piece after a letter or digit", 0.22, 0.43, 0.43, 0.49, 0.32, 0.17],
  ["piece of one letter", 0.12, 0.11, -0.0, 0.21, 0.37, -0.0],
  ["same letter again", 0.39, 0.81, 0.67, 0.05, 0.25, 0.63],
  ["digit", -0.0, 0.06, 0.01, 0.95, 0.96, 1.01],
  ["three digits", 1.06, 0.88, 1.05, 0.3, 0.3, 0.3],
  ["digit run", 0.52, 0.5, 0.33, 0.27, 0.41, 0.05],
  ["digit after letter", -0.0, -0.0, 0.06, -0.0, -0.0, -0.0],
  ["space before letter", 0.15, 0.52, 0.87, 0.44, 0.15, 0.72],
  ["space before digit", 1.07, 0.91, 1.26, 1.12, 1.15, 1.2],
  ["space before sign", 0.56, 0.53, 0.82, 0.55, 0.7, 0.7],
  ["space before other", -0.0, 0.61, 1.33, 0.27, 0.78, 0.79],
  ["run of spaces", 0.49, 0.36, 0.56, -0.0, 0.44, 0.46],
  ["16 spaces", 0.28, 1.28, 1.08, 1.09, 0.37, 1.18],
  ["line break", 1.31, 0.85, 1.3, 1.14, 1.03, 1.22],
  ["further line break", 0.1, 0.1, 0.1, 0.1, 0.25, 0.26],
  ["tab", 0.44, 0.83, 0.62, 0.95, 0.5, 0.74],
  ["further tab", 0.15, 0.1, 0.1, 0.1, 0.13, 0.14],
  ["indented line", -0.0, 0.42, -0.0, 0.42, -0.0, -0.0],
  ["sign, common", 0.53, 0.73, 0.76, 0.68, 0.49, 0.79],
  ["sign, other", 0.47, 0.82, 0.91, 0.59, 0.4, 1.13],
  ["further sign, common", 0.66, 0.74, 0.93, 0.66, 0.64, 0.94],
  ["further sign, other", 1.01, 1.2, 1.62, 0.72, 1.07, 1.28],
  ["same sign again", 0.12, 0.23, 0.75, 0.21, 0.42, 0.66],
  ["sign between letters", 0.2, 1.1, 1.65, 0.91, 0.35, 1.79],
  ["control", 1.29, 1.0, 1.0, 1.08, 1.08, 1.06],
  ["its letters 9+", 0.55, 0.13, 0.4, 0.36, 0.61, 0.48],
  ["Cyrillic, not Russian", 0.78, 4.31, 4.22, 4.0, 5.2, 5.5],
  ["Arabic, not of Arabic", 0.54, 1.27, 1.39, 1.55, 1.54, 1.71],
  ["virama", -0.0, 1.43, 1.99, 0.24, 0.64, 0.11],
  ["run of CJK or kana", 2.06, 2.33, 1.58, 1.64, 2.02, 1.72],
  ["Latin-1 letter", 0.93, 1.37, 1.23, 0.84, 2.23, 1.19],
  ["Latin-1 sign", 1.31, 1.75, 1.61, 1.98, 1.4, 1.84],
  ["Latin Extended", 1.95, 2.16, 1.75, 1.31, 1.8, 2.15],
  ["Latin Additional", 1.0, 2.43, 1.58, 1.0, 1.0, 2.27],
  ["IPA", 1.62, 2.42, 2.94, 1.23, 1.92, 2.94],
  ["combining", 2.05, 2.45, 2.43, 1.5, 2.52, 2.46],
  ["Greek", 0.46, 0.79, 0.68, 0.44, 1.0, 0.97],
  ["Cyrillic", 0.41, 0.42, 0.29, 0.34, 0.49, 0.47],
  ["Armenian", 0.37, 0.81, 0.65, 0.62, 2.23, 2.24],
  ["Hebrew", 0.57, 0.85, 0.68, 0.66, 1.3, 1.31],
  ["Arabic", 0.43, 0.78, 0.63, 0.41, 0.77, 0.73],
  ["Thaana, N'Ko, Syriac", 2.14, 1.13, 1.0, 1.09, 2.03, 2.05],
  ["Devanagari", 0.49, 0.78, 0.61, 0.52, 1.16, 1.19],
  ["Bengali", 0.47, 0.92, 0.73, 0.62, 1.31, 1.35],
  ["Gurmukhi", 0.78, 2.58, 2.4, 0.88, 1.99, 2.53],
  ["Gujarati", 0.52, 1.07, 0.86, 0.78, 1.93, 1.95],
  ["Odia", 3.0, 3.0, 3.0, 3.0, 3.0, 3.0],
  ["Tamil", 0.38, 0.73, 0.53, 0.44, 1.38, 1.46],
  ["Telugu", 0.52, 0.87, 0.7, 0.67, 1.91, 1.93],
  ["Kannada", 0.42, 1.99, 1.8, 0.71, 1.86, 2.02],
  ["Malayalam", 0.35, 0.96, 0.72, 0.51, 1.55, 1.65],
  ["Sinhala", 0.68, 1.1, 0.98, 1.0, 3.18, 3.15],
  ["Thai", 0.5, 1.05, 1.01, 0.45, 1.05, 1.05],
  ["Lao", 1.99, 1.48, 1.45, 1.08, 3.14, 3.14],
  ["Tibetan", 1.2, 1.33, 1.11, 0.48, 2.01, 2.1],
  ["Myanmar", 0.62, 1.26, 1.19, 0.9, 2.15, 2.15],
  ["Georgian", 0.4, 0.79, 0.68, 0.79, 2.09, 2.07],
  ["Hangul Jamo", 3.3, 1.0, 1.0, 1.22, 3.06, 3.19],
  ["Ethiopic", 2.34, 1.77, 1.59, 1.24, 2.94, 2.94],
  ["Cherokee, UCAS", 3.4, 3.68, 3.36, 1.63, 3.05, 3.63],
  ["Khmer", 0.67, 1.17, 1.13, 1.06, 3.11, 3.11],
  ["Greek Extended", 2.28, 1.99, 1.84, 1.06, 2.66, 2.79],
  ["general punctuation", 1.17, 1.05, 1.19, 4.09, 1.09, 1.38],
  ["symbol", 2.9, 3.68, 3.67, 2.67, 3.14, 3.68],
  ["box drawing", 1.15, 1.04, 1.04, 0.66, 1.52, 1.39],
  ["Braille", 3.13, 3.16, 3.16, 3.06, 3.14, 3.16],
  ["kana", 0.35, 0.46, 0.49, 0.25, 0.58, 0.55],
  ["CJK punctuation, fullwidth", 2.0, 2.8, 2.68, 1.05, 2.66, 2.8],
  ["CJK", 1.24, 1.41, 1.41, 0.85, 1.63, 1.63],
  ["CJK, less common", 2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
  ["CJK Extension A", 3.14, 3.16, 3.16, 3.15, 3.14, 3.16],
  ["Hangul", 0.97, 1.37, 1.1, 0.87, 1.19, 1.3],
  ["Hangul, less common", 1.5, 1.61, 1.5, 1.82, 1.5, 1.55],
  ["emoji", 2.35, 3.16, 3.16, 2.0, 4.2, 4.2],
  ["maths alphabet", 3.0, 4.21, 4.21, 2.98, 4.19, 4.21],
  ["other astral", 4.56, 4.29, 4.21, 4.34, 4.25, 4.25],
  ["private use", 3.07, 3.0, 3.0, 3.07, 3.13, 3.13],
  ["zero width, variation", 1.59, 3.01, 2.96, 1.5, 3.09, 3.3],
  ["other BMP", 3.31, 4.02, 3.62, 3.52, 3.11, 3.91]
] as const satisfies ReadonlyArray<readonly [string, ...ReadonlyArray<number>]>

/** The name of a feature. */
export type Feature = (typeof rows)[number][0]

/** The number of features. */
export const size: number = rows.length

/** The index of a feature. */
export const indexOf = (feature: Feature): number => rows.findIndex(([name]) => name === feature)

const column = (index: 1 | 2 | 3 | 4 | 5 | 6): Float64Array => Float64Array.from(rows, (row) => row[index])

/** The weights of each column, in the order of the features. */
export const weights: Record<Column, Float64Array> = {
  o200k: column(1),
  claude3: column(2),
  claude47: column(3),
  gemini: column(4),
  open: column(5),
  any: column(6)
}

/**
 * How likely a token ends between two letters: 0 for less than 0.15, 1 for less than 0.25, 2 for less than 0.4, 3 for more.
 * One line for each first letter, one digit for each second letter, a to z. It separates words from base64 and random letters.
 */
const letterPairs = [
  "20002000000000001000000000",
  "12220333000010033023133303",
  "02030230130033013010103302",
  "12300333103213133202133003",
  "01002002233000210000200003",
  "03201013033011023030030303",
  "21330320133030133020233302",
  "03330332033223033120133313",
  "00000001200000000000103030",
  "13130333210133100303133333",
  "31330302231331330312333323",
  "13300033033023012300023303",
  "00310333132102000301233303",
  "13000101220230013300013103",
  "10003002120000103000000002",
  "00200210132012001000133003",
  "33323333333132332330033333",
  "13100103031200033000102303",
  "23130220132212002300131302",
  "13100330033213013000232001",
  "00000002010000303000322011",
  "03230301033313133232331313",
  "12330330033130023003330123",
  "03232033133313303320233003",
  "23233333233100103201333310",
  "23330233233322133331233312"
]

/** The levels of `letterPairs` by `26 * first + second`. */
export const levels: Uint8Array = Uint8Array.from(letterPairs.join(""), Number)
