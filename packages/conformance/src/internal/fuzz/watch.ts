/**
 * Watches a case: unhandled rejections, the time, and the memory.
 *
 * The time is that of the event loop: its timers, each counted with its interval. If the machine is loaded, timers fire
 * later, for the case and for its limit alike. A blocked event loop counts as processor time, and the watchdog ends it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

/** The limits of a case. */
export interface Limits {
  /** In milliseconds of the event loop. A longer case is interrupted and fails. */
  readonly timeMs: number
  /** The largest growth of the heap and of its buffers while the case runs, in bytes. */
  readonly bytes: number
}

const tickMs = 10

let ticks = 0

/** Measures the time of the event loop, in milliseconds. */
export const stopwatch = (): (() => number) => {
  ticking ??= setInterval(() => (ticks += 1), tickMs).unref()
  const start = ticks
  return () => (ticks - start) * tickMs
}

let ticking: NodeJS.Timeout | undefined

/** Measures the processor time of the process, in milliseconds. */
export const processorTime = (): (() => number) => {
  const start = process.cpuUsage()
  return () => {
    const { system, user } = process.cpuUsage(start)
    return (system + user) / 1_000
  }
}

/** Interrupts an effect after a time of the event loop, and returns `None`. */
export const timeoutOption = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  timeMs: number
): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.raceFirst(Effect.asSome(effect), Effect.as(after(timeMs), Option.none()))

const after = (timeMs: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const elapsed = stopwatch()
    const timer = setInterval(() => {
      if (elapsed() < timeMs) return
      clearInterval(timer)
      resume(Effect.void)
    }, 20)
    return Effect.sync(() => clearInterval(timer))
  })

const used = (): number => {
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}

/** Measures how much the memory grows from its lowest point, which a collection of older garbage may lower later. */
const growth = (): { readonly sample: () => number; readonly stop: () => void } => {
  let lowest = used()
  let grown = 0
  const sample = (): number => {
    const now = used()
    lowest = Math.min(lowest, now)
    return (grown = Math.max(grown, now - lowest))
  }
  const timer = setInterval(sample, 20)
  return { sample, stop: () => clearInterval(timer) }
}

/** What a case may cause, in addition to its result. */
interface Accepted {
  /** Whether a rejection is one of the values that the case rejects with. */
  readonly rejection?: (reason: unknown) => boolean
  /** Whether an uncaught exception is a known defect of the platform. */
  readonly exception?: (error: unknown) => boolean
}

/**
 * Runs a case within its limits. It adds to its violations a defect, a rejection that nothing handled, too much time,
 * and too much memory. Only rejections and exceptions in this process are seen.
 */
export const within = (
  limits: Limits,
  run: Effect.Effect<ReadonlyArray<string>>,
  accepted: Accepted = {}
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => {
    const violations: Array<string> = []
    const memory = growth()
    const onRejection = (reason: unknown): void => {
      if (accepted.rejection?.(reason) !== true) violations.push(`an unhandled rejection: ${String(reason)}`)
    }
    const onException = (error: unknown): void => {
      if (accepted.exception?.(error) !== true) violations.push(`an uncaught exception: ${String(error)}`)
    }
    process.on("unhandledRejection", onRejection)
    process.on("uncaughtException", onException)
    return timeoutOption(run, limits.timeMs).pipe(
      Effect.map(Option.getOrElse((): ReadonlyArray<string> => [`no end within ${limits.timeMs} ms`])),
      Effect.exit,
      // A rejection is reported after the microtasks of its turn.
      Effect.tap(() => Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))),
      Effect.map((exit) => {
        const grown = memory.sample()
        return [
          ...violations,
          ...(Exit.isSuccess(exit) ? exit.value : [`a defect: ${Cause.pretty(exit.cause)}`]),
          ...(grown > limits.bytes ? [`memory grew by ${Math.round(grown / 1_048_576)} MiB`] : [])
        ]
      }),
      Effect.ensuring(
        Effect.sync(() => {
          memory.stop()
          process.off("unhandledRejection", onRejection)
          process.off("uncaughtException", onException)
        })
      )
    )
  })
