/**
 * Guards a language model of `effect/ai` with one Layer: every call reserves budget first and is charged by the usage that the
 * provider reports.
 *
 * **Details**
 *
 * - The reserved output limit is given to the provider, so that a response can't cost more than its reservation. See
 *   `OutputLimit`.
 * - The charge is made when the response has arrived and before any tool runs. A tool that fails or is slow doesn't change it.
 * - A stream that is cancelled or fails is charged what it has used.
 * - Within a run, each call is a step: see the option `limits` of `Run.make`. In the last step the tools stay in the
 *   request with the choice `none`. The cap `max_steps_remaining` counts down over the steps of the run.
 * - Tools, chats, plans, approvals and incremental prompts work as with the inner model.
 *
 * **Gotchas**
 *
 * - A call that was sent and has no response (a timeout, an interrupt, a lost connection) is charged its estimated input,
 *   unless `onFailure` says otherwise. A response with a status of 400 or more costs nothing.
 * - A denial is an `AiError` with the reason `QuotaExhaustedError`. `CyclesAiError.causeOf` returns the typed error.
 *
 * @since 0.1.0
 */
import type { Unit } from "@effect-cycles/protocol/Amount"
import { Cycles } from "effect-cycles/Cycles"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Units as CallUnits } from "./internal/request.ts"
import * as Finish from "./internal/finish.ts"
import { namesInContext } from "./internal/guard.ts"
import * as Incremental from "./internal/incremental.ts"
import * as StructuredObject from "./internal/object.ts"
import * as Prepare from "./internal/prepare.ts"
import * as Tiers from "./internal/tiers.ts"
import * as Transformers from "./internal/transformers.ts"
import type { Pricing } from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The units that a call is charged in: tokens, US dollars, or both by a reservation each.
 *
 * @category models
 * @since 0.1.0
 */
export type Units = CallUnits

export type {
  /**
   * A call that is about to be made.
   *
   * @category models
   * @since 0.1.0
   */
  CallInfo
} from "./internal/prepare.ts"

/**
 * The options of a guarded model.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<U extends Units = "tokens", R = never> extends Prepare.Options<R> {
  /** The units that calls are charged in. Default `tokens`. The other two need `Pricing`. */
  readonly units?: U | undefined
}

/**
 * The services that a guard needs besides `Cycles`: `Pricing` if it charges dollars.
 *
 * @category models
 * @since 0.1.0
 */
export type Needs<U extends Units> = U extends "tokens" ? never : Pricing

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards a language model. Dies with a `RangeError` if `maxOutputTokens` isn't an integer of at least 1. Logs a warning if the
 * model is guarded already, because each guard charges.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const U extends Units = "tokens", R = never>(
  inner: LanguageModel.LanguageModel,
  options?: Options<U, R>
): Effect.Effect<LanguageModel.LanguageModel, never, Cycles | Needs<U> | R> =>
  Effect.gen(function* () {
    const isGuarded = guardedModels.has(inner)
    if (isGuarded) {
      yield* Effect.logWarning("CyclesModel guards a model that is guarded already: every call is charged twice")
    }
    const transformers = yield* Transformers.make
    const prepare = yield* Prepare.make<R>(options ?? {}, transformers, !isGuarded)
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

    const guarded = LanguageModel.LanguageModel.of({
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
          (outer) => transformers.provide(outer.generateObject(asked))
        )
    })
    guardedModels.add(guarded)
    return guarded
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards the language model in the context. The names of the provider and of the model stay in the context.
 *
 * @example
 * ```ts
 * import { CyclesModel } from "@effect-cycles/ai"
 * import type { Cycles } from "effect-cycles"
 * import * as Layer from "effect/Layer"
 * import type { LanguageModel } from "effect/ai"
 *
 * export const guarded = (
 *   model: Layer.Layer<LanguageModel.LanguageModel> // for example OpenAiLanguageModel.model("gpt-5")
 * ): Layer.Layer<LanguageModel.LanguageModel, never, Cycles.Cycles> =>
 *   CyclesModel.layer({ maxOutputTokens: 2_000 }).pipe(Layer.provide(model))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const U extends Units = "tokens", R = never>(
  options?: Options<U, R>
): Layer.Layer<LanguageModel.LanguageModel, never, LanguageModel.LanguageModel | Cycles | Needs<U> | R> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const guarded = yield* make(yield* LanguageModel.LanguageModel, options)
      return Context.add(yield* namesInContext, LanguageModel.LanguageModel, guarded)
    })
  )

/**
 * A model of `layerTiers`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Tier<E = never, R = never> {
  /**
   * The tier is chosen while a larger share of the budget than this is left, from 0 to 1. The share of each tier is
   * less than that of the tier before. Only the last tier can leave it out.
   */
  readonly above?: number | undefined
  /** The model, guarded separately so that its name and its prices are correct. */
  readonly model: Layer.Layer<LanguageModel.LanguageModel, E, R>
}

/**
 * The options of `layerTiers`.
 *
 * @category options
 * @since 0.1.0
 */
export interface TiersOptions<E = never, R = never> {
  /** The unit of the budget. */
  readonly unit: Unit
  /** The models, the one for a full budget first. */
  readonly tiers: readonly [Tier<E, R>, ...ReadonlyArray<Tier<E, R>>]
}

/**
 * A model that chooses one of several models for each call, by the share of the run's budget that is neither spent nor
 * held.
 *
 * **Details**
 *
 * - The share is the least of the current run and the runs around it: `Run.remainingShare`. Without a run, or without a
 *   budget in the unit, the first tier is used. If no tier fits, the last one is used.
 * - A call that is denied in a tier is tried in the next tier, and so is a stream that is denied before it starts. A
 *   call that was admitted stays in its tier. A denial with the code `RUN_ENDED` or `RUN_STEPS_EXCEEDED` fails the
 *   call.
 * - The model only delegates and guards nothing. Tools, chats and objects work as with the model of the tier.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` if a tier can't be chosen, because its `above` is out of range or not less than the one
 * before.
 *
 * **Example** (A smaller model when little is left)
 *
 * ```ts
 * import { CyclesModel } from "@effect-cycles/ai"
 * import type { Cycles } from "effect-cycles"
 * import * as Layer from "effect/Layer"
 * import type { LanguageModel } from "effect/ai"
 *
 * export const tiers = (
 *   big: Layer.Layer<LanguageModel.LanguageModel>,
 *   small: Layer.Layer<LanguageModel.LanguageModel>
 * ): Layer.Layer<LanguageModel.LanguageModel, never, Cycles.Cycles> =>
 *   CyclesModel.layerTiers({
 *     unit: "TOKENS",
 *     tiers: [
 *       { above: 0.3, model: CyclesModel.layer().pipe(Layer.provide(big)) },
 *       { model: CyclesModel.layer().pipe(Layer.provide(small)) }
 *     ]
 *   })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTiers = <E = never, R = never>({
  tiers,
  unit
}: TiersOptions<E, R>): Layer.Layer<LanguageModel.LanguageModel, E, R> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    Effect.gen(function* () {
      Tiers.validate(tiers.map(({ above }) => above))
      const choices = yield* Effect.forEach(tiers, ({ above, model }) =>
        Effect.map(Layer.build(model), (context): Tiers.Choice => ({
          above,
          model: Context.get(context, LanguageModel.LanguageModel)
        }))
      )
      return Tiers.make(unit, choices)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const guardedModels = new WeakSet<LanguageModel.LanguageModel>()
