import { describe, expect, it } from "@effect/vitest"
import * as Report from "../src/Report.ts"
import { extent } from "./support.ts"

describe("Report", () => {
  describe("rows", () => {
    it("returns medians, and ratios to the first row in the same round", () => {
      const samples = (...values: ReadonlyArray<number>) =>
        values.map((value) => ({ value, perSecond: 2_000, rssMegabytes: 2 }))
      const goal = { of: "ratio", most: 1.2 } as const
      const [baseline, candidate] = Report.rows([
        { name: "baseline", samples: samples(30, 10, 20) },
        { name: "candidate", goal, samples: samples(60, 15, 50) }
      ])
      expect(baseline).toEqual({
        name: "baseline",
        value: { median: 20, minimum: 10, maximum: 30 },
        ratio: { median: 1, minimum: 1, maximum: 1 },
        more: { median: 0, minimum: 0, maximum: 0 },
        goal: null,
        latency: null,
        perSecond: 2_000,
        rssMegabytes: 2,
        rounds: [30, 10, 20]
      })
      expect(candidate).toMatchObject({
        value: { median: 50, minimum: 15, maximum: 60 },
        ratio: { median: 2, minimum: 1.5, maximum: 2.5 },
        more: { median: 30, minimum: 5, maximum: 30 },
        goal
      })
    })

    it("compares a row with the baseline that it names", () => {
      const rows = Report.rows([
        { name: "first", samples: [{ value: 1 }] },
        { name: "second", samples: [{ value: 10 }] },
        { name: "over the second", over: "second", samples: [{ value: 15 }] }
      ])
      expect(rows.map(({ more }) => more.median)).toEqual([0, 9, 5])
    })
  })

  describe("format", () => {
    it("marks missed goals", () => {
      const rows = Report.rows([
        { name: "baseline", samples: [{ value: 100 }] },
        { name: "met", goal: { of: "ratio", most: 2 }, samples: [{ value: 200 }] },
        { name: "missed", goal: { of: "more", most: 100 }, samples: [{ value: 201 }] }
      ])
      const section = { benchmark: "server", title: "A", measure: "CPU µs", against: "ratio", rows } as const
      const lines = Report.format(Report.make(extent, [section])).split("\n")
      expect(lines.find((line) => line.includes("| met"))).not.toContain("missed")
      expect(lines.find((line) => line.includes("| missed"))).toContain("100 (missed)")
    })
  })
})
