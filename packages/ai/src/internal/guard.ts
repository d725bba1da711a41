/**
 * Shared by the guards of language models and of embedding models.
 */
import { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions } from "effect-cycles/Cycles"
import * as Model from "effect/ai/Model"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Estimator from "../Estimator.ts"
import { Pricing } from "../Pricing.ts"
import type { Guard, Units } from "./request.ts"
import { count } from "./unknown.ts"

/** Makes the guard of a model from the services in the context. All calls of the model share it. */
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

/** Estimates the input of a call as an integer. Dies if the estimator returns a negative number or NaN. */
export const estimate = ({ estimator }: Guard, request: Estimator.Request): Effect.Effect<Estimator.Estimate> =>
  Effect.flatMap(estimator.input(request), (estimate) => {
    const tokens = count(estimate.tokens)
    return tokens === undefined
      ? Effect.die(
          new RangeError(`Estimator.input must return a finite number of tokens of at least 0, got ${estimate.tokens}`)
        )
      : Effect.succeed(tokens === estimate.tokens ? estimate : { ...estimate, tokens })
  })

/** The names of a provider and of its model. */
export interface Names {
  readonly provider: string | undefined
  readonly model: string | undefined
}

/** The names that `Model` provides. */
export const names: Effect.Effect<Names> = Effect.gen(function* () {
  return {
    provider: Option.getOrUndefined(yield* Effect.serviceOption(Model.ProviderName)),
    model: Option.getOrUndefined(yield* Effect.serviceOption(Model.ModelName))
  }
})

/** The names of a call: those of the options, or else of the guarded model, or else of the call's context. */
export const namesOf = (options: Partial<Names>, made: Names): Effect.Effect<Names> =>
  Effect.map(names, (called) => ({
    provider: options.provider ?? made.provider ?? called.provider,
    model: options.model ?? made.model ?? called.model
  }))

/** The services that `Model` provides, for the context of a guarded model. */
export const namesInContext: Effect.Effect<Context.Context<never>> = Effect.map(
  Effect.context<never>(),
  Context.pick(Model.ProviderName, Model.ModelName)
)
