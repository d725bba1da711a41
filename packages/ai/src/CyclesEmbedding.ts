/**
 * Guards an embedding model of `effect/ai`. Each request to the provider is reserved and charged by its usage; single
 * embeddings are charged with the batch that they are sent in.
 *
 * **Details**
 *
 * Embeddings of different subjects aren't batched, so that each subject is charged for its own.
 *
 * **Gotchas**
 *
 * An interrupted `embed` doesn't interrupt the request of its batch, as with the inner model. The request is charged when it
 * ends. An interrupted `embedMany` interrupts its request.
 *
 * @since 0.1.0
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type { Settlement } from "effect-cycles/Settlement"
import { Reservation } from "effect-cycles/Reservation"
import { CurrentRun } from "effect-cycles/Run"
import { CurrentSubject } from "effect-cycles/Subject"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Guarded from "./internal/embed.ts"
import { namesInContext } from "./internal/guard.ts"
import type { Units } from "./internal/request.ts"
import type { Pricing } from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of a guarded embedding model.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<U extends Units = "tokens"> extends Omit<LeaseOptions, "onSettled"> {
  /** Runs once with the settlement of each request. See `Cycles.LeaseOptions`. */
  readonly onSettled?: ((settlement: Settlement) => Effect.Effect<unknown>) | undefined
  /** The units that requests are charged in. Default `tokens`. The other two need `Pricing`. */
  readonly units?: U | undefined
  /** The action of the reservation. Default: kind `llm.embedding`, name `provider:model`. */
  readonly action?: Action | undefined
  /** The subject, merged into the current subject field by field. */
  readonly subject?: Subject | undefined
  /** JSON that is stored with the reservation. */
  readonly metadata?: Metadata | undefined
  /** The provider's name. Default: `Model.ProviderName`, if it is in the context. */
  readonly provider?: string | undefined
  /** The model's name. Default: `Model.ModelName`, if it is in the context. */
  readonly model?: string | undefined
  /** A key of the context: only embeddings with equal keys are batched. As in `EmbeddingModel.make`. */
  readonly batchKey?: ((context: Context.Context<never>) => unknown) | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards an embedding model. Logs a warning if the model is guarded already, because each guard charges.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const U extends Units = "tokens">(
  inner: EmbeddingModel.EmbeddingModel,
  options?: Options<U>
): Effect.Effect<EmbeddingModel.EmbeddingModel, never, Cycles | (U extends "tokens" ? never : Pricing)> =>
  Effect.gen(function* () {
    if (guardedModels.has(inner)) {
      yield* Effect.logWarning("CyclesEmbedding guards a model that is guarded already: every request is charged twice")
    }
    const embed = yield* Guarded.make(options ?? {})
    const guarded = yield* EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.map(
          embed(
            inputs,
            Effect.suspend(() => inner.embedMany(inputs))
          ),
          ({ embeddings, usage }) => ({
            results: embeddings.map((embedding) => [...embedding.vector]),
            usage: { inputTokens: usage.inputTokens }
          })
        ),
      batchKey: (context) => [
        Context.get(context, CurrentSubject),
        // A function is compared by its identity: one run is one batch, and two runs with the same id are two.
        Context.get(context, CurrentRun)?.remaining,
        options?.nested === "join" ? Context.getOrUndefined(context, Reservation)?.idempotencyKey : undefined,
        options?.batchKey?.(context)
      ]
    })
    guardedModels.add(guarded)
    return guarded
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards the embedding model in the context. The names of the provider and of the model stay in the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const U extends Units = "tokens">(
  options?: Options<U>
): Layer.Layer<
  EmbeddingModel.EmbeddingModel,
  never,
  EmbeddingModel.EmbeddingModel | Cycles | (U extends "tokens" ? never : Pricing)
> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const guarded = yield* make(yield* EmbeddingModel.EmbeddingModel, options)
      return Context.add(yield* namesInContext, EmbeddingModel.EmbeddingModel, guarded)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const guardedModels = new WeakSet<EmbeddingModel.EmbeddingModel>()
