/**
 * Listeners receive the values from now on to the end. Slow ones receive the newest values.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Listeners from "../src/internal/runtime/listeners.ts"

/** Starts to collect all values. */
const collect = <A>(listeners: Pick<Listeners.Listeners<A>, "stream">) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Stream.runCollect(listeners.stream), { startImmediately: true })
    yield* Effect.yieldNow
    return fiber
  })

describe("listeners", () => {
  it.effect("delivers every value to every listener, and ends after the last one", () =>
    Effect.gen(function* () {
      const listeners = Listeners.make<number>(4)
      listeners.publish(0)
      const first = yield* collect(listeners)
      listeners.publish(1)
      yield* Effect.yieldNow
      const second = yield* collect(listeners)
      listeners.publish(2)
      listeners.end()
      expect(yield* Fiber.join(first)).toEqual([1, 2])
      expect(yield* Fiber.join(second)).toEqual([2])
    })
  )

  it.effect("keeps the newest values for a slow listener, and drops the oldest", () =>
    Effect.gen(function* () {
      const listeners = Listeners.make<number>(2)
      const isReady = yield* Deferred.make<void>()
      const slow = { stream: Stream.tap(listeners.stream, () => Deferred.await(isReady)) }
      const values = yield* collect(slow)
      for (const value of [1, 2, 3, 4]) listeners.publish(value)
      listeners.end()
      yield* Deferred.succeed(isReady, undefined)
      expect(yield* Fiber.join(values)).toEqual([1, 3, 4])
    })
  )

  it.effect("ends immediately for a listener that starts after the end", () =>
    Effect.gen(function* () {
      const listeners = Listeners.make<number>(2)
      listeners.end()
      expect(Array.from(yield* Stream.runCollect(listeners.stream))).toEqual([])
    })
  )
})
