/**
 * Counts texts by a tokenizer, within limits. The rest is counted by features.
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

  /** Returns `undefined` if the tokenizer fails, dies or returns something that isn't a list. */
  const tokenize = (piece: string): Effect.Effect<number | undefined> =>
    Effect.suspend(() => tokenizer.tokenize(piece)).pipe(
      Effect.map(({ length }) => (Number.isSafeInteger(length) && length >= 0 ? length : undefined)),
      Effect.catchCause(() => Effect.undefined)
    )

  /** Counts the texts that aren't cached, until the time is over or the tokenizer fails. */
  const encode = (texts: ReadonlyArray<Text>, progress: Progress): Effect.Effect<void> =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const deadline = clock.currentTimeMillisUnsafe() + Duration.toMillis(timeLimit)
      let sinceTurn = 0
      for (const text of texts) {
        if (known(text) !== undefined) continue
        progress.text = text
        progress.end = 0
        progress.tokens = 0
        while (progress.end < text.text.length) {
          if (clock.currentTimeMillisUnsafe() >= deadline) return
          const end = endOfPiece(text.text, progress.end)
          const tokens = yield* tokenize(text.text.slice(progress.end, end))
          if (tokens === undefined) return
          progress.tokens += Math.max(1, tokens)
          sinceTurn += end - progress.end
          progress.end = end
          if (sinceTurn >= turn) {
            sinceTurn = 0
            yield* Effect.yieldNow
          }
        }
        cache.set(text.key, { text: text.text, tokens: progress.tokens })
        progress.text = undefined
      }
    })

  return (texts, vocabularies) =>
    Effect.gen(function* () {
      const length = texts.reduce((sum, { text }) => sum + text.length, 0)
      if (length <= maxLength) {
        const progress: Progress = { text: undefined, end: 0, tokens: 0 }
        yield* Effect.timeoutOption(encode(texts, progress), timeLimit)
        const { end, text } = progress
        if (text !== undefined && end > 0) {
          const rest = tokensOfString(text.text.slice(end), vocabularies)
          cache.set(text.key, { text: text.text, tokens: progress.tokens + rest })
        }
      }
      return texts.reduce((sum, text) => sum + (known(text) ?? tokens(text, vocabularies)), 0)
    })
}

/** The text that is being counted, and how far. */
interface Progress {
  text: Text | undefined
  end: number
  tokens: number
}
