import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import type { Priority } from "../src/internal/transport/bulkhead.ts"
import * as Bulkhead from "../src/internal/transport/bulkhead.ts"
import type { Timer } from "../src/internal/transport/timerQueue.ts"

const priorities = ["lease", "settlement", "caller"] as const

const others = (priority: Priority) => priorities.filter((other) => other !== priority)

/** A bulkhead that has just been used, so that there is no idle probe, with a log of the slots it assigned. */
const make = (maxConcurrency: number) => {
  const timers = new Set<Timer>()
  const bulkhead = Bulkhead.make({
    maxConcurrency,
    idleProbeAfterMs: 50_000,
    timers: { schedule: (timer) => void timers.add(timer), cancel: (timer) => void timers.delete(timer) }
  })
  bulkhead.acquire("caller", 0, () => {})
  bulkhead.release("caller", 0)
  const guaranteed = Math.max(1, Math.floor(maxConcurrency / 16))
  const inFlight: Array<Priority> = []
  const waiting: Array<{ readonly priority: Priority; readonly id: number; readonly withdraw: () => void }> = []
  const granted: Array<number> = []
  let nextId = 0
  const count = (priority: Priority) => inFlight.filter((one) => one === priority).length
  return {
    bulkhead,
    timers,
    guaranteed,
    inFlight,
    waiting,
    granted,
    count,
    acquire: (priority: Priority): number => {
      const id = nextId++
      let isGranted = false
      const withdraw = bulkhead.acquire(priority, 0, () => {
        isGranted = true
        granted.push(id)
        inFlight.push(priority)
        const at = waiting.findIndex((one) => one.id === id)
        // First come, first served within a priority.
        if (at >= 0) expect(waiting.find((one) => one.priority === priority)?.id).toBe(id)
        if (at >= 0) waiting.splice(at, 1)
      })
      if (!isGranted) waiting.push({ priority, id, withdraw })
      return id
    },
    release: (at: number): void => {
      const [priority] = inFlight.splice(at % inFlight.length, 1)
      if (priority !== undefined) bulkhead.release(priority, 0)
    },
    withdraw: (at: number): void => {
      const [one] = waiting.splice(at % waiting.length, 1)
      one?.withdraw()
      one?.withdraw()
    }
  }
}

describe("bulkhead", () => {
  const Step = Schema.Struct({
    act: Schema.Literals(["acquire", "acquire", "release", "withdraw"]),
    priority: Schema.Literals(priorities),
    at: Schema.Natural
  })

  it.prop(
    "never exceeds its limit, never queues a call while a slot is free, and ends empty",
    { steps: Schema.Array(Step), size: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 40 })) },
    ({ size, steps }) => {
      const test = make(size)
      const { bulkhead, count, guaranteed, inFlight, waiting } = test
      for (const { act, at, priority } of steps) {
        if (act === "acquire") for (let i = 0; i <= at % 8; i += 1) test.acquire(priority)
        else if (act === "release" && inFlight.length > 0) test.release(at)
        else if (act === "withdraw" && waiting.length > 0) test.withdraw(at)
        expect(inFlight.length).toBeLessThanOrEqual(size)
        expect([bulkhead.inFlight(), bulkhead.waiting()]).toEqual([inFlight.length, waiting.length])
        const free = size - inFlight.length
        for (const priority of new Set(waiting.map((one) => one.priority))) {
          const reserved = others(priority).reduce((sum, other) => sum + Math.max(0, guaranteed - count(other)), 0)
          // A free place that a waiting call does not get is guaranteed to another priority; an extension gets any.
          expect(free).toBeLessThanOrEqual(priority === "lease" || count(priority) < guaranteed ? 0 : reserved)
        }
      }
      while (inFlight.length > 0) test.release(0)
      expect([bulkhead.inFlight(), bulkhead.waiting(), waiting.length]).toEqual([0, 0, 0])
    },
    { timeout: 60_000 }
  )

  it.prop(
    "starves no priority: a queued call starts before all calls in flight have ended, whatever the load",
    {
      priority: Schema.Literals(priorities),
      flood: Schema.Literals(priorities),
      size: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 70 }))
    },
    ({ flood, priority, size }) => {
      const test = make(size)
      for (let i = 0; i < 200; i += 1) test.acquire(flood)
      if (flood === priority) return
      const id = test.acquire(priority)
      for (let i = 0; i < size && !test.granted.includes(id); i += 1) {
        test.release(0)
        test.acquire(flood)
      }
      expect(test.granted).toContain(id)
    },
    { timeout: 60_000 }
  )

  it.each<readonly [Priority, Priority]>([
    ["caller", "settlement"],
    ["caller", "lease"],
    ["settlement", "caller"],
    ["settlement", "lease"]
  ])("lets a %s call hang without delaying a %s", (flood, priority) => {
    for (const size of [3, 8, 64]) {
      const test = make(size)
      for (let i = 0; i < 200; i += 1) test.acquire(flood)
      const id = test.acquire(priority)
      expect(test.granted).toContain(id)
    }
  })

  it("gives extensions all slots while there are no other calls, and takes them back as they end", () => {
    const test = make(64)
    for (let i = 0; i < 100; i += 1) test.acquire("lease")
    expect(test.count("lease")).toBe(64)
    const ids = [test.acquire("caller"), test.acquire("settlement")]
    test.release(0)
    test.release(0)
    expect(test.granted.slice(-2)).toEqual([ids[1], ids[0]])
  })

  it("assigns slots beyond the guaranteed ones in the order lease, settlement, caller", () => {
    const test = make(3)
    const first = priorities.map(test.acquire)
    expect(test.granted).toEqual(first)
    const waiting = (["caller", "settlement", "lease"] as const).map(test.acquire)
    test.release(test.inFlight.indexOf("caller"))
    // The place of the caller is guaranteed to callers.
    expect(test.granted.at(-1)).toBe(waiting[0])
  })

  it("starts thousands of queued calls that end immediately without recursion", () => {
    const bulkhead = Bulkhead.make({
      maxConcurrency: 3,
      idleProbeAfterMs: 50_000,
      timers: { schedule: () => {}, cancel: () => {} }
    })
    bulkhead.acquire("caller", 0, () => {})
    let done = 0
    for (let i = 0; i < 50_000; i += 1) {
      bulkhead.acquire("caller", 0, () => {
        done += 1
        bulkhead.release("caller", 0)
      })
    }
    bulkhead.release("caller", 0)
    expect([done, bulkhead.inFlight(), bulkhead.waiting()]).toEqual([50_000, 0, 0])
  })
})
