/**
 * Embeddings held to the budget, by the usage of each request that goes to the provider: single embeddings are charged with
 * the batch that they go in.
 *
 * Source: ours; `effect/ai/EmbeddingModel`.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type { Settlement } from "effect-cycles/Settlement"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Guarded from "./internal/embed.ts"
import type { Units } from "./internal/call.ts"
import type { Pricing } from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** How an embedding model is guarded. */
export interface Options<U extends Units = "tokens"> extends Omit<LeaseOptions, "dryRun" | "onSettled"> {
  /** Runs once with the settlement of each request. See `Cycles.LeaseOptions`. */
  readonly onSettled?: ((settlement: Settlement) => Effect.Effect<unknown>) | undefined
  /** What the budget is charged in. Default `tokens`; the other two need `Pricing`. */
  readonly units?: U | undefined
  /** Default: kind `llm.embedding`, name `provider:model`. */
  readonly action?: Action | undefined
  /** Merged into the ambient subject, nearest wins. */
  readonly subject?: Subject | undefined
  /** JSON, kept with the reservation. */
  readonly metadata?: Metadata | undefined
  /** Where it isn't told by `Model.ProviderName`, as in `openai`. */
  readonly provider?: string | undefined
  /** Where it isn't told by `Model.ModelName`. */
  readonly model?: string | undefined
  /** What may go in one batch, where the provider's settings differ by context; as in `EmbeddingModel.make`. */
  readonly batchKey?: ((context: Context.Context<never>) => unknown) | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Guards an embedding model. */
export const make = <const U extends Units = "tokens">(
  inner: EmbeddingModel.EmbeddingModel,
  options?: Options<U>
): Effect.Effect<EmbeddingModel.EmbeddingModel, never, Cycles | (U extends "tokens" ? never : Pricing)> =>
  Effect.flatMap(Guarded.make(options ?? {}), (guarded) =>
    EmbeddingModel.make({
      embedMany: ({ inputs }) =>
        Effect.map(
          guarded(
            inputs,
            Effect.suspend(() => inner.embedMany(inputs))
          ),
          ({ embeddings, usage }) => ({
            results: embeddings.map((embedding) => [...embedding.vector]),
            usage: { inputTokens: usage.inputTokens }
          })
        ),
      batchKey: options?.batchKey
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** Guards the embedding model that is there. */
export const layer = <const U extends Units = "tokens">(
  options?: Options<U>
): Layer.Layer<
  EmbeddingModel.EmbeddingModel,
  never,
  EmbeddingModel.EmbeddingModel | Cycles | (U extends "tokens" ? never : Pricing)
> =>
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    Effect.flatMap(EmbeddingModel.EmbeddingModel, (inner) => make(inner, options))
  )
