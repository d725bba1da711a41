/**
 * The policy by which settlements are tried again. Apart from `CyclesConfig`, so that a program that reads nothing from the
 * environment doesn't contain the reading of it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/**
 * When settlements are tried again: `times` attempts after the first one, waiting `initial`, then `factor` times as long
 * each time, at most `max`.
 */
export const retryPolicy = (options?: {
  /** 0 or more. Default 5. */
  readonly times?: number | undefined
  /** Default 500 ms. */
  readonly initial?: Duration.Input | undefined
  /** 1 or more. Default 2. */
  readonly factor?: number | undefined
  /** Default 30 s. */
  readonly max?: Duration.Input | undefined
  /** Whether each delay varies by 20 %, so that a fleet does not retry in step. Default true. */
  readonly jitter?: boolean | undefined
}): Schedule.Schedule<unknown> => {
  const max = Duration.fromInputUnsafe(options?.max ?? "30 seconds")
  const delays = Schedule.exponential(options?.initial ?? "500 millis", options?.factor ?? 2).pipe(
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, max)))
  )
  return Schedule.upTo(options?.jitter === false ? delays : Schedule.jittered(delays), { times: options?.times ?? 5 })
}
