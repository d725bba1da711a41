import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Cycles } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"

const options = { action, estimate: tokens(100), actual: () => tokens(42) }

describe("scoped", () => {
  describe("scope that outlives the layer", () => {
    it.effect("closes and settles its reservations", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const layer = yield* Scope.make()
        const context = yield* Layer.buildWithScope(live(), layer)
        yield* Cycles.reserve(options).pipe(
          Effect.tap((reservation) => reservation.record({ actual: tokens(42) })),
          Scope.provide(scope),
          Effect.provideContext(context)
        )
        yield* Scope.close(layer, Exit.void)
        yield* Scope.close(scope, Exit.void)
        expect(yield* Effect.provideContext(operations, context)).toEqual(["reserve", "commit"])
      })
    )
  })

  describe("release", () => {
    it.effect.each(["[]", "{}", "42", "null"])("returns the budget if its reason isn't a text: %s", (reason) =>
      Effect.gen(function* () {
        const reservation = yield* Cycles.reserve(options)
        expect(yield* reservation.release(JSON.parse(reason))).toMatchObject({
          _tag: "Released",
          reason: "released_by_caller"
        })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )
  })

  describe("scope that closes while the layer closes", () => {
    it.effect("isn't interrupted if the flush ends before the settlement", () =>
      Effect.gen(function* () {
        const layer = yield* Scope.make()
        const context = yield* Layer.buildWithScope(live({ flushTimeout: "1 second", settle: "wait" }), layer)
        yield* CyclesTest.always("commit", Fault.noResponse).pipe(Effect.provideContext(context))
        const used = yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve(options)
            yield* reservation.record({ actual: tokens(42) })
            return 42
          })
        ).pipe(Effect.provideContext(context), Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust(0)
        const closed = yield* Effect.forkChild(Scope.close(layer, Exit.void), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(closed)
        expect(yield* Fiber.join(used)).toBe(42)
      })
    )
  })
})
