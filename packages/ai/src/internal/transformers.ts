/**
 * Runs the span transformer of a call once.
 *
 * A guarded model has an outer and an inner model of `effect/ai`, and each would run it. The outer one runs it, because only
 * the outer one has the results of the tools.
 */
import * as Telemetry from "effect/ai/Telemetry"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** The span transformer of a guarded model. */
export interface Transformers {
  /** Turns off the transformer of the inner model if the outer model has one. */
  readonly withoutInner: (context: Context.Context<never>) => Context.Context<never>
  /** Provides the transformer of the guarded model to a call that has none. */
  readonly provide: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Makes the transformers from the context in which the guarded model is made. */
export const make: Effect.Effect<Transformers> = Effect.map(
  Effect.serviceOption(Telemetry.CurrentSpanTransformer),
  (captured) => ({
    withoutInner: (context) => {
      const current = Context.getOption(context, Telemetry.CurrentSpanTransformer)
      return Option.isNone(current) && Option.isNone(captured)
        ? context
        : Context.add(context, Telemetry.CurrentSpanTransformer, () => {})
    },
    provide: (effect) =>
      Effect.flatMap(Effect.serviceOption(Telemetry.CurrentSpanTransformer), (current) =>
        Option.isSome(current) || Option.isNone(captured)
          ? effect
          : Effect.provideService(effect, Telemetry.CurrentSpanTransformer, captured.value)
      )
  })
)
