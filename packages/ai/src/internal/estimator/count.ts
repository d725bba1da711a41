/**
 * Counts the tokens of texts by their features, and caches them.
 */
import * as Effect from "effect/Effect"
import { tokensOf, type Vocabularies } from "./columns.ts"
import { features } from "./features.ts"
import type { Text } from "./parts.ts"

const cache = new WeakMap<object, { readonly text: string; readonly counts: Float64Array }>()

/** The tokens of one text, an integer of at least 1. */
export const tokens = ({ key, text }: Text, vocabularies: Vocabularies): number => {
  const known = cache.get(key)
  if (known !== undefined && known.text === text) return tokensOf(text, known.counts, vocabularies)
  const counts = features(text)
  cache.set(key, { text, counts })
  return tokensOf(text, counts, vocabularies)
}

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
