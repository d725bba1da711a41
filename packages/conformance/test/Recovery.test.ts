import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Recovery from "../src/Recovery.ts"

/** Short-lived connections that close without notice, and a key that is checked again every 0.5 s. */
const quirks = { requestsPerConnection: 2, closing: "abrupt", keyCheckMs: 50, keyMemoryMs: 500 } as const

const runs = Object.entries(Recovery.scenarios).flatMap(
  ([id, scenario]) =>
    [
      [id, "on a plain server", scenario, undefined],
      [id, "on a server with the quirks of the reference server", scenario, quirks]
    ] as const
)

describe("Recovery", () => {
  it.live.each(runs)(
    "%s %s",
    ([, , scenario, quirks]) =>
      Effect.gen(function* () {
        const checks = yield* Recovery.run(scenario, quirks)
        expect(checks.length).toBeGreaterThan(0)
        expect(checks.filter((check) => !check.isMet)).toEqual([])
      }),
    60_000
  )
})
