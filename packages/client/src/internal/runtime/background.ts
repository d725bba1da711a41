/**
 * Work that continues after its caller has returned: settlements, releases and abandoned reserves. Closing the layer
 * ends the delays between attempts, and waits for the work up to `flushTimeout`.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"

/** Background work of a layer. */
export interface Background {
  /**
   * Runs an effect in the background, with the caller's context. After the layer has closed, the caller waits for it
   * instead.
   */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R>
  /**
   * Waits between two attempts. A flush ends the delay early, but not before the minimum delay that the server
   * requested. Returns true if the layer is closing, so that there is no time for another attempt.
   */
  readonly delay: (delayMs: number, minimumMs: number) => Effect.Effect<boolean>
  /** Ends all delays that the server didn't request. */
  readonly wake: Effect.Effect<void>
  /** Waits up to a limit until no work is left. Returns whether none is left. */
  readonly idle: (limitMs: number) => Effect.Effect<boolean>
  /** The number of running effects. */
  readonly size: Effect.Effect<number>
}

/**
 * Makes the background of a layer. Finalizers run in reverse order, so its finalizer runs before those that were added
 * to the scope earlier.
 */
export const make = (flushTimeoutMs: number): Effect.Effect<Background, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const fibers = yield* FiberSet.make<unknown, unknown>()
    const closing = Deferred.makeUnsafe<void>()
    let isClosing = false
    let isClosed = false
    let woken = Deferred.makeUnsafe<void>()

    const wake = Effect.suspend(() => {
      const waiting = woken
      woken = Deferred.makeUnsafe<void>()
      return Effect.asVoid(Deferred.succeed(waiting, undefined))
    })

    const idle = (limitMs: number): Effect.Effect<boolean> =>
      Effect.map(Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limitMs), Option.isSome)

    yield* Scope.addFinalizer(
      scope,
      Effect.gen(function* () {
        isClosing = true
        yield* Deferred.succeed(closing, undefined)
        yield* wake
        yield* idle(flushTimeoutMs)
        isClosed = true
      })
    )

    return {
      run: (effect) =>
        Effect.suspend(() =>
          isClosed
            ? Effect.asVoid(Effect.exit(effect))
            : Effect.asVoid(FiberSet.run(fibers, effect, { startImmediately: true }))
        ),
      delay: (delayMs, minimumMs) =>
        Effect.suspend(() => {
          if (isClosing) return Effect.succeed(true)
          return minimumMs > 0
            ? Effect.map(Effect.timeoutOption(Deferred.await(closing), Math.max(delayMs, minimumMs)), Option.isSome)
            : Effect.as(Effect.timeoutOption(Deferred.await(woken), delayMs), false)
        }),
      wake,
      idle,
      size: FiberSet.size(fibers)
    }
  })
