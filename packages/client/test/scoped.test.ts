import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Cycles } from "effect-cycles"
import { action, live, operations, tokens } from "./support/live.ts"

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
})
