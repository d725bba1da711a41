/**
 * One Layer over a language model, and every call of it is held to the budget: reserved before, charged by the provider's
 * own usage after, whatever happens to the answer.
 *
 * ```ts
 * const Guarded = CyclesModel.layer().pipe(Layer.provide(OpenAiLanguageModel.model("gpt-5")))
 * ```
 *
 * The charge is made when the answer is there and before any tool runs, so that a tool that fails or is slow changes nothing
 * on it. A stream that is cancelled or fails charges what it had used. Tools, chats, plans, approvals and incremental prompts
 * work as over the bare model.
 *
 * A refusal is the `AiError` reason `QuotaExhaustedError`; see `CyclesAiError`.
 *
 * Source: ours; `effect/ai/LanguageModel`.
 */
import { Cycles } from "effect-cycles/Cycles"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Units as CallUnits } from "./internal/call.ts"
import * as Finish from "./internal/finish.ts"
import * as Incremental from "./internal/incremental.ts"
import * as StructuredObject from "./internal/object.ts"
import * as Prepare from "./internal/prepare.ts"
import type { Pricing } from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What the budget is charged in: tokens, money, or each of them by a reservation of its own. */
export type Units = CallUnits

/** A call that is about to be made. */
export type CallInfo = Prepare.CallInfo

/** How a model is guarded. */
export interface Options<U extends Units = "tokens", R = never> extends Prepare.Options<R> {
  /** Default `tokens`. The other two need `Pricing`. */
  readonly units?: U | undefined
}

/** What a guard needs besides `Cycles`. */
export type Needs<U extends Units> = U extends "tokens" ? never : Pricing

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Guards a model. Dies with a `RangeError` where `maxOutputTokens` is no count. */
export const make = <const U extends Units = "tokens", R = never>(
  inner: LanguageModel.LanguageModel,
  options?: Options<U, R>
): Effect.Effect<LanguageModel.LanguageModel, never, Cycles | Needs<U> | R> =>
  Effect.gen(function* () {
    const prepare = yield* Prepare.make<R>(options ?? {})
    const incremental = Incremental.make()

    const outer = yield* LanguageModel.make({
      generateText: (request) =>
        incremental.once(request, () =>
          Effect.scoped(
            Effect.flatMap(prepare("generateText", request), (ready) =>
              Finish.whole(
                ready,
                Effect.map(inner.generateText(ready.ask), (response) => response.content)
              )
            )
          )
        ),
      streamText: (request) =>
        incremental.onceStream(request, () =>
          Stream.unwrap(
            Effect.map(prepare("streamText", request), (ready) => Finish.streamed(ready, inner.streamText(ready.ask)))
          )
        ),
      supportsSystemMessagesInHistory: inner.supportsSystemMessagesInHistory
    })

    return LanguageModel.LanguageModel.of({
      ...outer,
      generateObject: (asked) =>
        Effect.flatMap(
          StructuredObject.make((request, read) =>
            incremental.once(request, () =>
              Effect.scoped(
                Effect.flatMap(prepare("generateObject", request), (ready) =>
                  Finish.whole(
                    ready,
                    read(inner.generateObject({ ...ready.ask, schema: asked.schema, objectName: asked.objectName }))
                  )
                )
              )
            )
          ),
          (outer) => outer.generateObject(asked)
        )
    })
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** Guards the model that is there. */
export const layer = <const U extends Units = "tokens", R = never>(
  options?: Options<U, R>
): Layer.Layer<LanguageModel.LanguageModel, never, LanguageModel.LanguageModel | Cycles | Needs<U> | R> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    Effect.flatMap(LanguageModel.LanguageModel, (inner) => make(inner, options))
  )
