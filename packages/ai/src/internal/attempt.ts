/** Whether a guard has admitted a call, for a caller that can choose another model if it didn't. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** A call of a model that may be guarded. */
export interface Attempt {
  /** Whether a guard has admitted it, so that the provider may have been asked. */
  isAdmitted: boolean
}

/** The attempt of the current fiber. */
export const CurrentAttempt: Context.Reference<Attempt | undefined> = Context.Reference<Attempt | undefined>(
  "@effect-cycles/ai/CurrentAttempt",
  { defaultValue: () => undefined }
)

/** Records that a guard has admitted the call. */
export const markAdmitted: Effect.Effect<void> = Effect.map(CurrentAttempt, (attempt) => {
  if (attempt !== undefined) attempt.isAdmitted = true
})
