/**
 * Ends the process if a case blocks the event loop, and prints the case.
 *
 * The limits of cases are timers of the same event loop. The watchdog is another thread. It counts its own timers, so
 * that a loaded machine delays both threads alike.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Worker } from "node:worker_threads"

/** Keeps the texts of the running cases. */
export interface Watchdog {
  /** Runs a case. The text is printed if the case blocks the event loop. */
  readonly guard: <A, E, R>(text: string, run: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** The data of the thread. */
export interface ThreadData {
  /** The number of ticks of the watched event loop, the number of bytes of the text, and the text. */
  readonly shared: SharedArrayBuffer
  /** The time without a tick, in milliseconds. */
  readonly limitMs: number
  readonly tickMs: number
  /** Where the text begins, in bytes. */
  readonly textOffset: number
}

/** The size of the two counters before the text, in bytes. */
const textOffset = 8

/** How often both threads count, in milliseconds. */
const tickMs = 100

const maxTextBytes = 200_000

/** Starts a watchdog. After `limitMs` without a tick it ends the process with SIGKILL. */
export const make = ({ limitMs = 30_000 }: { readonly limitMs?: number } = {}): Effect.Effect<
  Watchdog,
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const shared = new SharedArrayBuffer(textOffset + maxTextBytes)
    const counters = new Int32Array(shared, 0, 2)
    const bytes = new Uint8Array(shared, textOffset)
    const running = new Set<string>()
    const show = (): void => {
      const { written } = new TextEncoder().encodeInto(Array.from(running).join("\n"), bytes)
      Atomics.store(counters, 1, written)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const workerData: ThreadData = { shared, limitMs, tickMs, textOffset }
        const worker = new Worker(new URL("./watchdogThread.ts", import.meta.url), {
          workerData,
          execArgv: []
        })
        worker.unref()
        return worker
      }),
      (worker) => Effect.promise(() => worker.terminate())
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => setInterval(() => Atomics.add(counters, 0, 1), tickMs)),
      (timer) => Effect.sync(() => clearInterval(timer))
    )
    return {
      guard: (text, run) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            running.add(text)
            show()
          }),
          () => run,
          () =>
            Effect.sync(() => {
              running.delete(text)
              show()
            })
        )
    }
  })
