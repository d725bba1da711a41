import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as TimerQueue from "../src/internal/transport/timerQueue.ts"

interface Named extends TimerQueue.Entry {
  readonly name: number
}

const entry = (name: number): Named => ({ name, due: 0, pos: -1 })

describe("timerQueue", () => {
  it.effect.prop(
    "calls back in the order of the deadlines, after any sequence of schedule and cancel",
    {
      delays: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 1_000 }))),
      moved: Schema.Array(Schema.Natural),
      cancelled: Schema.Array(Schema.Natural)
    },
    ({ cancelled, delays, moved }) =>
      Effect.gen(function* () {
        const seen: Array<Named> = []
        const queue = yield* TimerQueue.make<Named>((entry) => void seen.push(entry))
        const entries = delays.map((_, i) => entry(i))
        const scheduled = new Map<Named, number>()
        const pick = (i: number) => entries[i % Math.max(1, entries.length)]
        entries.forEach((entry, i) => {
          queue.schedule(entry, delays[i] ?? 0)
          scheduled.set(entry, Math.max(0, delays[i] ?? 0))
        })
        for (const i of moved) {
          const entry = pick(i)
          if (entry === undefined) continue
          queue.schedule(entry, i % 1_000)
          scheduled.set(entry, i % 1_000)
        }
        for (const i of cancelled) {
          const entry = pick(i)
          if (entry === undefined) continue
          queue.cancel(entry)
          queue.cancel(entry)
          scheduled.delete(entry)
        }
        expect(queue.size()).toBe(scheduled.size)
        yield* TestClock.adjust(2_000)
        expect(new Set(seen)).toEqual(new Set(scheduled.keys()))
        const times = seen.map((entry) => scheduled.get(entry) ?? -1)
        expect(times).toEqual(times.toSorted((a, b) => a - b))
        expect([queue.size(), entries.every(({ pos }) => pos === -1)]).toEqual([0, true])
      }),
    { timeout: 60_000 }
  )

  it.effect("calls back to the millisecond, and accepts timers from a callback", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const queue: TimerQueue.TimerQueue<Named> = yield* TimerQueue.make<Named>((entry) => {
        seen.push(entry.name)
        if (entry.name < 3) queue.schedule({ ...entry, name: entry.name + 1, pos: -1 }, 100)
      })
      queue.schedule(entry(9), 10_000)
      queue.schedule(entry(1), 100)
      yield* TestClock.adjust(99)
      expect(seen).toEqual([])
      yield* TestClock.adjust(1)
      expect(seen).toEqual([1])
      yield* TestClock.adjust(200)
      expect(seen).toEqual([1, 2, 3])
      yield* TestClock.adjust(9_700)
      expect(seen).toEqual([1, 2, 3, 9])
    })
  )

  it.effect.each(["logs", "throws"])("continues after a callback that throws, with a logger that %s", (how) => {
    const messages: Array<unknown> = []
    const logger = Logger.make(({ message }) => {
      messages.push(message)
      if (how === "throws") throw new Error("logger bug")
    })
    return Effect.gen(function* () {
      const seen: Array<number> = []
      const queue = yield* TimerQueue.make<Named>((entry) => {
        if (entry.name === 1) throw new Error("callback bug")
        seen.push(entry.name)
      })
      queue.schedule(entry(1), 10)
      queue.schedule(entry(2), 10)
      queue.schedule(entry(3), 20)
      yield* TestClock.adjust(20)
      expect(seen).toEqual([2, 3])
      expect(messages).toHaveLength(1)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect.each([
    ["drops its entries when its scope closes", undefined, []],
    ["continues after its scope has closed if outlivesScope is set", true, [1, 2]]
  ] as const)("%s", ([, outlivesScope, expected]) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const seen: Array<number> = []
      const queue = yield* Scope.provide(
        TimerQueue.make<Named>((entry) => void seen.push(entry.name), { outlivesScope }),
        scope
      )
      queue.schedule(entry(1), 10)
      yield* Scope.close(scope, Exit.void)
      queue.schedule(entry(2), 20)
      yield* TestClock.adjust(20)
      expect(seen).toEqual(expected)
      expect(queue.size()).toBe(0)
    })
  )
})
