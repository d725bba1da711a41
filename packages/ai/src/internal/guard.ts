/**
 * What the guards of language models and of embedding models share.
 */
import { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions } from "effect-cycles/Cycles"
import * as Model from "effect/ai/Model"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Estimator from "../Estimator.ts"
import { Pricing } from "../Pricing.ts"
import type { Guard, Units } from "./request.ts"

/** What all calls of a model share, from the services in the context. */
export const guardOf = (
  options: Omit<LeaseOptions, "onSettled"> & { readonly units?: Units | undefined }
): Effect.Effect<Guard, never, Cycles> =>
  Effect.gen(function* () {
    return {
      cycles: yield* Cycles,
      units: options.units ?? "tokens",
      pricing: Option.getOrUndefined(yield* Effect.serviceOption(Pricing)),
      estimator: Option.getOrElse(yield* Effect.serviceOption(Estimator.Estimator), () => Estimator.make()),
      lease: options
    }
  })

/** The names that `Model` provides. */
export const names: Effect.Effect<{ readonly provider: string | undefined; readonly model: string | undefined }> =
  Effect.gen(function* () {
    return {
      provider: Option.getOrUndefined(yield* Effect.serviceOption(Model.ProviderName)),
      model: Option.getOrUndefined(yield* Effect.serviceOption(Model.ModelName))
    }
  })
