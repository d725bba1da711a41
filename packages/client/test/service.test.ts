import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Cycles } from "effect-cycles"
import { action, books, live, tokens } from "./support/live.ts"

describe("service", () => {
  describe("event", () => {
    it.effect("retries an ambiguous response once with the same key, and is charged once", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("event", Fault.responseLost)
        yield* Cycles.event({ action, actual: tokens(42) })
        const keys = (yield* CyclesTest.requests()).map(({ idempotencyKey }) => idempotencyKey)
        expect(keys).toHaveLength(2)
        expect(new Set(keys).size).toBe(1)
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )
  })
})
