/** Watches a case: unhandled rejections, the time, and the memory. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"

/** The limits of a case. */
export interface Limits {
  /** In milliseconds. A longer case is interrupted and fails. */
  readonly timeMs: number
  /** The largest growth of the heap and of its buffers while the case runs, in bytes. */
  readonly bytes: number
}

const used = (): number => {
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}

/**
 * Runs a case within its limits. It adds to its violations a defect, a rejection that nothing handled, too much time, and too
 * much memory. Only rejections of programs that were started in this process are seen.
 */
export const within = (
  limits: Limits,
  run: Effect.Effect<ReadonlyArray<string>>
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => {
    const violations: Array<string> = []
    const before = used()
    let peak = before
    const sampler = setInterval(() => (peak = Math.max(peak, used())), 20)
    const onRejection = (reason: unknown): void => void violations.push(`an unhandled rejection: ${String(reason)}`)
    const onException = (error: unknown): void => void violations.push(`an uncaught exception: ${String(error)}`)
    process.on("unhandledRejection", onRejection)
    process.on("uncaughtException", onException)
    return run.pipe(
      Effect.timeoutOrElse({
        duration: limits.timeMs,
        orElse: () => Effect.succeed([`no end within ${limits.timeMs} ms`])
      }),
      Effect.exit,
      // A rejection is reported after the microtasks of its turn.
      Effect.tap(() => Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))),
      Effect.map((exit) => {
        peak = Math.max(peak, used())
        const grown = peak - before
        return [
          ...violations,
          ...(Exit.isSuccess(exit) ? exit.value : [`a defect: ${Cause.pretty(exit.cause)}`]),
          ...(grown > limits.bytes ? [`memory grew by ${Math.round(grown / 1_048_576)} MiB`] : [])
        ]
      }),
      Effect.ensuring(
        Effect.sync(() => {
          clearInterval(sampler)
          process.off("unhandledRejection", onRejection)
          process.off("uncaughtException", onException)
        })
      )
    )
  })
