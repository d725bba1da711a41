import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fuzz from "../src/Fuzz.ts"

/** The time of all areas together: `CYCLES_FUZZ_SECONDS`, 120 if it isn't set. */
const seconds = Number(process.env["CYCLES_FUZZ_SECONDS"] ?? 120)

/** `CYCLES_FUZZ_SEED`. The same seed generates the same cases. `pnpm fuzz` picks a random one. */
const seed = Number(process.env["CYCLES_FUZZ_SEED"] ?? 20_261_127)

const total = Fuzz.areas.reduce((sum, { weight }) => sum + weight, 0)

describe("Fuzz", () => {
  for (const area of Fuzz.areas) {
    const share = (seconds * area.weight) / total
    it.live(
      `survives hostile input, loses no spend and shows no secret: ${area.name}`,
      () =>
        Effect.gen(function* () {
          const report = yield* Fuzz.run(area, { seconds: share, seed })
          expect(report.failures).toEqual([])
          expect(report.cases).toBeGreaterThan(0)
        }),
      // Shrinking a failing case takes longer than the cases.
      share * 1_000 + 180_000
    )
  }
})
