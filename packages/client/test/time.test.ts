import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { nowMs } from "../src/internal/config/time.ts"

describe("time", () => {
  it.effect("ignores a wall clock that is set back", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const before = nowMs(clock)
      yield* TestClock.adjust("-1 hour")
      expect(nowMs(clock)).toBe(before)
    })
  )
})
