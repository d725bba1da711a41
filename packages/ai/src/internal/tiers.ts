/** A model that delegates each call to one of several models. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { CurrentRun } from "effect-cycles/Run"
import { denialOf } from "../CyclesAiError.ts"
import { assumeEffect, assumeModel, assumeStream } from "./assume.ts"
import type { Attempt } from "./attempt.ts"
import { CurrentAttempt } from "./attempt.ts"

/** A model, and the share of the budget above which it is chosen. */
export interface Choice {
  readonly above: number | undefined
  readonly model: LanguageModel.LanguageModel
}

/** Throws a `RangeError` if a tier can't be chosen. */
export const validate = (shares: ReadonlyArray<number | undefined>): void => {
  let before = 1
  shares.forEach((above, index) => {
    const isLast = index === shares.length - 1
    if (above === undefined && isLast) return
    if (above === undefined || !(above >= 0 && above < before)) {
      throw new RangeError(
        `tiers[${index}].above: expected a share from 0 to 1 that is less than the one before, got ${String(above)}`
      )
    }
    before = above
  })
  if (shares.length === 0) throw new RangeError("tiers: expected at least one tier, got none")
}

/** Makes the model. There is at least one choice. */
export const make = (unit: string, choices: ReadonlyArray<Choice>): LanguageModel.LanguageModel => {
  const last = choices.length - 1
  const indexFor = (share: number): number => {
    const index = choices.findIndex(({ above }) => above === undefined || share > above)
    return index === -1 ? last : index
  }
  const chosen: Effect.Effect<number> = Effect.flatMap(CurrentRun, (run) =>
    run === undefined
      ? Effect.succeed(0)
      : Effect.map(run.remainingShare(unit), Option.match({ onNone: () => 0, onSome: indexFor }))
  )
  const call = (index: number, method: Method, options: unknown): unknown => {
    const model = choices[index]?.model
    if (model === undefined) throw new RangeError("tiers: expected at least one tier, got none")
    return Reflect.apply(model[method], model, [options])
  }
  /** Whether an error makes the call try the next tier: the guard denied it, and may admit another model. */
  const triesNext = (index: number, attempt: Attempt, error: unknown): boolean => {
    if (index >= last || attempt.isAdmitted) return false
    const denial = denialOf(error)
    return denial !== undefined && !final.has(denial.code ?? "")
  }
  const whole = (method: Method, options: unknown, index: number): Effect.Effect<unknown, unknown, unknown> =>
    Effect.suspend(() => {
      const attempt: Attempt = { isAdmitted: false }
      const effect = call(index, method, options)
      assumeEffect(effect)
      return Effect.provideService(effect, CurrentAttempt, attempt).pipe(
        Effect.catchIf(
          (error) => triesNext(index, attempt, error),
          () => whole(method, options, index + 1)
        )
      )
    })
  const streamed = (options: unknown, index: number): Stream.Stream<unknown, unknown, unknown> =>
    Stream.suspend(() => {
      const attempt: Attempt = { isAdmitted: false }
      const stream = call(index, "streamText", options)
      assumeStream(stream)
      return Stream.provideService(stream, CurrentAttempt, attempt).pipe(
        Stream.catchIf(
          (error) => triesNext(index, attempt, error),
          () => streamed(options, index + 1)
        )
      )
    })
  const delegate: unknown = {
    generateText: (options: unknown) => Effect.flatMap(chosen, (index) => whole("generateText", options, index)),
    generateObject: (options: unknown) => Effect.flatMap(chosen, (index) => whole("generateObject", options, index)),
    streamText: (options: unknown) => Stream.unwrap(Effect.map(chosen, (index) => streamed(options, index)))
  }
  assumeModel(delegate)
  return delegate
}

type Method = "generateText" | "generateObject" | "streamText"

/** Denials that every other tier would get as well. */
const final: ReadonlySet<string> = new Set(["RUN_ENDED", "RUN_STEPS_EXCEEDED"])
