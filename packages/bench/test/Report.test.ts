import { describe, expect, it } from "@effect/vitest"
import * as Report from "../src/Report.ts"
import { extent } from "./support.ts"

describe("Report", () => {
  describe("rows", () => {
    it("returns medians, and ratios to the first row", () => {
      const row = (name: string, ...micros: ReadonlyArray<number>) => ({
        name,
        samples: micros.map((cpuMicros) => ({ count: 10, used: { cpuMicros, elapsedMs: 5, rssBytes: 2_097_152 } }))
      })
      expect(Report.rows([row("baseline", 300, 100, 200), { ...row("candidate", 400, 200), goal: 1.2 }])).toEqual([
        {
          name: "baseline",
          cpuMicros: { median: 20, minimum: 10, maximum: 30 },
          ratio: 1,
          goal: null,
          perSecond: 2_000,
          rssMegabytes: 2,
          rounds: [30, 10, 20]
        },
        {
          name: "candidate",
          cpuMicros: { median: 30, minimum: 20, maximum: 40 },
          ratio: 1.5,
          goal: 1.2,
          perSecond: 2_000,
          rssMegabytes: 2,
          rounds: [40, 20]
        }
      ])
    })
  })

  describe("format", () => {
    it("marks missed goals", () => {
      const sample = (cpuMicros: number) => [{ count: 1, used: { cpuMicros, elapsedMs: 1, rssBytes: 0 } }]
      const rows = Report.rows([
        { name: "baseline", samples: sample(100) },
        { name: "met", goal: 2, samples: sample(200) },
        { name: "missed", goal: 2, samples: sample(201) }
      ])
      const lines = Report.format(
        Report.make(extent, [{ benchmark: "server", title: "Something", unit: "request", rows }])
      ).split("\n")
      expect(lines.find((line) => line.includes("| met"))).not.toContain("missed")
      expect(lines.find((line) => line.includes("| missed"))).toContain("2.0 (missed)")
    })
  })
})
