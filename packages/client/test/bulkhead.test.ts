import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Cycles } from "effect-cycles"
import type { Priority } from "../src/internal/transport/bulkhead.ts"
import * as Bulkhead from "../src/internal/transport/bulkhead.ts"
import type { Timer } from "../src/internal/transport/timerQueue.ts"
import { action, live, tokens } from "./support/live.ts"

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

const guardedCall = Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1) }))

/** Starts ten guarded bodies, and returns how many reserves have been sent before the first response. */
const burst = Effect.gen(function* () {
  const reserves = Effect.map(CyclesTest.requests("reserve"), (sent) => sent.length)
  const before = yield* reserves
  const fiber = yield* Effect.forkChild(
    Effect.forEach(Array.from({ length: 10 }), () => guardedCall, { concurrency: "unbounded" }),
    { startImmediately: true }
  )
  yield* TestClock.adjust(0)
  return { sent: Effect.map(reserves, (count) => count - before), end: Fiber.await(fiber) }
})

const slow = Fault.requestLate(300)

describe("bulkhead", () => {
  const Step = Schema.Struct({
    kind: Schema.Literals(["acquire", "acquire", "release", "withdraw"]),
    priority: Schema.Literals(priorities),
    at: Schema.Natural
  })

  it.prop(
    "never exceeds its limit, never queues a call while a slot is free, and ends empty",
    { steps: Schema.Array(Step), size: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 40 })) },
    ({ size, steps }) => {
      const test = make(size)
      const { bulkhead, count, guaranteed, inFlight, waiting } = test
      for (const { at, kind, priority } of steps) {
        if (kind === "acquire") for (let i = 0; i <= at % 8; i += 1) test.acquire(priority)
        else if (kind === "release" && inFlight.length > 0) test.release(at)
        else if (kind === "withdraw" && waiting.length > 0) test.withdraw(at)
        expect(inFlight.length).toBeLessThanOrEqual(size)
        expect([bulkhead.inFlight(), bulkhead.waiting()]).toEqual([inFlight.length, waiting.length])
        const free = size - inFlight.length
        for (const priority of new Set(waiting.map((one) => one.priority))) {
          const reserved = others(priority).reduce((sum, other) => sum + Math.max(0, guaranteed - count(other)), 0)
          // If a call waits although a slot is free, the slot is reserved for another priority. An extension can use any
          // slot.
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
    // The slot of the caller is reserved for callers.
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

  describe("idle probe", () => {
    it.effect("is sent alone, and the others follow its response", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", slow)
        const { end, sent } = yield* burst
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(299)
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(1)
        expect(yield* sent).toBe(10)
        expect(yield* end).toMatchObject({ _tag: "Success" })
        yield* Effect.flatMap(CyclesServer.CyclesServer, (server) => server.assertNoneActive)
      }).pipe(Effect.provide(live()))
    )

    it.effect("delays the others for at most one second", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.requestLate(5_000))
        const { end, sent } = yield* burst
        yield* TestClock.adjust(999)
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(1)
        expect(yield* sent).toBe(10)
        yield* TestClock.adjust(4_000)
        expect(yield* end).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect("releases the others when it is interrupted", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.noResponse)
        const first = yield* Effect.forkChild(guardedCall, { startImmediately: true })
        const second = yield* Effect.forkChild(guardedCall, { startImmediately: true })
        yield* TestClock.adjust(0)
        expect((yield* CyclesTest.requests()).map(({ operation }) => operation)).toEqual(["reserve"])
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust(0)
        expect(yield* Fiber.await(second)).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect.each([
      ["the default of 50 s", {}, 50_000],
      ["the configured time", { idleProbeAfter: "2 seconds" }, 2_000]
    ] as const)("is a probe after %s, to the millisecond", ([, config, idleMs]) =>
      Effect.gen(function* () {
        yield* guardedCall
        yield* TestClock.adjust(idleMs - 1)
        yield* CyclesTest.inject("reserve", ...Array.from({ length: 10 }, () => slow))
        const busy = yield* burst
        expect(yield* busy.sent).toBe(10)
        yield* TestClock.adjust(300)
        yield* busy.end
        yield* TestClock.adjust(idleMs)
        yield* CyclesTest.inject("reserve", slow)
        const idle = yield* burst
        expect(yield* idle.sent).toBe(1)
        yield* TestClock.adjust(300)
        yield* idle.end
      }).pipe(Effect.provide(live(config)))
    )
  })
})
