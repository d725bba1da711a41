/**
 * Work that goes on after its caller has left: settlements, releases, abandoned reserves. Closing the layer hurries it
 * and waits for it, for a bounded time.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"

/** Background work of a layer. */
export interface Background {
  /** Runs an effect with the caller's context, for the life of the layer. After that, the caller waits for it. */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R>
  /**
   * Waits between attempts: for the delay, less if someone flushes, but never less than the minimum that the server asked
   * for. True if there is no time for another attempt, because the layer is closing.
   */
  readonly pause: (delayMs: number, minimumMs: number) => Effect.Effect<boolean>
  /** Ends all pauses that the server didn't ask for. */
  readonly hurry: Effect.Effect<void>
  /** Waits until no work is left, at most for a time; true if none is left. */
  readonly idle: (limitMs: number) => Effect.Effect<boolean>
  /** How many pieces of work are under way. */
  readonly size: Effect.Effect<number>
}

/** Makes the background of a layer. Its finalizer runs before those that were added earlier to the scope. */
export const make = (flushTimeoutMs: number): Effect.Effect<Background, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const fibers = yield* FiberSet.make<unknown, unknown>()
    const closing = Deferred.makeUnsafe<void>()
    let isClosing = false
    let isClosed = false
    let hurried = Deferred.makeUnsafe<void>()

    const hurry = Effect.suspend(() => {
      const waiting = hurried
      hurried = Deferred.makeUnsafe<void>()
      return Effect.asVoid(Deferred.succeed(waiting, undefined))
    })

    const idle = (limitMs: number): Effect.Effect<boolean> =>
      Effect.map(Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limitMs), Option.isSome)

    yield* Scope.addFinalizer(
      scope,
      Effect.gen(function* () {
        isClosing = true
        yield* Deferred.succeed(closing, undefined)
        yield* hurry
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
      pause: (delayMs, minimumMs) =>
        Effect.suspend(() => {
          if (isClosing) return Effect.succeed(true)
          return minimumMs > 0
            ? Effect.map(Effect.timeoutOption(Deferred.await(closing), Math.max(delayMs, minimumMs)), Option.isSome)
            : Effect.as(Effect.timeoutOption(Deferred.await(hurried), delayMs), false)
        }),
      hurry,
      idle,
      size: FiberSet.size(fibers)
    }
  })
