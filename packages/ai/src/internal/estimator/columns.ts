/**
 * The vocabulary of a model, by its name, and the tokens of a text in it.
 */
import { unitsOf } from "./features.ts"
import { findByName } from "./names.ts"
import { type Column, weights } from "./weights.ts"

/** A column of the weights, or `bytes` for the vocabularies before 2024, which need up to one token for each byte. */
export type Vocabulary = Column | "bytes"

/** The possible vocabularies of a model. The one with the most tokens counts. */
export type Vocabularies = ReadonlyArray<Vocabulary>

const any: Vocabularies = ["any"]

/** The vocabularies of models by the start of their name. The first match wins. */
const families: ReadonlyArray<readonly [pattern: RegExp, vocabularies: Vocabularies]> = [
  [/^(chat)?gpt-4o|^gpt-(4\.[15]|5)(?!\d)|^gpt-oss|^o[134](?![a-z\d])/, ["o200k"]],
  [/^gemini-|^gemma/, ["gemini"]],
  [/^(llama-?2|codellama|mistral-7b|mixtral|open-mistral-7b|open-mixtral)/, ["bytes"]],
  [/^gpt-(4|3\.?5)(?!\d)|^text-embedding-(3|ada-002)/, ["open"]],
  [/^(meta-)?llama-?v?[34](?!\d)|^qwen|^deepseek/, ["open"]],
  [/^(open-)?mistral-nemo|^ministral|^magistral|^devstral|^pixtral-12b|^mistral-(small|medium)-(3|25\d\d)/, ["open"]]
]

const claude = /^claude-(?:([a-z]+)-)?v?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?/

/** The vocabularies of a model, by `provider:model` or by the name of the model. */
export const vocabulariesOf = (model: string): Vocabularies => findByName(model, byName) ?? any

const byName = (name: string): Vocabularies | undefined =>
  name.startsWith("claude") ? claudeOf(name) : families.find(([pattern]) => pattern.test(name))?.[1]

const claudeOf = (name: string): Vocabularies => {
  const [, family, majorDigits, minorDigits] = claude.exec(name) ?? []
  const major = Number(majorDigits)
  const minor = Number(minorDigits ?? 0)
  if (family === "instant" || major === 1 || major === 2) return ["bytes"]
  if (major === 3 || (major === 4 && minor <= 6)) return ["claude3"]
  if (major === 4 || (major >= 5 && major < 20)) return ["claude47"]
  return ["claude3", "claude47"]
}

/** Whether the vocabulary of a model is one of those that the weights were measured with. */
export const isKnown = (vocabularies: Vocabularies): boolean => !vocabularies.includes("any")

/** The lower bound of tokens per word. Simple sentences of any language are close to it. */
const leastPerUnit = 1.2

/** Whether a model is one of Anthropic's. */
export const isClaude = (model: string): boolean =>
  findByName(model, (name) => (name.startsWith("claude") ? true : undefined)) === true

/** The tokens of a text with these features and this length in UTF-8, an integer of at least 1. */
export const tokensOf = (counts: Float64Array, bytes: number, vocabularies: Vocabularies): number =>
  vocabularies.reduce((most, vocabulary) => Math.max(most, tokensIn(counts, bytes, vocabulary)), 1)

const tokensIn = (counts: Float64Array, bytes: number, vocabulary: Vocabulary): number => {
  if (vocabulary === "bytes") return 1 + Math.ceil(1.05 * bytes)
  const column = weights[vocabulary]
  let sum = 0
  for (let i = 0; i < column.length; i++) sum += (counts[i] ?? 0) * (column[i] ?? 0)
  const tokens = 1 + Math.ceil(Math.max(sum, leastPerUnit * unitsOf(counts)))
  // A vocabulary of bytes never needs more tokens than bytes. The vocabularies of Claude sometimes do.
  const isOfBytes = vocabulary === "o200k" || vocabulary === "gemini" || vocabulary === "open"
  return isOfBytes ? Math.min(tokens, bytes + 1) : tokens
}
