/**
 * Counts texts by a tokenizer, within limits. Whatever the tokenizer doesn't count is counted by features.
 */
import type * as AiTokenizer from "effect/ai/Tokenizer"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Vocabularies } from "./columns.ts"
import { tokens, tokensOfString } from "./count.ts"
import { endOfPiece } from "./cut.ts"
import type { Text } from "./parts.ts"

/** A request with more characters is counted by features. */
const maxLength = 1_048_576

/** Characters after which other fibers may run. */
const turn = 65_536

/** Counts the texts of a request. */
export type Count = (texts: ReadonlyArray<Text>, vocabularies: Vocabularies) => Effect.Effect<number>

/** Counts by a tokenizer for at most `timeLimit` per request. The counts of finished texts are cached. */
export const make = (tokenizer: AiTokenizer.Service, timeLimit: Duration.Duration): Count => {
  const cache = new WeakMap<object, { readonly text: string; readonly tokens: number }>()
  const known = ({ key, text }: Text): number | undefined => {
    const found = cache.get(key)
    return found?.text === text ? found.tokens : undefined
  }

  /** Undefined if the tokenizer fails, dies or returns something that isn't a list. */
  const tokenize = (piece: string): Effect.Effect<number | undefined> =>
    Effect.suspend(() => tokenizer.tokenize(piece)).pipe(
      Effect.map(({ length }) => (Number.isSafeInteger(length) && length >= 0 ? length : undefined)),
      Effect.catchCause(() => Effect.undefined)
    )

  const encode = (texts: ReadonlyArray<Text>, vocabularies: Vocabularies): Effect.Effect<void> =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const deadline = clock.currentTimeMillisUnsafe() + Duration.toMillis(timeLimit)
      let sinceTurn = 0
      for (const text of texts) {
        if (known(text) !== undefined) continue
        let sum = 0
        for (let from = 0; from < text.text.length;) {
          if (clock.currentTimeMillisUnsafe() >= deadline) {
            if (from > 0) {
              const rest = tokensOfString(text.text.slice(from), vocabularies)
              cache.set(text.key, { text: text.text, tokens: sum + rest })
            }
            return
          }
          const end = endOfPiece(text.text, from)
          const counted = yield* tokenize(text.text.slice(from, end))
          if (counted === undefined) return
          sum += Math.max(1, counted)
          sinceTurn += end - from
          from = end
          if (sinceTurn >= turn) {
            sinceTurn = 0
            yield* Effect.yieldNow
          }
        }
        cache.set(text.key, { text: text.text, tokens: sum })
      }
    })

  return (texts, vocabularies) =>
    Effect.gen(function* () {
      const length = texts.reduce((sum, { text }) => sum + text.length, 0)
      if (length <= maxLength) yield* Effect.timeoutOption(encode(texts, vocabularies), timeLimit)
      return texts.reduce((sum, text) => sum + (known(text) ?? tokens(text, vocabularies)), 0)
    })
}
