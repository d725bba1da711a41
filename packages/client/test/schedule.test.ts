import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Lease from "../src/internal/lease/schedule.ts"

const positive = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const minute: Lease.Options = { ttlMs: 60_000, extendByMs: 60_000, maxBudgetMs: 10_000 }

const begin = (remainingTtlMs: number | undefined, rttMs = 0, options = minute) =>
  Lease.begin(options, { nowMs: 0, rttMs, expiresAtMs: 60_000, remainingTtlMs })

describe("schedule", () => {
  describe("by remaining_ttl_ms", () => {
    it("reproduces the specification's example: 60 s, 10 s and 1.5 s give 37 s minus the round trip", () => {
      expect(begin(60_000, 1_500)[1]).toEqual({ _tag: "Extend", afterMs: 58_500 - (20_000 + 3_000) })
    })

    it("has no window if two attempts and the margin don't fit, and stops after a second such response", () => {
      const [lease, first] = begin(60_000, 15_000)
      expect(first).toEqual({ _tag: "Extend", afterMs: 0 })
      const response = { nowMs: 1, rttMs: 0, expiresAtMs: 60_000, remainingTtlMs: 60_000 }
      expect(Lease.extended(lease, response)[1]._tag).toBe("Stop")
    })

    it("treats an impossible round trip as infinitely slow", () => {
      expect(begin(60_000, Number.NaN)[1]).toEqual({ _tag: "Extend", afterMs: 0 })
      expect(begin(60_000, -1)[1]).toEqual({ _tag: "Extend", afterMs: 0 })
    })

    it("retries while a whole attempt and the margin fit, to the millisecond", () => {
      const [lease] = begin(60_000)
      expect(Lease.failed(lease, 49_000, { _tag: "Transient" })[1]).toEqual({ _tag: "Extend", afterMs: 0 })
      expect(Lease.failed(lease, 49_001, { _tag: "Transient" })[1]._tag).toBe("Stop")
      expect(Lease.failed(lease, 48_999, { _tag: "Transient" })[1]).toEqual({ _tag: "Extend", afterMs: 1 })
    })

    it("retries an empty window once", () => {
      const [lease] = begin(60_000)
      const [after] = Lease.failed(lease, 49_000, { _tag: "Transient" })
      expect(Lease.failed(after, 49_000, { _tag: "Transient" })[1]._tag).toBe("Stop")
    })

    it("rounds the window down to whole milliseconds", () => {
      const [lease] = begin(60_000)
      const [after, step] = Lease.failed(lease, 48_999.5, { _tag: "Transient" })
      expect(step).toEqual({ _tag: "Extend", afterMs: 0 })
      expect(Lease.failed(after, 48_999.6, { _tag: "Transient" })[1]._tag).toBe("Stop")
    })

    it("stops when attempts make no progress", () => {
      const [lease] = begin(60_000)
      const [after] = Lease.failed(lease, 1_000, { _tag: "Transient" })
      expect(Lease.failed(after, 1_000, { _tag: "Transient" })[1]._tag).toBe("Stop")
    })

    it("waits exactly for Retry-After, or stops", () => {
      const [lease] = begin(60_000)
      expect(Lease.failed(lease, 0, { _tag: "Throttled", retryAfterMs: 49_000 })[1]).toEqual({
        _tag: "Extend",
        afterMs: 49_000
      })
      expect(Lease.failed(lease, 0, { _tag: "Throttled", retryAfterMs: 49_001 })[1]._tag).toBe("Stop")
      expect(Lease.failed(lease, 0, { _tag: "Throttled", retryAfterMs: undefined })[1]._tag).toBe("Stop")
      // A delay of 0 is raised to the minimum.
      expect(Lease.failed(lease, 0, { _tag: "Throttled", retryAfterMs: 0 })[1]).toEqual({
        _tag: "Extend",
        afterMs: 100
      })
    })

    it.prop(
      "never plans an attempt that could end after the lease",
      { lead: positive(120_000), rtt: positive(5_000), maxBudgetMs: positive(20_000), elapsed: positive(120_000) },
      ({ elapsed, lead, maxBudgetMs, rtt }) => {
        const [lease, step] = begin(lead, rtt, { ...minute, maxBudgetMs })
        const left = Math.max(0, lead - rtt)
        const budget = Math.max(1.05 * Lease.timeLimit(lease), 1_000, 2 * rtt)
        const margin = Math.max(1_000, 2 * rtt)
        if (step._tag === "Extend" && step.afterMs > 0)
          expect(step.afterMs + 2 * budget + margin).toBeLessThanOrEqual(left)
        const [, retry] = Lease.failed(lease, elapsed, { _tag: "Transient" })
        if (retry._tag === "Extend") expect(elapsed + retry.afterMs + budget + margin).toBeLessThanOrEqual(left)
      }
    )
  })

  describe("timeLimit", () => {
    const limit = (remainingTtlMs: number, options = minute) => Lease.timeLimit(begin(remainingTtlMs, 0, options)[0])

    it("is shorter than the schedule's time for an attempt, by 5 % and at least 100 ms", () => {
      expect(limit(60_000)).toBe(9_500)
      expect(limit(12_000)).toBe(1_900)
      expect(limit(4_000)).toBe(900)
    })

    it("follows the lease of the last response", () => {
      const [short] = begin(2_000)
      expect(Lease.timeLimit(short)).toBe(900)
      const response = { nowMs: 1, rttMs: 0, expiresAtMs: 60_000, remainingTtlMs: 62_000 }
      expect(Lease.timeLimit(Lease.extended(short, response)[0])).toBe(9_500)
    })

    it("fits two attempts and the margin into every lease of more than 3 s", () => {
      for (let lead = 3_001; lead <= 120_000; lead += 333) {
        const [lease, step] = begin(lead)
        expect(lease.budgetMs).toBeLessThan((lead - 1_000) / 2)
        expect(step).toEqual({ _tag: "Extend", afterMs: lead - 2 * lease.budgetMs - 1_000 })
      }
    })
  })

  describe("without remaining_ttl_ms", () => {
    const [unmeasured, first] = begin(undefined)
    const response = (nowMs: number, expiresAtMs: number) => ({
      nowMs,
      rttMs: 0,
      expiresAtMs,
      remainingTtlMs: undefined
    })

    it("extends immediately, to measure the granted time", () => {
      expect(first).toEqual({ _tag: "Extend", afterMs: 0 })
    })

    it("extends at half of a full grant", () => {
      expect(Lease.extended(unmeasured, response(10, 120_000))[1]).toEqual({ _tag: "Extend", afterMs: 30_000 })
    })

    it("shortens the interval for a smaller grant, to half a second at least", () => {
      expect(Lease.extended(unmeasured, response(10, 62_000))[1]).toEqual({ _tag: "Extend", afterMs: 1_000 })
      expect(Lease.extended(unmeasured, response(10, 60_100))[1]).toEqual({ _tag: "Extend", afterMs: 500 })
    })

    it("keeps its interval if grants equal the time between calls", () => {
      expect(Lease.extended(unmeasured, response(10_000, 70_000))[1]).toEqual({ _tag: "Extend", afterMs: 30_000 })
      expect(Lease.extended(unmeasured, response(10, 60_000))[1]).toEqual({ _tag: "Extend", afterMs: 30_000 })
    })

    it("skips an extension if there is more than enough time", () => {
      const [once] = Lease.extended(unmeasured, response(10, 120_000))
      expect(Lease.due(once, 20)._tag).toBe("Extend")
      const [twice] = Lease.extended(once, response(30, 180_000))
      expect(Lease.due(twice, 40)).toEqual({ _tag: "Skip", afterMs: 30_000 })
    })

    it("keeps the interval of the first lease if that is shorter than an extension", () => {
      const [lease] = begin(undefined, 0, { ...minute, ttlMs: 20_000, extendByMs: 600_000 })
      expect(Lease.failed(lease, 1_000, { _tag: "Transient" })[1]).toEqual({ _tag: "Extend", afterMs: 10_000 })
    })

    it("limits a grant to the requested extension, since the rest is from an earlier run", () => {
      const [resumed] = Lease.extended(unmeasured, response(10, 420_000))
      const [, step] = Lease.extended(resumed, response(30_010, 480_000))
      expect(step).toEqual({ _tag: "Extend", afterMs: 30_000 })
      expect(Lease.due(resumed, 30_010)._tag).toBe("Extend")
    })

    it("switches to remaining_ttl_ms as soon as a response has it", () => {
      const [, step] = Lease.extended(unmeasured, {
        nowMs: 10,
        rttMs: 0,
        expiresAtMs: 120_000,
        remainingTtlMs: 100_000
      })
      expect(step).toEqual({ _tag: "Extend", afterMs: 79_000 })
    })
  })
})
