/**
 * What the guards of language models and of embedding models have in common.
 */
import { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions } from "effect-cycles/Cycles"
import * as Model from "effect/ai/Model"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BudgetError } from "../CyclesAiError.ts"
import * as Estimator from "../Estimator.ts"
import { Pricing } from "../Pricing.ts"
import type * as Call from "./call.ts"

/** What all calls of a model have in common, from the services that are there. */
export const guardOf = (
  options: Omit<LeaseOptions, "onSettled"> & { readonly units?: Call.Units | undefined }
): Effect.Effect<Call.Guard, never, Cycles> =>
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

/** What can't be settled now is the scope's to settle; the call's own end stays what it is. */
export const quietly = (concluding: Effect.Effect<void, BudgetError>): Effect.Effect<void> =>
  Effect.catch(concluding, (error) => Effect.logWarning("A model call could not be settled as it should be", error))
