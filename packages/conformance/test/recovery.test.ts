import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Recovery from "../src/Recovery.ts"

describe("Recovery", () => {
  it.live.each(Object.entries(Recovery.scenarios))(
    "%s",
    ([, scenario]) =>
      Effect.gen(function* () {
        const checks = yield* Recovery.run(scenario)
        expect(checks.length).toBeGreaterThan(0)
        expect(checks.filter((check) => !check.isMet)).toEqual([])
      }),
    60_000
  )
})
