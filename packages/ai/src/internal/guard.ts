/**
 * What the guards of language models and of embedding models share.
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

/** What all calls of a model share, from the services in the context. */
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

/**
 * Runs a settlement that must not change the outcome of the call. The scope of the reservation settles what it couldn't.
 */
export const quietly = (settling: Effect.Effect<void, BudgetError>): Effect.Effect<void> =>
  Effect.catchCause(settling, (cause) => Effect.logWarning("A model call could not be settled as decided", cause))

/** Runs code of the user or of a library that must not change the outcome of the call. */
export const safely = <A>(run: () => A): A | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}
