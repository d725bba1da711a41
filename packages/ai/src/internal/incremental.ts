/**
 * Incremental prompts over a guarded model.
 *
 * The model inside looks up the previous response itself, and asks again with the whole prompt where the provider refuses the
 * incremental one. The model outside would do the same once more: what it asks a second time is answered as the first time.
 */
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Asks once for each request of the model outside. */
export interface Incremental {
  readonly once: <A, R>(
    request: LanguageModel.ProviderOptions,
    ask: () => Effect.Effect<A, AiError.AiError, R>
  ) => Effect.Effect<A, AiError.AiError, R>
  readonly onceStream: <A, R>(
    request: LanguageModel.ProviderOptions,
    ask: () => Stream.Stream<A, AiError.AiError, R>
  ) => Stream.Stream<A, AiError.AiError, R>
}

/** What was refused, by the span of the request, which both attempts have in common. */
export const make = (): Incremental => {
  const refused = new WeakMap<LanguageModel.ProviderOptions["span"], AiError.AiError>()
  const before = (request: LanguageModel.ProviderOptions): AiError.AiError | undefined =>
    request.incrementalFallback === true ? refused.get(request.span) : undefined
  const remember = (request: LanguageModel.ProviderOptions) => (error: AiError.AiError) =>
    Effect.sync(() => refused.set(request.span, error))
  return {
    once: (request, ask) => {
      const error = before(request)
      if (error !== undefined) return Effect.fail(error)
      return request.incrementalPrompt === undefined ? ask() : Effect.tapError(ask(), remember(request))
    },
    onceStream: (request, ask) => {
      const error = before(request)
      if (error !== undefined) return Stream.fail(error)
      return request.incrementalPrompt === undefined ? ask() : Stream.tapError(ask(), remember(request))
    }
  }
}
