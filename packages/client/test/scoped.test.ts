import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
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
})
