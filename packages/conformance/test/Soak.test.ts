import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { trendOf } from "../src/internal/soak/trend.ts"
import * as Soak from "../src/Soak.ts"

/** `CYCLES_SOAK_SECONDS`, 20 if it isn't set. `pnpm soak` runs longer. */
const seconds = Number(process.env["CYCLES_SOAK_SECONDS"] ?? 20)

/** The time for open settlements and abandoned reservations after the calls. */
const endMs = 150_000

const series = (at: (i: number) => number): ReadonlyArray<number> => Array.from({ length: 120 }, (_, i) => at(i))

/** A fixed series between 0 and 1 without a trend. */
const noise = (i: number): number => (i * 0.618_034) % 1

describe("Soak", () => {
  it.live(
    "charges what all forms of calls have spent, and uses no more of any resource over time",
    () =>
      Effect.gen(function* () {
        const report = yield* Soak.run({ seconds, seed: 1, faultRate: 0.03 })
        expect(report.problems).toEqual([])
        expect(report.calls.size).toBeGreaterThan(10)
        expect(report.books.some(({ charged }) => charged > 0)).toBe(true)
      }),
    seconds * 1_000 + endMs
  )

  it.live(
    "reports leaks of the heap, handles, files and records, and wrong books",
    () =>
      Effect.gen(function* () {
        const leaks = ["heap", "handles", "files", "journal", "books"] as const
        const { problems } = yield* Soak.run({ seconds: 12, seed: 2, faultRate: 0, leaks, quietSeconds: 2 })
        const text = problems.join("\n")
        expect(text).toMatch(/^heapBytes grows: in the second half by \d+/m)
        expect(text).toMatch(/^handles grows/m)
        expect(text).toMatch(/^files grows/m)
        expect(text).toMatch(/^journalRecords grows/m)
        expect(text).toMatch(/^the journal has \d+ records after the last flush$/m)
        expect(text).toMatch(/^guard: \d+ tokens were spent, and \d+ were charged$/m)
      }),
    60_000
  )

  it.live(
    "ends early with a report, which has too few samples for a trend",
    () =>
      Effect.gen(function* () {
        const { books, problems } = yield* Soak.run({ seconds: 600, seed: 3, stop: Effect.sleep("1 second") })
        expect(problems).toEqual([expect.stringMatching(/^\d+ samples are too few to find a trend: run longer$/)])
        expect(books.every(({ charged, spent }) => charged === spent)).toBe(true)
      }),
    60_000 + endMs
  )
})

describe("the trend of a series", () => {
  it("is significant for slow growth below the noise", () => {
    const { growth, z } = trendOf(series((i) => 0.01 * i + noise(i)))
    expect(z).toBeGreaterThan(2.33)
    expect(growth).toBeCloseTo(1.1, 0)
  })

  it.each([
    ["constant", () => 7],
    ["noise", noise],
    ["a cache that is emptied six times", (i: number) => i % 20],
    ["a single outlier at the end", (i: number) => (i === 119 ? 1_000 : 7)],
    ["a decrease", (i: number) => -i]
  ])("isn't significant for %s", (_, at) => {
    expect(trendOf(series(at)).z).toBeLessThan(2.33)
  })

  it("is unknown with fewer than 6 samples", () => {
    expect(trendOf([1, 2, 3, 4, 5]).z).toBeNaN()
  })
})
