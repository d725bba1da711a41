/**
 * The retry policy of settlements. A separate module, so that a bundle without `Config` doesn't include the parsing of
 * environment variables.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/**
 * The retry policy of settlements: exponential backoff with jitter.
 *
 * Makes at most `times` retries. The delay starts at `initial` and is multiplied by `factor` for each retry, up to
 * `max`.
 *
 * @category policies
 * @since 0.1.0
 */
export const retryPolicy = (options?: {
  /** The number of retries, 0 or more. Default 5. */
  readonly times?: number | undefined
  /** The delay before the first retry. Default 500 ms. */
  readonly initial?: Duration.Input | undefined
  /** The factor of the backoff, 1 or more. Default 2. */
  readonly factor?: number | undefined
  /** The longest delay. Default 30 s. */
  readonly max?: Duration.Input | undefined
  /** Whether each delay varies by 20 %, so that clients don't retry at the same time. Default true. */
  readonly jitter?: boolean | undefined
}): Schedule.Schedule<unknown> => {
  const max = Duration.fromInputUnsafe(options?.max ?? "30 seconds")
  const delays = Schedule.exponential(options?.initial ?? "500 millis", options?.factor ?? 2).pipe(
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, max)))
  )
  return Schedule.upTo(options?.jitter === false ? delays : Schedule.jittered(delays), { times: options?.times ?? 5 })
}
