/**
 * Counts the tokens of texts by their features, and caches the features.
 */
import * as Effect from "effect/Effect"
import { utf8Length } from "../bytes.ts"
import { tokensOf, type Vocabularies } from "./columns.ts"
import { features } from "./features.ts"
import type { Text } from "./parts.ts"

interface Counted {
  readonly text: string
  readonly counts: Float64Array
  readonly bytes: number
}

const cache = new WeakMap<object, Counted>()

const countedOf = ({ key, text }: Text): Counted => {
  const known = cache.get(key)
  // The parameters and results of tools are mutable, so a part doesn't always have the same text.
  if (known !== undefined && known.text === text) return known
  const counted = { text, counts: features(text), bytes: utf8Length(text) }
  cache.set(key, counted)
  return counted
}

/** The tokens of a text of a request, an integer of at least 1. */
export const tokens = (text: Text, vocabularies: Vocabularies): number => {
  const { bytes, counts } = countedOf(text)
  return tokensOf(counts, bytes, vocabularies)
}

/** The tokens of a text that isn't cached, an integer of at least 1. */
export const tokensOfString = (text: string, vocabularies: Vocabularies): number =>
  tokensOf(features(text), utf8Length(text), vocabularies)

/** Characters after which other fibers may run. */
const turn = 262_144

/** The tokens of many texts. */
export const countAll = (texts: ReadonlyArray<Text>, vocabularies: Vocabularies): Effect.Effect<number> =>
  Effect.gen(function* () {
    let sum = 0
    let counted = 0
    for (const text of texts) {
      sum += tokens(text, vocabularies)
      counted += text.text.length
      if (counted >= turn) {
        counted = 0
        yield* Effect.yieldNow
      }
    }
    return sum
  })
