/**
 * Incremental prompts over a guarded model.
 *
 * The inner model looks up the previous response itself, and repeats the request with the whole prompt if the provider refuses
 * the incremental one. The outer model would repeat it once more, so its second request returns the failure of the first one.
 */
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Calls the inner model once for each request of the outer model. */
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

/** Makes the memory of refused requests. Both attempts of a request have the same span. */
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
