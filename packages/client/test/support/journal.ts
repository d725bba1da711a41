/**
 * A journal that keeps nothing, for tests to replace single operations of it.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SettlementJournal } from "effect-cycles"

export const noJournal: SettlementJournal.Journal = {
  put: () => Effect.void,
  remove: () => Effect.void,
  bury: () => Effect.void,
  pending: Stream.empty,
  deadLetters: Stream.empty,
  forget: () => Effect.void,
  isDecided: () => Effect.succeed(false),
  putOpen: () => Effect.void,
  removeOpen: () => Effect.void,
  adoptOpen: Effect.succeed(0)
}
